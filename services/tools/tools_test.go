package tools_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
	"github.com/ragmesh/ragmesh/services/tools"
)

func clock() time.Time { return time.Date(2026, 2, 28, 20, 30, 0, 0, time.UTC) }

func start(t *testing.T, b *bus.Bus, dir string, enabled ...string) toolsv1connect.ToolsServiceClient {
	t.Helper()
	client, _ := startLive(t, b, dir, enabled...)
	return client
}

func startLive(t *testing.T, b *bus.Bus, dir string, enabled ...string) (toolsv1connect.ToolsServiceClient, *tools.Service) {
	t.Helper()
	cfg := tools.Defaults()
	cfg.EnabledPlugins = append(cfg.EnabledPlugins, enabled...)
	s, err := tools.New(t.Context(), cfg, tools.Deps{
		Telemetry: telemetry.Nop("tools"), Bus: b, ConfigDir: dir, Revision: "abc", Clock: clock,
	})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	conn := rpctest.Service(t, "tools", s.Register)
	return toolsv1connect.NewToolsServiceClient(conn.HTTP, conn.URL, conn.Options...), s
}

func arguments(t *testing.T, args map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(args)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCallBuiltins(t *testing.T) {
	t.Parallel()
	client := start(t, bustest.New(t), "")
	ctx := rpctest.As(t.Context(), "w")
	tests := []struct {
		tool, text string
		args       map[string]any
	}{
		{"calculator", "0.1 + 0.2 = 0.3", map[string]any{"expression": "0.1+0.2"}},
		{"current_time", "2026-02-28 20:30:00 UTC (Saturday, 星期六), UTC+00:00", nil},
	}
	for _, tt := range tests {
		got, err := client.Call(ctx, &toolsv1.CallRequest{Workspace: "w", CallId: "c1", Tool: tt.tool, Arguments: arguments(t, tt.args)})
		if err != nil {
			t.Fatalf("Call %s: %v", tt.tool, err)
		}
		if r := got.GetResult(); r.GetText() != tt.text || r.GetCallId() != "c1" || r.GetTool() != tt.tool || r.GetError() != nil || r.GetData() == nil {
			t.Errorf("%s = %v, want %q", tt.tool, r, tt.text)
		}
	}
	got, err := client.Call(ctx, &toolsv1.CallRequest{Workspace: "w", CallId: "c1", Tool: "current_time"})
	if err != nil || got.GetResult().GetArguments().AsMap()["timezone"] != "UTC" {
		t.Errorf("arguments = %v, %v, want the default filled in", got.GetResult().GetArguments(), err)
	}
}

func TestCallFailureIsAResult(t *testing.T) {
	t.Parallel()
	client := start(t, bustest.New(t), "")
	got, err := client.Call(rpctest.As(t.Context(), "w"), &toolsv1.CallRequest{
		Workspace: "w", CallId: "c1", Tool: "calculator", Arguments: arguments(t, map[string]any{"expression": "1/0"}),
	})
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	want := &toolsv1.ToolError{Reason: "TOOL_FAILED", Message: "division by zero"}
	if diff := cmp.Diff(want, got.GetResult().GetError(), protocmp.Transform()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestCallRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "tools/pay.yaml", "description: {en: Pays.}\ninput_schema: {type: object}\nmethod: POST\nurl: https://bank.example.com/pay\nside_effects: true\n")
	client := start(t, bustest.New(t), dir, "pay")
	ctx := rpctest.As(t.Context(), "w")
	tests := []struct {
		name    string
		request *toolsv1.CallRequest
		reason  fault.Reason
		field   string
	}{
		{"a tool nobody enabled", &toolsv1.CallRequest{Workspace: "w", CallId: "c", Tool: "rm"}, fault.ToolNotFound, ""},
		{"a missing argument", &toolsv1.CallRequest{Workspace: "w", CallId: "c", Tool: "calculator"}, fault.ToolArgumentsInvalid, "arguments.expression"},
		{"side effects", &toolsv1.CallRequest{Workspace: "w", CallId: "c", Tool: "pay"}, fault.ApprovalRequired, ""},
		{"an approval nobody can check", &toolsv1.CallRequest{Workspace: "w", CallId: "c", Tool: "pay", Approval: "ok"}, fault.ReasonUnimplemented, ""},
		{"no call id", &toolsv1.CallRequest{Workspace: "w", Tool: "calculator"}, fault.InvalidRequest, "call_id"},
		{"another workspace", &toolsv1.CallRequest{Workspace: "x", CallId: "c", Tool: "calculator"}, fault.WorkspaceNotFound, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client.Call(ctx, tt.request)
			f := fault.As(err)
			if f == nil || f.Reason != tt.reason {
				t.Fatalf("Call error = %v, want %v", err, tt.reason)
			}
			if tt.field != "" && (len(f.Fields) != 1 || f.Fields[0].Path != tt.field) {
				t.Errorf("fields = %v, want %s", f.Fields, tt.field)
			}
		})
	}
}

func TestEveryCallIsAudited(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	client := start(t, b, "")
	ctx := rpctest.As(t.Context(), "w")
	for _, tool := range []string{"current_time", "rm"} {
		_, _ = client.Call(ctx, &toolsv1.CallRequest{Workspace: "w", CallId: "c", Tool: tool})
	}
	want := []*eventv1.Audited{
		{Workspace: "w", Actor: "tester", Action: "tool.call", Target: "current_time", Allowed: true},
		{Workspace: "w", Actor: "tester", Action: "tool.call", Target: "rm", Reason: "TOOL_NOT_FOUND"},
	}
	var got []*eventv1.Audited
	consume, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := b.Consume(consume, bus.Consumer{Stream: bus.Events, Durable: "audit-test", Subject: bus.EventSubject("audit", "w")},
		func(_ context.Context, m bus.Message) error {
			var a eventv1.Audited
			if err := proto.Unmarshal(m.Data, &a); err != nil {
				return err
			}
			if a.GetAt().AsTime() != clock() {
				t.Errorf("at %v", a.GetAt().AsTime())
			}
			a.At = nil
			if got = append(got, &a); len(got) == len(want) {
				cancel()
			}
			return nil
		})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("Consume: %v", err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("audited (-want +got):\n%s", diff)
	}
}

func TestHTTPPlugin(t *testing.T) {
	t.Setenv("RATES_TOKEN", "s3cret")
	rates := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"data":{"pair":"` + strings.TrimPrefix(r.URL.Path, "/rates/") + `","rate":7.1234}}`))
	}))
	t.Cleanup(rates.Close)
	u, err := url.Parse(rates.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "tools/exchange_rate.yaml", `
description:
  en: Tells today's exchange rate of a currency pair.
  zh: 查询货币对的当日汇率。
input_schema:
  type: object
  required: [pair]
  additionalProperties: false
  properties:
    pair: {type: string, pattern: "^[A-Z]{6}$"}
url: `+rates.URL+`/rates/{pair}
auth: {bearer: {env: RATES_TOKEN}}
timeout: 20s
egress: ["`+u.Host+`", 127.0.0.0/8]
response:
  path: $.data
  text: "{{.pair}}: {{.rate}}"
`)
	client := start(t, bustest.New(t), dir, "exchange_rate")
	ctx := rpctest.As(t.Context(), "w")
	got, err := client.Call(ctx, &toolsv1.CallRequest{
		Workspace: "w", CallId: "c", Tool: "exchange_rate", Arguments: arguments(t, map[string]any{"pair": "USDCNY"}),
	})
	if err != nil || got.GetResult().GetText() != "USDCNY: 7.1234" || got.GetResult().GetError() != nil {
		t.Errorf("Call = %v, %v", got, err)
	}
	list, err := client.ListTools(ctx, &toolsv1.ListToolsRequest{Workspace: "w"})
	if err != nil {
		t.Fatalf("ListTools: %v", err)
	}
	var names []string
	for _, tool := range list.GetTools() {
		names = append(names, tool.GetName()+" "+tool.GetKind()+" "+tool.GetTimeout().AsDuration().String())
	}
	if diff := cmp.Diff([]string{"calculator builtin 1s", "current_time builtin 1s", "exchange_rate http 20s"}, names); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if tool := list.GetTools()[2]; tool.GetDescription()["zh"] == "" || tool.GetInputSchema().AsMap()["type"] != "object" {
		t.Errorf("tool = %v", tool)
	}
	if list.GetConfigRevision() == "abc" {
		t.Error("the revision does not cover the plugins")
	}
}

func TestConfigurationErrorsNameTheirPlace(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"an unknown key", "descripton: {en: x}\n", "x.yaml:1"},
		{"a wrong address", "input_schema: {type: object}\nurl: ftp://x\n", "x.yaml:2: url"},
		{"a schema that is none", "input_schema: {type: object, required: 7}\nurl: https://x.example.com/\n", "x.yaml:1: input_schema"},
		{"a tool with a built-in's name", "", "the name is taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			name := "x"
			if tt.text == "" {
				name, tt.text = "calculator", "input_schema: {type: object}\nurl: https://x.example.com/\n"
			}
			write(t, dir, "tools/"+name+".yaml", tt.text)
			_, err := tools.New(t.Context(), tools.Defaults(), tools.Deps{
				Telemetry: telemetry.Nop("tools"), Bus: nil, ConfigDir: dir, Revision: "abc", Clock: clock,
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New error = %v, want it to contain %q", err, tt.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"fewer tools", "enabled_plugins: [calculator]\n", ""},
		{"a name twice", "enabled_plugins: [calculator, calculator]\n", "enabled_plugins"},
		{"a limit", "limits: {concurrent: 0}\n", "limits.concurrent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "tools.yaml", tt.text)
			_, err := config.Load("tools", tools.Defaults(), config.Source{Dir: dir})
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Load: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Load error = %v, want it to contain %q", err, tt.want)
			}
		})
	}
}

package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
)

func load(t *testing.T, src settings.Source) *settings.Settings {
	t.Helper()
	if src.Set == nil {
		src.Set = map[string]map[string]string{"dialog": {"rpc.addr": "127.0.0.1:0", "admin.addr": "127.0.0.1:0"}}
	}
	s, err := settings.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func options(t *testing.T) wire.Options {
	t.Helper()
	return wire.Options{
		Settings: load(t, settings.Source{}), Data: filepath.Join(t.TempDir(), "data"), Log: zerolog.Nop(),
		Ready: func(string, string) {}, Started: func(net.Addr, net.Addr) {},
	}
}

// awaited returns the address that Up serves at once it has started. An Up that has ended instead is left in done for whoever waits
// for its end.
func awaited(t *testing.T, started <-chan net.Addr, done chan error) net.Addr {
	t.Helper()
	select {
	case addr := <-started:
		return addr
	case err := <-done:
		done <- err
		t.Fatalf("Up = %v", err)
		return nil
	}
}

func TestUpServesProbesAndStopsCleanly(t *testing.T) {
	t.Parallel()
	o := options(t)
	var parts []string
	o.Ready = func(part, _ string) { parts = append(parts, part) }
	started := make(chan net.Addr, 1)
	o.Started = func(_, admin net.Addr) { started <- admin }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- wire.Up(ctx, o) }()
	var admin net.Addr
	select {
	case admin = <-started:
	case err := <-done:
		t.Fatalf("Up = %v", err)
	}
	if diff := cmp.Diff([]string{"nats", "eval", "llm-gateway", "tools", "retriever", "dialog"}, parts); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	client := &http.Client{Timeout: time.Minute}
	for path, want := range map[string]string{
		"/health/live": `"alive"`, "/health/ready": `"dialog/nats"`, "/metrics": `ragmesh_llm_gateway_bus_connected{ragmesh_service="llm-gateway"} 1`,
	} {
		resp, err := client.Get("http://" + admin.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s answers %s %v without %s: %.500s", path, resp.Status, err, want, body)
		}
	}
	if err := wire.Up(ctx, withData(options(t), o.Data)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second Up on the same folder = %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Up = %v after it was asked to stop", err)
	}
	entries, err := os.ReadDir(o.Data)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"dialog", "eval", "llm-gateway", "lock", "nats", "retriever"}, names); diff != "" {
		t.Errorf("data folder (-want +got):\n%s", diff)
	}
}

func withData(o wire.Options, dir string) wire.Options {
	o.Data = dir
	return o
}

func TestUpSaysWhichPortIsTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := options(t)
	o.Settings = load(t, settings.Source{Set: map[string]map[string]string{"dialog": {"rpc.addr": l.Addr().String(), "admin.addr": "127.0.0.1:0"}}})
	if err := wire.Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Up = %v; want the address named", err)
	}
}

func TestUpStopsWhileItStarts(t *testing.T) {
	t.Parallel()
	o := options(t)
	ctx, cancel := context.WithCancel(t.Context())
	o.Ready = func(part, _ string) {
		if part == "llm-gateway" {
			cancel()
		}
	}
	o.Started = func(net.Addr, net.Addr) { t.Error("it says that it has started") }
	if err := wire.Up(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Up = %v", err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFindsWhatUpWouldRefuse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files map[string]string
		want  []string
	}{
		"nothing":               {nil, nil},
		"a secret that is away": {map[string]string{"dialog.yaml": "auth:\n  bootstrap_key: {env: RAGMESH_TEST_NOT_THERE}\n"}, nil},
		"broken prompt":         {map[string]string{"prompts/default.yaml": "system_promt: x\n"}, []string{"default.yaml:1"}},
		"broken strategy":       {map[string]string{"retrieval/fast.yaml": "top_k: many\n"}, []string{"fast.yaml:1"}},
		"broken tool":           {map[string]string{"tools/crm.yaml": "nonsense: 1\n"}, []string{"crm.yaml:1"}},
		"all at once": {
			map[string]string{"prompts/default.yaml": "system_promt: x\n", "retrieval/fast.yaml": "top_k: many\n", "tools/crm.yaml": "nonsense: 1\n"},
			[]string{"default.yaml:1", "fast.yaml:1", "crm.yaml:1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, text := range tt.files {
				write(t, dir, file, text)
			}
			_, err := wire.Check(t.Context(), load(t, settings.Source{Dir: dir}))
			if (err == nil) != (tt.want == nil) {
				t.Errorf("Check = %v", err)
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Check = %v; want %s in it", err, want)
				}
			}
		})
	}
}

func TestCheckReturnsTheRevisionsOfAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "prompts/default.yaml", "system_prompt: Be brief.\n")
	s := load(t, settings.Source{Dir: dir})
	got, err := wire.Check(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got["llm-gateway"] == s.Gateway.Revision || len(got["llm-gateway"]) != 12 {
		t.Errorf("llm-gateway's is %q, want one that covers the prompt", got["llm-gateway"])
	}
	got["llm-gateway"] = s.Gateway.Revision
	want := map[string]string{
		"dialog": s.Dialog.Revision, "retriever": s.Retriever.Revision, "tools": s.Tools.Revision, "llm-gateway": s.Gateway.Revision, "eval": s.Eval.Revision,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
}

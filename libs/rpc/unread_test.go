package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

const embedPath = "/ragmesh.llm.v1.LLMService/Embed"

// What Connect refuses by itself is an error like any other: code, reason, what to do, a line in the log and a count.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method, path, contentType, body string
		status                          int
		code, reason, says              string
	}{
		"not JSON":          {"POST", embedPath, "application/json", "{", 400, "invalid_argument", "INVALID_REQUEST", "can't be read"},
		"wrong type":        {"POST", embedPath, "application/json", `{"workspace": 5}`, 400, "invalid_argument", "INVALID_REQUEST", "workspace"},
		"not protobuf":      {"POST", embedPath, "application/proto", "\xff\xff", 400, "invalid_argument", "INVALID_REQUEST", "can't be read"},
		"invalid UTF-8":     {"POST", embedPath, "application/json", "{\"workspace\": \"\xff\xfe\"}", 400, "invalid_argument", "INVALID_REQUEST", "UTF-8"},
		"too large":         {"POST", embedPath, "application/json", `{"workspace": "` + strings.Repeat("x", 3<<20) + `"}`, 429, "resource_exhausted", "REQUEST_TOO_LARGE", "max 2097152 bytes"},
		"unknown procedure": {"POST", "/ragmesh.llm.v1.LLMService/Sing", "application/json", "{}", 404, "unimplemented", "UNIMPLEMENTED", "Sing"},
		"unknown service":   {"POST", "/ragmesh.llm.v2.LLMService/Embed", "application/json", "{}", 404, "unimplemented", "UNIMPLEMENTED", "LLMService"},
		"a form":            {"POST", embedPath, "application/x-www-form-urlencoded", "a=b", 415, "invalid_argument", "INVALID_REQUEST", "application/json"},
		"another method":    {"DELETE", embedPath, "", "", 405, "invalid_argument", "INVALID_REQUEST", "POST"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _, tel := edge(t, &gateway{}, ServerOptions{})
			request, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+addr+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", test.contentType)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Code, Message string
				Details       []struct {
					Type  string
					Debug struct{ Reason, Domain string }
				}
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if response.StatusCode != test.status || got.Code != test.code || !strings.Contains(got.Message, test.says) {
				t.Errorf("status %d, %s; want %d, %s with %q", response.StatusCode, body, test.status, test.code, test.says)
			}
			if len(got.Details) != 1 || got.Details[0].Type != "google.rpc.ErrorInfo" || got.Details[0].Debug.Reason != test.reason {
				t.Errorf("details %+v, want the reason %s", got.Details, test.reason)
			}
			if counted(t, tel.Registry) != 1 {
				t.Error("the request is not counted")
			}
		})
	}
}

// counted returns how many calls the metrics have.
func counted(t *testing.T, registry prometheus.Registerer) uint64 {
	t.Helper()
	families, err := registry.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	for _, f := range families {
		if strings.HasSuffix(f.GetName(), "rpc_duration_seconds") {
			for _, m := range f.GetMetric() {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

// The same for gRPC and gRPC-Web, whose errors travel in trailers.
func TestUnreadableOverGRPC(t *testing.T) {
	t.Parallel()
	addr, _, _ := edge(t, &gateway{}, ServerOptions{})
	for name, option := range map[string]connect.ClientOption{"gRPC": connect.WithGRPC(), "gRPC-Web": connect.WithGRPCWeb(), "Connect": connect.WithProtoJSON()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			protocols := new(http.Protocols)
			protocols.SetUnencryptedHTTP2(true)
			transport := &http.Transport{Protocols: protocols}
			t.Cleanup(transport.CloseIdleConnections)
			client := llmv1connect.NewLLMServiceClient(&http.Client{Transport: transport}, "http://"+addr, option)
			_, err := client.Embed(t.Context(), &llmv1.EmbedRequest{Workspace: strings.Repeat("x", 3<<20)})
			if connect.CodeOf(err) != connect.CodeResourceExhausted || reasonIn(err) != "REQUEST_TOO_LARGE" {
				t.Errorf("too large: %v with reason %q", err, reasonIn(err))
			}
		})
	}
	t.Run("a broken message", func(t *testing.T) {
		t.Parallel()
		var body bytes.Buffer
		body.WriteByte(0)
		_ = binary.Write(&body, binary.BigEndian, uint32(2))
		body.WriteString("\xff\xff")
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+embedPath, &body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/grpc-web+proto")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if got := response.Header; got.Get("Grpc-Status") != "3" || !strings.Contains(got.Get("Grpc-Message"), "can't be read") || got.Get("Grpc-Status-Details-Bin") == "" {
			t.Errorf("headers %v", got)
		}
	})
}

func reasonIn(err error) string {
	var c *connect.Error
	if e, ok := err.(*connect.Error); ok { //nolint:errorlint // as the client returned it
		c = e
	}
	for _, d := range c.Details() {
		if v, err := d.Value(); err == nil {
			if info, ok := v.(*errdetails.ErrorInfo); ok {
				return info.GetReason()
			}
		}
	}
	return ""
}

// While a call finishes, who still comes is served for some time and then told to go elsewhere; afterwards nobody is there.
func TestDrainingServesAndThenRefusesPolitely(t *testing.T) {
	t.Parallel()
	finish, running := make(chan struct{}), make(chan struct{})
	addr, server, _ := edge(t, &gateway{generate: func(_ context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
		close(running)
		<-finish
		return s.Send(&llmv1.GenerateResponse{})
	}, embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
		return &llmv1.EmbedResponse{}, nil
	}}, ServerOptions{})
	slow := make(chan error, 1)
	go func() {
		_, err := drain(t.Context(), llmv1connect.NewLLMServiceClient(http.DefaultClient, "http://"+addr), generateOf("bank"))
		slow <- err
	}()
	<-running
	down := make(chan error, 1)
	go func() { down <- server.Shutdown(soon(t, 16*time.Second)) }()
	<-server.draining
	ask := func(http2 bool) error {
		option := connect.WithProtoJSON()
		if http2 {
			option = connect.WithGRPC()
		}
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(http2)
		protocols.SetHTTP1(!http2)
		transport := &http.Transport{Protocols: protocols}
		defer transport.CloseIdleConnections()
		_, err := llmv1connect.NewLLMServiceClient(&http.Client{Transport: transport}, "http://"+addr, option).Embed(t.Context(), embedOf("bank"))
		return err
	}
	for range 3 { // while the old connections are looked after, and after that
		for _, http2 := range []bool{true, false} {
			if err := ask(http2); err != nil && time.Now().Before(server.refuseAt) {
				t.Errorf("HTTP/2 %t, in time: %v", http2, err)
			}
		}
		time.Sleep(250 * time.Millisecond)
	}
	time.Sleep(time.Until(server.refuseAt))
	for _, http2 := range []bool{true, false} {
		err := ask(http2)
		if f := fault.As(FromConnect(err)); f.Kind != fault.Unavailable || f.Reason != fault.Draining || f.RetryAfter != drainingFor {
			t.Errorf("HTTP/2 %t: %v %s, again after %s", http2, err, fault.ReasonName(f.Reason), f.RetryAfter)
		}
	}
	select {
	case err := <-down:
		t.Errorf("the server stopped under a running call: %v", err)
	default:
	}
	close(finish)
	if err := <-slow; err != nil {
		t.Errorf("the running call: %v", err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	c := Dial(Target{URL: "http://" + addr}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli"), Retries: -1})
	t.Cleanup(c.Close)
	_, err := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).Embed(t.Context(), embedOf("bank"))
	wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
}

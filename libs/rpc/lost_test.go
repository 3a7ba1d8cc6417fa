package rpc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
)

// A peer that resets its connections is unavailable each time, in whichever way the reset shows, and never "canceled": then
// nobody would ask again, and the caller would think it was he.
func TestResetIsUnavailable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var accepted atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a reset, not an end
			}
			_ = conn.Close()
		}
	}()
	call := func(ctx context.Context, retries int) error {
		c := Dial(Target{URL: "http://" + l.Addr().String()}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("dialog"), Audience: "tools", Retries: retries})
		defer c.Close()
		_, err := toolsv1connect.NewToolsServiceClient(c.HTTP, c.URL, c.Options...).ListTools(ctx, &toolsv1.ListToolsRequest{Workspace: "default"})
		return err
	}
	for range 20 {
		wantFault(t, call(t.Context(), -1), fault.Unavailable, fault.ServiceUnavailable)
	}
	before := accepted.Load()
	wantFault(t, call(t.Context(), 2), fault.Unavailable, fault.ServiceUnavailable)
	if got := accepted.Load() - before; got < 3 {
		t.Errorf("the service was asked %d times, want 3: a reset is worth another attempt", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantFault(t, call(ctx, 2), fault.Canceled, fault.ReasonCanceled)
}

// A mesh's proxy ends the streams of a pod that died with resets of its own, or answers in its place.
func TestAProxyBreaksOff(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"before the answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"in the answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"no pod is left": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"bad gateway":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"in gRPC's form": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "14")
			w.Header().Set("L5d-Proxy-Error", "connect error")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			protocols := new(http.Protocols)
			protocols.SetUnencryptedHTTP2(true)
			proxy := httptest.NewUnstartedServer(handle)
			proxy.Config.Protocols = protocols
			proxy.Start()
			t.Cleanup(proxy.Close)
			c := Dial(Target{URL: proxy.URL}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("dialog"), Retries: -1})
			t.Cleanup(c.Close)
			_, err := toolsv1connect.NewToolsServiceClient(c.HTTP, c.URL, c.Options...).ListTools(t.Context(), &toolsv1.ListToolsRequest{Workspace: "default"})
			wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
			_, err = drain(t.Context(), llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...), generateOf("bank"))
			wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
		})
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	t.Cleanup(cancelLate)
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		want connect.Code
	}{
		"canceled by nobody here":         {t.Context(), connect.NewError(connect.CodeCanceled, errors.New("RST_STREAM")), connect.CodeUnavailable},
		"canceled by the caller":          {ended, connect.NewError(connect.CodeCanceled, context.Canceled), connect.CodeCanceled},
		"no connection in time":           {t.Context(), connect.NewError(connect.CodeDeadlineExceeded, errors.New("i/o timeout")), connect.CodeUnavailable},
		"the caller's deadline":           {late, connect.NewError(connect.CodeDeadlineExceeded, context.DeadlineExceeded), connect.CodeDeadlineExceeded},
		"an answer without its end":       {t.Context(), connect.NewError(connect.CodeInternal, errors.New("protocol error: no Grpc-Status trailer")), connect.CodeUnavailable},
		"a failure that the service told": {t.Context(), connect.NewError(connect.CodeNotFound, errors.New("no such thing")), connect.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := connect.CodeOf(found(test.ctx, test.err)); got != test.want {
				t.Errorf("code %v, want %v", got, test.want)
			}
		})
	}
	if err := found(t.Context(), nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

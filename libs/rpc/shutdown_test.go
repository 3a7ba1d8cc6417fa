package rpc

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// serveStream serves a gateway whose stream does what a test says, and returns after the first message's arrival.
func serveStream(t *testing.T, serve way, generate func(context.Context, *connect.ServerStream[llmv1.GenerateResponse]) error) (*Server, <-chan error, chan error) {
	t.Helper()
	mux := NewMux(MuxOptions{Telemetry: telemetry.Nop("dialog"), Edge: true})
	mux.Handle(llmv1connect.NewLLMServiceHandler(&gateway{generate: func(ctx context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
		if err := s.Send(&llmv1.GenerateResponse{}); err != nil {
			return err
		}
		return generate(ctx, s)
	}}, mux.HandlerOptions()...))
	server := NewServer(mux, ServerOptions{afterClose: time.Minute}) // a busy machine's handlers notice late
	target, served := serve(t, server)
	c := Dial(target, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli")})
	t.Cleanup(c.Close)
	stream, err := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).Generate(t.Context(), generateOf("bank"))
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	ended := make(chan error, 1)
	go func() {
		for stream.Receive() {
		}
		err := stream.Err()
		_ = stream.Close()
		ended <- err
	}()
	return server, served, ended
}

func soon(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	overEach(t, testShutdown)
}

func testShutdown(t *testing.T, serve way) {
	t.Helper()
	t.Run("lets a stream finish", func(t *testing.T) {
		t.Parallel()
		finish := make(chan struct{})
		server, served, ended := serveStream(t, serve, func(ctx context.Context, s *connect.ServerStream[llmv1.GenerateResponse]) error {
			<-finish
			return s.Send(&llmv1.GenerateResponse{})
		})
		down := make(chan error, 1)
		go func() { down <- server.Shutdown(soon(t, time.Minute)) }()
		<-server.draining
		close(finish)
		if err := errors.Join(<-ended, <-down, <-served); err != nil {
			t.Error(err)
		}
	})
	t.Run("closes what does not end within the bound", func(t *testing.T) {
		t.Parallel()
		left := make(chan error, 1)
		server, served, ended := serveStream(t, serve, func(ctx context.Context, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
			<-ctx.Done()
			left <- ctx.Err()
			return ctx.Err()
		})
		if err := server.Shutdown(soon(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shut down: %v", err)
		}
		select {
		case err := <-left:
			if err == nil {
				t.Error("the handler's context has not ended")
			}
		default:
			t.Error("Shutdown returned before the handler")
		}
		wantFault(t, <-ended, fault.Unavailable, fault.ServiceUnavailable)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Run("tells streams without an end", func(t *testing.T) {
		t.Parallel()
		server, served, ended := serveStream(t, serve, func(ctx context.Context, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
			select {
			case <-Draining(ctx):
				return fault.New(fault.Unavailable, fault.Draining, "this replica is stopping")
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err := server.Shutdown(soon(t, time.Minute)); err != nil {
			t.Error(err)
		}
		wantFault(t, <-ended, fault.Unavailable, fault.Draining)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Run("outside of a request nothing drains", func(t *testing.T) {
		t.Parallel()
		select {
		case <-Draining(t.Context()):
			t.Error("it does")
		default:
		}
	})
}

// A peer that is connected but does nothing, as a machine that lost its power, is noticed: by streams, too.
func TestHungPeer(t *testing.T) {
	t.Parallel()
	mux := NewMux(MuxOptions{Telemetry: telemetry.Nop("dialog"), Edge: true})
	mux.Handle(llmv1connect.NewLLMServiceHandler(&gateway{generate: func(ctx context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
		if err := s.Send(&llmv1.GenerateResponse{}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}, mux.HandlerOptions()...))
	server := NewServer(mux, ServerOptions{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var hung atomic.Bool
	go func() { _ = server.Serve(&hangingListener{l, &hung}) }()
	t.Cleanup(func() { _ = server.Shutdown(soon(t, time.Millisecond)) })

	target := Target{URL: "http://" + l.Addr().String()}
	c := Dial(target, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli"), pingAfter: 500 * time.Millisecond, pingTimeout: 3 * time.Second})
	t.Cleanup(c.Close)
	stream, err := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).Generate(t.Context(), generateOf("bank"))
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	hung.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for stream.Receive() {
		}
	}()
	select {
	case <-ended:
		wantFault(t, stream.Err(), fault.Unavailable, fault.ServiceUnavailable)
	case <-time.After(time.Minute):
		t.Fatal("the stream waits for ever")
	}
	_ = stream.Close()
}

// hangingListener accepts connections that can hang.
type hangingListener struct {
	net.Listener
	hung *atomic.Bool
}

func (l *hangingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &hangingConn{Conn: conn, hung: l.hung, closed: make(chan struct{})}, nil
}

// hangingConn swallows what is sent and delivers nothing once it hangs.
type hangingConn struct {
	net.Conn
	hung   *atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (c *hangingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.hung.Load() && err == nil {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *hangingConn) Write(p []byte) (int, error) {
	if c.hung.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *hangingConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	keys, err := identity.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.Signer(identity.Dialog, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := Dial(Target{URL: "http://" + addr}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("dialog"), Signer: signer, Audience: identity.Gateway})
	t.Cleanup(c.Close)
	_, err = llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).Embed(asAlice(t.Context()), embedOf("bank"))
	f := wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
	if strings.Contains(f.Message, addr) || !strings.Contains(err.Error(), addr) {
		t.Errorf("message %q must not, log text %q must have the address", f.Message, err)
	}
}

package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// serveStream serves a gateway whose stream does what a test says and returns a client and the first message's arrival.
func serveStream(t *testing.T, generate func(context.Context, *connect.ServerStream[llmv1.GenerateResponse]) error) (*Server, chan error, chan error) {
	t.Helper()
	mux := NewMux(MuxOptions{Telemetry: telemetry.Nop("dialog"), Edge: true})
	mux.Handle(llmv1connect.NewLLMServiceHandler(&gateway{generate: func(ctx context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
		if err := s.Send(&llmv1.GenerateResponse{}); err != nil {
			return err
		}
		return generate(ctx, s)
	}}, mux.HandlerOptions()...))
	server := NewServer(mux, ServerOptions{})
	pipe := NewPipe()
	served := make(chan error, 1)
	go func() { served <- server.Serve(pipe) }()
	c := Dial(pipe.Target("x"), ClientOptions{Telemetry: telemetry.Nop("cli")})
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
	t.Run("lets a stream finish", func(t *testing.T) {
		t.Parallel()
		finish := make(chan struct{})
		server, served, ended := serveStream(t, func(ctx context.Context, s *connect.ServerStream[llmv1.GenerateResponse]) error {
			<-finish
			return s.Send(&llmv1.GenerateResponse{})
		})
		down := make(chan error, 1)
		go func() { down <- server.Shutdown(soon(t, 10*time.Second)) }()
		<-server.draining
		close(finish)
		if err := errors.Join(<-ended, <-down, <-served); err != nil {
			t.Error(err)
		}
	})
	t.Run("closes what does not end within the bound", func(t *testing.T) {
		t.Parallel()
		left := make(chan error, 1)
		server, served, ended := serveStream(t, func(ctx context.Context, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
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
		server, served, ended := serveStream(t, func(ctx context.Context, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
			select {
			case <-Draining(ctx):
				return fault.New(fault.Unavailable, fault.Draining, "this replica is stopping")
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err := server.Shutdown(soon(t, 10*time.Second)); err != nil {
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
	pipe := NewPipe()
	mux := NewMux(MuxOptions{Telemetry: telemetry.Nop("dialog"), Edge: true})
	mux.Handle(llmv1connect.NewLLMServiceHandler(&gateway{generate: func(ctx context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
		if err := s.Send(&llmv1.GenerateResponse{}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}, mux.HandlerOptions()...))
	server := NewServer(mux, ServerOptions{})
	go func() { _ = server.Serve(pipe) }()
	t.Cleanup(func() { _ = server.Shutdown(soon(t, time.Millisecond)) })

	var hung atomic.Bool
	target := pipe.Target("x")
	dial := target.Dial
	target.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &hangingConn{Conn: conn, hung: &hung, closed: make(chan struct{})}, err
	}
	c := Dial(target, ClientOptions{Telemetry: telemetry.Nop("cli"), pingAfter: 500 * time.Millisecond, pingTimeout: 3 * time.Second})
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

func TestPipe(t *testing.T) {
	t.Parallel()
	p := NewPipe()
	go func() {
		conn, err := p.Accept()
		if err == nil {
			_, _ = io.Copy(conn, conn)
		}
	}()
	conn, err := p.DialContext(t.Context(), "tcp", "anywhere:80")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = conn.Write([]byte("hello")) }()
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, []byte("hello")) {
		t.Errorf("read %q, %v", got, err)
	}
	_ = conn.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.DialContext(ended, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("dial with an ended context: %v", err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if _, err := p.DialContext(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial a closed pipe: %v", err)
	}
	if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept from a closed pipe: %v", err)
	}
	if diff := cmp.Diff("pipe", p.Addr().String()); diff != "" {
		t.Error(diff)
	}
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
	c := Dial(Target{URL: "http://" + addr}, ClientOptions{Telemetry: telemetry.Nop("dialog"), Signer: signer, Audience: identity.Gateway})
	t.Cleanup(c.Close)
	_, err = llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...).Embed(asAlice(t.Context()), embedOf("bank"))
	f := wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
	if strings.Contains(f.Message, addr) || !strings.Contains(err.Error(), addr) {
		t.Errorf("message %q must not, log text %q must have the address", f.Message, err)
	}
}

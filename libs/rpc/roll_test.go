package rpc

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// replicas are servers behind one address that hands out connections, as kube-proxy does: a server that stops gets no more
// of them.
type replicas struct {
	addr string

	mu    sync.Mutex
	up    []string
	next  int
	given map[string]int64 // connections, by server
}

// turnstile is a listener that counts who has come in.
type turnstile struct {
	net.Listener
	accepted atomic.Int64
}

func (l *turnstile) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &replicas{addr: l.Addr().String(), given: map[string]int64{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return r
}

func (r *replicas) pass(client net.Conn) {
	defer client.Close()
	r.mu.Lock() // until it is connected, so that nobody stops meanwhile
	r.next++
	addr := r.up[r.next%len(r.up)]
	server, err := net.Dial("tcp", addr)
	if err == nil {
		r.given[addr]++
	}
	r.mu.Unlock()
	if err != nil {
		_ = client.(*net.TCPConn).SetLinger(0)
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
}

// start adds a server, stop takes it away: connections come for some time more.
func (r *replicas) start(t *testing.T) (stop func()) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &turnstile{Listener: tcp}
	addr, server, _ := edgeOn(t, l, &gateway{
		generate: func(ctx context.Context, _ *llmv1.GenerateRequest, s *connect.ServerStream[llmv1.GenerateResponse]) error {
			for range 5 {
				if err := s.Send(&llmv1.GenerateResponse{}); err != nil {
					return err
				}
				time.Sleep(2 * time.Millisecond)
			}
			return ctx.Err()
		},
		embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
			return &llmv1.EmbedResponse{}, nil
		},
	}, ServerOptions{maxLinger: 30 * time.Second})
	r.mu.Lock()
	r.up = append(r.up, addr)
	r.mu.Unlock()
	return func() {
		server.mux.SetServing(false) // as at the beginning of shutdown.delay
		time.Sleep(100 * time.Millisecond)
		r.mu.Lock()
		for i, up := range r.up {
			if up == addr {
				r.up = append(r.up[:i:i], r.up[i+1:]...)
				break
			}
		}
		given := r.given[addr]
		r.mu.Unlock()
		for end := time.Now().Add(time.Minute); l.accepted.Load() < given && time.Now().Before(end); time.Sleep(time.Millisecond) {
			// What was given away just before comes in yet.
		}
		time.Sleep(100 * time.Millisecond)
		if err := server.Shutdown(soon(t, 10*time.Minute)); err != nil {
			t.Error(err)
		}
	}
}

// Servers come and go under load, and no request fails: not one over HTTP/2, where none is repeated here, and not one over
// HTTP/1.1 connections that are kept.
func TestARollFailsNoRequest(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	stops := []func(){r.start(t), r.start(t)}
	var asked, failed atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	load := func(name string, client llmv1connect.LLMServiceClient, pause time.Duration) {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				began := time.Now()
				var err error
				if n%2 == 0 {
					_, err = client.Embed(t.Context(), embedOf("bank"))
				} else {
					_, err = drain(t.Context(), client, generateOf("bank"))
				}
				asked.Add(1)
				if err != nil {
					failed.Add(1)
					t.Errorf("%s: %v", name, err)
				}
				time.Sleep(max(pause, 3*time.Since(began))) // a busy machine is not made busier than it can answer in time
			}
		})
	}
	for range 4 {
		c := Dial(Target{URL: "http://" + r.addr}, ClientOptions{dialTimeout: time.Minute, Telemetry: telemetry.Nop("cli"), Retries: -1})
		t.Cleanup(c.Close)
		client := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...)
		for range 4 {
			load("HTTP/2", client, time.Millisecond)
		}
	}
	for range 4 { // each with one connection, which is in use: one that is idle is closed in the end, and HTTP/1.1 can't say when
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		load("HTTP/1.1", llmv1connect.NewLLMServiceClient(&http.Client{Transport: transport}, "http://"+r.addr), 5*time.Millisecond)
	}
	for range 8 {
		time.Sleep(50 * time.Millisecond)
		stops = append(stops, r.start(t))
		stops[0]()
		stops = stops[1:]
	}
	cancel()
	group.Wait()
	if failed.Load() > 0 || asked.Load() < 100 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
	t.Logf("%d requests", asked.Load())
}

package e2e

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// lookEvery is how often a balancer asks its replicas whether they are ready, and noticedAfter how much later it acts when
	// one is not any more: until then it still hands out connections to it, as kube-proxy does.
	lookEvery    = 100 * time.Millisecond
	noticedAfter = time.Second
)

// Balancer stands before replicas and hands each connection to one of those that were ready some time ago, as a Service of
// Kubernetes does without a mesh: it knows of no request, cuts no connection, and refuses those to whom it finds nobody.
type Balancer struct {
	// Addr is where it listens.
	Addr string

	mu      sync.Mutex
	parts   map[string]*Part     // by address
	seen    map[string]time.Time // when it was ready last
	serving []string
}

// NewBalancer returns a balancer before replicas, by address, until the test ends.
func NewBalancer(tb testing.TB, parts map[string]*Part) *Balancer {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("open a balancer: %v", err)
	}
	b := &Balancer{Addr: listener.Addr().String(), parts: parts, seen: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var all sync.WaitGroup
	all.Go(func() { b.watch(ctx) })
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { b.serve(ctx, conn) })
		}
	})
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close()
		all.Wait()
	})
	return b
}

// watch keeps the list of replicas that get connections.
func (b *Balancer) watch(ctx context.Context) {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		for addr, p := range b.parts {
			resp, err := client.Get(p.Admin + "/health/ready") //nolint:noctx // bounded by the client's timeout
			if err == nil {
				_ = resp.Body.Close()
			}
			b.mu.Lock()
			if err == nil && resp.StatusCode == http.StatusOK {
				b.seen[addr] = time.Now()
			}
			b.serving = slices.DeleteFunc(b.serving, func(a string) bool { return a == addr })
			if time.Since(b.seen[addr]) < noticedAfter {
				b.serving = append(b.serving, addr)
			}
			b.mu.Unlock()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// await waits until connections find a replica: a balancer notices later that it is ready.
func (b *Balancer) await(tb testing.TB, addr string) {
	tb.Helper()
	asked := time.Now()
	for deadline := asked.Add(readyTimeout); ; time.Sleep(poll) {
		b.mu.Lock()
		found := b.seen[addr].After(asked) && slices.Contains(b.serving, addr)
		b.mu.Unlock()
		if found {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the balancer does not see that the replica at %s is ready", addr)
		}
	}
}

// serve connects a client with a replica.
func (b *Balancer) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	b.mu.Lock()
	addr := ""
	if len(b.serving) > 0 {
		addr = b.serving[rand.N(len(b.serving))] //nolint:gosec // any will do
	}
	b.mu.Unlock()
	reset := func(c net.Conn) {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // what is closed now is reset
		}
	}
	server, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		reset(client)
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, err := io.Copy(way[0], way[1])
			if err != nil { // one side was reset: so is the other
				reset(client)
				_, _ = client.Close(), server.Close()
				return
			}
			if tcp, ok := way[0].(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
		})
	}
	both.Wait()
}

// StartReplicas is [StartMesh] with two processes of dialog, tools and llm-gateway each, called dialog-0, dialog-1 and so on, and
// a [Balancer] before every pair.
func StartReplicas(tb testing.TB, all ...Option) *System {
	tb.Helper()
	return startMesh(tb, map[string]int{"dialog": 2, "tools": 2, "llm-gateway": 2}, all...)
}

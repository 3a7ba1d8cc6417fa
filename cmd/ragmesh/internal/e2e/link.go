package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Link is a TCP connection's middle, which a test can make slow or bad. What it does changes for new connections; those
// there are cut, except by [Link.Slow], which acts on them too.
type Link struct {
	// Addr is where it listens.
	Addr string

	target   string
	listener net.Listener
	failing  *handover // connections for the server that answers everything with an error

	mu    sync.Mutex
	delay time.Duration
	bad   func(net.Conn) // what becomes of connections; nil passes them on
	conns map[net.Conn]struct{}
}

// newLink passes connections on to target until the test ends.
func newLink(tb testing.TB, target string) *Link {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("open a link: %v", err)
	}
	l := &Link{Addr: listener.Addr().String(), target: target, listener: listener, failing: newHandover(listener.Addr()), conns: map[net.Conn]struct{}{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { l.serve(conn) })
		}
	})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	failing := &http.Server{Handler: http.HandlerFunc(failCall), Protocols: protocols, ReadHeaderTimeout: time.Minute}
	all.Go(func() { _ = failing.Serve(l.failing) })
	tb.Cleanup(func() {
		_, _ = listener.Close(), failing.Close()
		l.cut()
		all.Wait()
	})
	return l
}

// failCall answers a gRPC call with internal.
func failCall(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Grpc-Status", "13")
	w.Header().Set("Grpc-Message", "injected failure")
	w.WriteHeader(http.StatusOK)
}

// Pass is what a link does at first: it passes everything on.
func (l *Link) Pass() { l.become(0, nil) }

// Slow delays everything that comes back by d.
func (l *Link) Slow(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// Reset cuts every connection as soon as it is made.
func (l *Link) Reset() { l.become(0, func(c net.Conn) { _ = c.Close() }) }

// Fail answers every gRPC call with code internal.
func (l *Link) Fail() { l.become(0, l.failing.put) }

func (l *Link) become(delay time.Duration, bad func(net.Conn)) {
	l.mu.Lock()
	l.delay, l.bad = delay, bad
	l.mu.Unlock()
	l.cut()
}

// cut closes the connections there are.
func (l *Link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
}

func (l *Link) serve(client net.Conn) {
	l.mu.Lock()
	l.conns[client] = struct{}{}
	bad := l.bad
	l.mu.Unlock()
	if bad != nil {
		bad(client)
		return
	}
	server, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", l.target)
	if err != nil {
		_ = client.Close()
		l.forget(client)
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	l.copySlowly(client, server)
	_, _ = client.Close(), server.Close()
	both.Wait()
	l.forget(client)
}

func (l *Link) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// chunk is data on its way, and when it arrives.
type chunk struct {
	data []byte
	due  time.Time
}

// copySlowly delays each piece without delaying those after it any further.
func (l *Link) copySlowly(to io.WriteCloser, from io.Reader) {
	way := make(chan chunk, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		for c := range way {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.data); err != nil {
				_ = to.Close() // ends the reader too, by way of the other direction
			}
		}
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			l.mu.Lock()
			delay := l.delay
			l.mu.Unlock()
			way <- chunk{append([]byte(nil), buf[:n]...), time.Now().Add(delay)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	writer.Wait()
}

// handover is a listener whose connections are put into it.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handover) put(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		_ = c.Close()
	}
}

// Accept implements [net.Listener].
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements [net.Listener].
func (h *handover) Addr() net.Addr { return h.addr }

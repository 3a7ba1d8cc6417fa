package rpc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/ragmesh/ragmesh/libs/stack"
)

// localAddr is where calls come from that no connection brought.
const localAddr = "local"

var errServerClosed = errors.New("the server was closed")

// Local is where clients find a server that is in the same process: a call goes to its handlers without a connection, and through
// everything else that a request from outside goes through. It is made first, dialled by any number of clients, and served by one
// server; who calls before that waits.
type Local struct {
	served chan struct{}
	server *Server // once served is closed
}

// NewLocal returns a place that nobody serves yet.
func NewLocal() *Local { return &Local{served: make(chan struct{})} }

// Target is how clients reach what serves the place. The name appears in traces only.
func (l *Local) Target(name string) Target {
	return Target{URL: "http://" + name + ".local", Local: l}
}

// Do implements [connect.HTTPClient].
func (l *Local) Do(r *http.Request) (*http.Response, error) {
	select {
	case <-l.served:
		return l.server.do(r)
	case <-r.Context().Done():
		_ = r.Body.Close()
		return nil, r.Context().Err()
	}
}

// ServeLocal takes the calls that are made to l until [Server.Shutdown] is done, then returns nil. It is called once for each l.
func (s *Server) ServeLocal(l *Local) error {
	s.mux.SetServing(true)
	l.server = s
	close(l.served)
	<-s.stopped
	return nil
}

// do has a request handled and returns the answer when it has begun.
func (s *Server) do(r *http.Request) (*http.Response, error) {
	x := newExchange(r)
	if !s.local.enter(x) {
		_ = r.Body.Close()
		return nil, &net.OpError{Op: "dial", Net: localAddr, Err: net.ErrClosed}
	}
	stay := context.AfterFunc(r.Context(), func() { x.fail(r.Context().Err()) })
	go func() {
		stack.Grow()
		defer s.local.leave(x)
		defer stay()
		handler := s.serve
		select {
		case <-s.draining:
			handler = s.serveLate
		default:
		}
		x.handle(handler, s.mux.telemetry.Log)
	}()
	<-x.begun
	return x.result()
}

// exchanges are the calls to a server without a connection that are under way.
type exchanges struct {
	mu     sync.Mutex
	open   map[*exchange]struct{}
	closed bool
	none   chan struct{} // closed when closed, and the last one has left
}

func newExchanges() *exchanges {
	return &exchanges{open: map[*exchange]struct{}{}, none: make(chan struct{})}
}

// enter says whether the exchange may take place.
func (e *exchanges) enter(x *exchange) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.open[x] = struct{}{}
	}
	return !e.closed
}

func (e *exchanges) leave(x *exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if delete(e.open, x); e.closed && len(e.open) == 0 {
		close(e.none)
	}
}

// shutdown lets no more in and waits until all have left.
func (e *exchanges) shutdown(ctx context.Context) error {
	e.mu.Lock()
	if !e.closed && len(e.open) == 0 {
		close(e.none)
	}
	e.closed = true
	e.mu.Unlock()
	select {
	case <-e.none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close breaks off those that are under way.
func (e *exchanges) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for x := range e.open {
		x.fail(errServerClosed)
	}
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/health"
)

const (
	defaultMaxInFlight = 512
	defaultMaxStreams  = 256
	overloadedFor      = time.Second
	drainingFor        = time.Second
	// afterClose is how long handlers have to notice that their connections are gone.
	afterClose = time.Second
	// maxLinger bounds how long idle HTTP/1.1 connections are kept when the server stops; see [Server.Shutdown].
	maxLinger = 2 * time.Second
)

// ServerOptions bound a server. Zero fields mean the defaults.
type ServerOptions struct {
	// MaxInFlight is how many requests are worked on at once, streams included; more are refused as overloaded. Default 512.
	MaxInFlight int
	// MaxStreams is how many of them may share one HTTP/2 connection. Default 256.
	MaxStreams int
	// ReadHeaderTimeout bounds the time for a request's headers. Default 10 s.
	ReadHeaderTimeout time.Duration
	// BodyTimeout bounds the time for a request's body, whatever the answer takes. Default 60 s.
	BodyTimeout time.Duration
	// IdleTimeout closes connections without requests. Default 120 s.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's headers. Default 64 KiB.
	MaxHeaderBytes int

	afterClose, maxLinger time.Duration // for tests; see the constants
}

func (o ServerOptions) withDefaults() ServerOptions {
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = defaultMaxInFlight
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = defaultMaxStreams
	}
	if o.ReadHeaderTimeout <= 0 {
		o.ReadHeaderTimeout = 10 * time.Second
	}
	if o.BodyTimeout <= 0 {
		o.BodyTimeout = time.Minute
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 120 * time.Second
	}
	if o.MaxHeaderBytes <= 0 {
		o.MaxHeaderBytes = 64 << 10
	}
	if o.afterClose <= 0 {
		o.afterClose = afterClose
	}
	if o.maxLinger <= 0 {
		o.maxLinger = maxLinger
	}
	return o
}

// Server serves a mux over HTTP/1.1 and cleartext HTTP/2 on the same listener. There is no write timeout: it would cut
// streams; those end with their deadlines, their clients, or the server.
type Server struct {
	mux      *Mux
	http     *http.Server
	late     *http.Server // for connections that come while http drains
	local    *exchanges   // without connections
	limit    int
	body     time.Duration
	notice   time.Duration // for handlers whose connections are gone
	linger   time.Duration // at most, for HTTP/1.1
	errors   *connect.ErrorWriter
	rejected prometheus.Counter

	running  prometheus.Gauge
	inFlight atomic.Int64 // without health and reflection
	load     health.Load
	draining chan struct{}
	drain    sync.Once
	refuseAt time.Time // set before draining is closed
	stopped  chan struct{}
	stop     sync.Once

	guests sync.Map     // net.Conn to *guest
	http1  atomic.Int64 // open connections that speak HTTP/1.1
}

// guest is a connection.
type guest struct{ http1 atomic.Bool }

type guestKey struct{}

// NewServer returns a server for mux. Register all handlers before it serves.
func NewServer(mux *Mux, o ServerOptions) *Server {
	o = o.withDefaults()
	t := mux.telemetry
	s := &Server{
		mux: mux, limit: o.MaxInFlight, body: o.BodyTimeout, notice: o.afterClose, linger: o.maxLinger,
		errors:   connect.NewErrorWriter(),
		local:    newExchanges(),
		draining: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.rejected = register(t.Registry, prometheus.NewCounter(prometheus.CounterOpts{
		Name: t.Metric("rpc_rejected_total"), Help: "Requests refused because too many were in flight, or because the server stops.",
	}))
	s.running = register(t.Registry, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: t.Metric("rpc_in_flight"), Help: "Requests being worked on, streams included.",
	}))
	register(t.Registry, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: t.Metric("rpc_in_flight_limit"), Help: "How many requests may be in flight.",
	})).Set(float64(s.limit))

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	serve := func(handler http.HandlerFunc) *http.Server {
		return &http.Server{
			Handler:           handler,
			Protocols:         protocols,
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: o.MaxStreams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingAfter + pingTimeout},
			ReadHeaderTimeout: o.ReadHeaderTimeout,
			IdleTimeout:       o.IdleTimeout,
			MaxHeaderBytes:    o.MaxHeaderBytes,
			ErrorLog:          log.New(errorLog{t.Log}, "", 0),
			ConnContext:       s.enter,
			ConnState:         s.leave,
		}
	}
	s.http, s.late = serve(s.serve), serve(s.serveLate)
	return s
}

// enter and leave count the connections that speak HTTP/1.1.
func (s *Server) enter(ctx context.Context, c net.Conn) context.Context {
	g := &guest{}
	s.guests.Store(c, g)
	return context.WithValue(ctx, guestKey{}, g)
}

func (s *Server) leave(c net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	if g, ok := s.guests.LoadAndDelete(c); ok && g.(*guest).http1.Load() { //nolint:forcetypeassert // nothing else is in there
		s.http1.Add(-1)
	}
}

// Serve accepts connections from l until [Server.Shutdown] is done, then returns nil. It may be called for several
// listeners.
func (s *Server) Serve(l net.Listener) error {
	s.mux.SetServing(true)
	d := newDoor(l)
	var both sync.WaitGroup
	both.Go(d.watch)
	both.Go(func() { _ = s.late.Serve(d.back) }) // ends with Shutdown, or below
	err := s.http.Serve(d.front)
	if errors.Is(err, http.ErrServerClosed) {
		<-s.stopped
		err = nil
	} else {
		err = fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	_, _, _ = d.front.Close(), d.back.Close(), l.Close()
	both.Wait()
	return err
}

// Shutdown stops the server without failing a request: it says goodbye on every connection (HTTP/2's GOAWAY, HTTP/1.1's
// Connection: close) and serves what has been sent on it by then, tells streams that want to know ([Draining]), and waits for
// requests to end. Who connects only now, because a load balancer still sends them here, is served for a quarter of ctx's
// time, and refused as draining after that. When ctx ends first, it closes the connections and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mux.SetServing(false)
	s.drain.Do(func() {
		s.refuseAt = time.Now().Add(share(ctx, 4, time.Minute))
		close(s.draining)
	})
	defer s.stop.Do(func() {
		_ = s.late.Close() // what it says is short
		close(s.stopped)
	})
	s.await(ctx)
	err := s.http.Shutdown(ctx)
	if err == nil {
		err = s.late.Shutdown(ctx)
	}
	if err == nil {
		err = s.local.shutdown(ctx)
	}
	if err == nil {
		return nil
	}
	err = errors.Join(fmt.Errorf("shut down with %d requests in flight: %w", s.inFlight.Load(), err), s.http.Close(), s.late.Close())
	s.local.close()
	// The handlers' contexts have ended with their connections; what they use may be closed next.
	for deadline := time.Now().Add(s.notice); s.inFlight.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(afterClose / 100)
	}
	return err
}

// await gives clients with idle HTTP/1.1 connections some time to use them once more and be told that it was the last time:
// a connection that is closed while a request is on its way takes the request with it, and HTTP/1.1 can't say beforehand.
func (s *Server) await(ctx context.Context) {
	end := time.NewTimer(share(ctx, 20, s.linger))
	defer end.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for s.http1.Load() > 0 {
		select {
		case <-look.C:
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// share returns the n-th part of the time that ctx has left, at most most.
func share(ctx context.Context, n int, most time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return most
	}
	return min(time.Until(deadline)/time.Duration(n), most)
}

// InFlight returns how many requests are being worked on, and how many may be.
func (s *Server) InFlight() (n, limit int) { return int(s.inFlight.Load()), s.limit }

// Saturated says whether so many requests are in flight that new ones should go elsewhere. That begins before any is
// refused; see [health.Load].
func (s *Server) Saturated() bool { return s.load.Full(int(s.inFlight.Load()), s.limit) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if g, ok := r.Context().Value(guestKey{}).(*guest); ok && r.ProtoMajor == 1 && g.http1.CompareAndSwap(false, true) {
		s.http1.Add(1)
	}
	if !s.mux.health.serving.Load() {
		w.Header().Set("Connection", "close") // the next request leads elsewhere; on HTTP/2 this is GOAWAY
	}
	r = r.WithContext(context.WithValue(r.Context(), drainingKey{}, (<-chan struct{})(s.draining)))
	if isControl(r) {
		s.mux.ServeHTTP(w, r)
		return
	}
	defer s.inFlight.Add(-1)
	if s.inFlight.Add(1) > int64(s.limit) {
		s.reject(w, r, fault.New(fault.Exhausted, fault.Overloaded, "too many requests at once; try again in %s", overloadedFor).WithRetryAfter(overloadedFor))
		return
	}
	s.running.Inc()
	defer s.running.Dec()
	limitBody(w, r, s.body)
	s.mux.ServeHTTP(w, r)
}

// serveLate serves those who connect while the server drains, and refuses them once it is too late for that.
func (s *Server) serveLate(w http.ResponseWriter, r *http.Request) {
	<-s.draining // has been closed, or is in this moment
	if isControl(r) || time.Now().Before(s.refuseAt) {
		s.serve(w, r)
		return
	}
	w.Header().Set("Connection", "close")
	s.reject(w, r, fault.New(fault.Unavailable, fault.Draining, "this server is stopping; ask again in %s, another one will answer", drainingFor).WithRetryAfter(drainingFor))
}

// reject answers in the request's own protocol, without having read the body.
func (s *Server) reject(w http.ResponseWriter, r *http.Request, f *fault.Error) {
	s.rejected.Inc()
	refuse(s.errors, w, r, f)
}

// Refuse answers a request in its own protocol, without reading it, for handlers that stand before all others.
func Refuse(w http.ResponseWriter, r *http.Request, f *fault.Error) {
	refuse(connect.NewErrorWriter(), w, r, f)
}

func refuse(errors *connect.ErrorWriter, w http.ResponseWriter, r *http.Request, f *fault.Error) {
	err := ToConnect(f)
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	if errors.IsSupported(r) {
		// A client that has gone needs no answer.
		_ = errors.Write(w, r, err)
		return
	}
	http.Error(w, err.Message(), statusOf(f))
}

// statusOf is HTTP's status for those who speak none of the protocols.
func statusOf(f *fault.Error) int {
	switch f.Kind {
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Denied:
		return http.StatusForbidden
	case fault.Invalid:
		return http.StatusBadRequest
	}
	if f.Reason == fault.RequestTooLarge {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusTooManyRequests
}

type drainingKey struct{}

// Draining returns a channel that is closed when the server begins to stop, for handlers of streams that have no end of
// their own, such as Watch: they return an Unavailable fault with reason Draining and the client comes back elsewhere. For
// a context that isn't a request's it is nil, which never fires.
func Draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainingKey{}).(<-chan struct{})
	return c
}

// errorLog passes net/http's complaints on as debug lines: mostly clients that went away.
type errorLog struct{ log zerolog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	l.log.Debug().Str("component", "http").Msg(string(p[:max(0, len(p)-1)]))
	return len(p), nil
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"log"
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
)

const (
	defaultMaxInFlight = 512
	defaultMaxStreams  = 256
	overloadedFor      = time.Second
	// afterClose is how long handlers have to notice that their connections are gone.
	afterClose = time.Second
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
	return o
}

// Server serves a mux over HTTP/1.1 and cleartext HTTP/2 on the same listener. There is no write timeout: it would cut
// streams; those end with their deadlines, their clients, or the server.
type Server struct {
	mux      *Mux
	http     *http.Server
	limit    int
	body     time.Duration
	errors   *connect.ErrorWriter
	rejected prometheus.Counter

	running  prometheus.Gauge
	inFlight atomic.Int64 // without health and reflection
	draining chan struct{}
	drain    sync.Once
}

// NewServer returns a server for mux. Register all handlers before it serves.
func NewServer(mux *Mux, o ServerOptions) *Server {
	o = o.withDefaults()
	t := mux.telemetry
	s := &Server{
		mux: mux, limit: o.MaxInFlight, body: o.BodyTimeout,
		errors:   connect.NewErrorWriter(),
		draining: make(chan struct{}),
	}
	s.rejected = register(t.Registry, prometheus.NewCounter(prometheus.CounterOpts{
		Name: t.Metric("rpc_rejected_total"), Help: "Requests refused because too many were in flight.",
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
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: o.MaxStreams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingAfter + pingTimeout},
		ReadHeaderTimeout: o.ReadHeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    o.MaxHeaderBytes,
		ErrorLog:          log.New(errorLog{t.Log}, "", 0),
	}
	return s
}

// Serve accepts connections from l until [Server.Shutdown], then returns nil. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	s.mux.SetServing(true)
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown takes no new connections, tells streams that want to know ([Draining]), and waits for requests to end. When ctx
// ends first, it closes their connections and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mux.SetServing(false)
	s.drain.Do(func() { close(s.draining) })
	err := s.http.Shutdown(ctx)
	if err == nil {
		return nil
	}
	err = errors.Join(fmt.Errorf("shut down with %d requests in flight: %w", s.inFlight.Load(), err), s.http.Close())
	// The handlers' contexts have ended with their connections; what they use may be closed next.
	for deadline := time.Now().Add(afterClose); s.inFlight.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(afterClose / 100)
	}
	return err
}

// InFlight returns how many requests are being worked on, and how many may be.
func (s *Server) InFlight() (n, limit int) { return int(s.inFlight.Load()), s.limit }

// Saturated says whether new requests are being refused.
func (s *Server) Saturated() bool { return s.inFlight.Load() >= int64(s.limit) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	r = r.WithContext(context.WithValue(r.Context(), drainingKey{}, (<-chan struct{})(s.draining)))
	if isControl(r) {
		s.mux.ServeHTTP(w, r)
		return
	}
	defer s.inFlight.Add(-1)
	if s.inFlight.Add(1) > int64(s.limit) {
		s.reject(w, r)
		return
	}
	s.running.Inc()
	defer s.running.Dec()
	limitBody(w, r, s.body)
	s.mux.ServeHTTP(w, r)
}

// reject answers in the request's own protocol, without having read the body.
func (s *Server) reject(w http.ResponseWriter, r *http.Request) {
	s.rejected.Inc()
	err := ToConnect(fault.New(fault.Exhausted, fault.Overloaded, "too many requests at once; try again in %s", overloadedFor).WithRetryAfter(overloadedFor))
	w.Header().Set("Retry-After", strconv.Itoa(int(overloadedFor.Seconds())))
	if s.errors.IsSupported(r) {
		// A client that has gone needs no answer.
		_ = s.errors.Write(w, r, err)
		return
	}
	http.Error(w, err.Message(), http.StatusTooManyRequests)
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

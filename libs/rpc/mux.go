// Package rpc is how ragmesh's services talk: Connect handlers and clients with one set of interceptors in one documented
// order, gRPC over cleartext HTTP/2 between services, and the same without a connection ([Local]) when they share a process. It holds
// the one table between fault kinds and codes (fault.go), the one place that retries (retry.go), and the server with its
// bounds (server.go).
package rpc

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"connectrpc.com/validate"

	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

const (
	// defaultMaxBytes bounds a request message: an upload part of 1 MiB and what is around it.
	defaultMaxBytes = 2 << 20
	// compressMinBytes is from where a response is worth compressing, for clients that ask for it.
	compressMinBytes = 1 << 10
)

// MuxOptions describe a service's handlers. Telemetry is needed.
type MuxOptions struct {
	// Telemetry names the service and takes logs, spans and metrics.
	Telemetry *telemetry.Telemetry
	// Verifier checks the token of every call. Without one, and without Edge, every call is refused.
	Verifier *identity.Verifier
	// Edge marks the handlers people reach: no internal token is asked for (an interceptor in Extra authenticates), a caller's
	// trace is linked, not continued, and messages of a stream that follow each other at once leave together.
	Edge bool
	// Audience is whom tokens must be made for. Default: the telemetry's service.
	Audience string
	// Extra interceptors run after identity and before validation, the first outermost.
	Extra []connect.Interceptor
	// Door wraps everything that is served, health and reflection included; nil for nothing around it.
	Door func(http.Handler) http.Handler
	// MaxBytes bounds a request message after decompression. Default 2 MiB.
	MaxBytes int
}

// Mux collects a service's handlers. Register everything before it is served.
type Mux struct {
	telemetry *telemetry.Telemetry
	edge      bool
	options   []connect.HandlerOption
	mux       *http.ServeMux
	door      http.Handler // mux behind its door
	health    *healthChecker
	services  []string
	routes    []string
	root      bool // somebody handles every other path
	finished  sync.Once
}

// NewMux returns an empty mux. Programming errors in the options, such as no telemetry, panic.
func NewMux(o MuxOptions) *Mux {
	if o.Audience == "" {
		o.Audience = o.Telemetry.Service
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	m := &Mux{
		telemetry: o.Telemetry,
		edge:      o.Edge,
		options: []connect.HandlerOption{
			connect.WithInterceptors(serverInterceptors(o)...),
			connect.WithReadMaxBytes(o.MaxBytes),
			connect.WithCompressMinBytes(compressMinBytes),
		},
		mux:    http.NewServeMux(),
		health: &healthChecker{},
	}
	m.door = m.mux
	if o.Door != nil {
		m.door = o.Door(m.mux)
	}
	return m
}

// serverInterceptors is the order in which a call passes through, outermost first:
//
//  1. trace: the span, with W3C context from the caller
//  2. access: log line and metrics, which therefore see every outcome below them
//  3. boundary: panics and errors of any kind become faults with a code and details; nothing else leaves
//  4. authenticate: token, what the calling service may call, the request's workspace (absent at the edge)
//  5. extra: the edge's own (API keys, roles, default workspace)
//  6. validate: the contract's field rules, on what the edge has filled in
func serverInterceptors(o MuxOptions) []connect.Interceptor {
	order := []connect.Interceptor{
		newTrace(o.Telemetry, !o.Edge),
		newAccess(o.Telemetry),
		&boundary{telemetry: o.Telemetry},
	}
	if !o.Edge {
		order = append(order, &authenticate{verifier: o.Verifier, audience: o.Audience})
	}
	order = append(order, o.Extra...)
	return append(order, validate.NewInterceptor(validate.WithoutErrorDetails()))
}

// HandlerOptions are what every generated handler constructor takes.
func (m *Mux) HandlerOptions() []connect.HandlerOption { return slices.Clone(m.options) }

// Handle adds a handler under a path, as the generated constructors return both:
//
//	mux.Handle(retrieverv1connect.NewRetrieverServiceHandler(h, mux.HandlerOptions()...))
//
// A path of the form /package.Service/ is listed by health and reflection; others are plain HTTP.
func (m *Mux) Handle(path string, h http.Handler) {
	if name := strings.Trim(path, "/"); strings.Contains(name, ".") && !strings.Contains(name, "/") && strings.HasSuffix(path, "/") {
		m.services = append(m.services, name)
		h = m.unread(h)
	}
	m.root = m.root || path == "/"
	m.handle(path, h)
}

func (m *Mux) handle(pattern string, h http.Handler) {
	m.routes = append(m.routes, pattern)
	m.mux.Handle(pattern, h)
}

// Routes returns the patterns of everything that is served, in order, health and reflection included; for documents and tests
// that must miss none.
func (m *Mux) Routes() []string {
	m.finished.Do(m.finish)
	return slices.Sorted(slices.Values(m.routes))
}

// unread returns h with answers in our terms to the requests that Connect refuses before any interceptor.
func (m *Mux) unread(h http.Handler) http.Handler {
	return &unread{next: h, access: newAccess(m.telemetry), errors: connect.NewErrorWriter(), gather: m.edge}
}

// SetServing says what gRPC health answers. The server sets it when it starts and when it begins to stop.
func (m *Mux) SetServing(serving bool) { m.health.serving.Store(serving) }

// ServeHTTP serves the handlers, gRPC health and reflection. It applies none of the server's bounds; see [NewServer].
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.finished.Do(m.finish)
	m.door.ServeHTTP(w, r)
}

// finish adds what belongs to every service. Both answer without a token: health is asked by probes, and reflection says
// nothing that isn't in the published contract.
func (m *Mux) finish() {
	slices.Sort(m.services)
	m.health.services = m.services
	bound := connect.WithReadMaxBytes(64 << 10)
	reflector := grpcreflect.NewStaticReflector(m.services...)
	m.handle(grpchealth.NewHandler(m.health, bound))
	m.handle(grpcreflect.NewHandlerV1(reflector, bound))
	m.handle(grpcreflect.NewHandlerV1Alpha(reflector, bound))
	if !m.root {
		m.handle("/", m.unread(http.NotFoundHandler()))
	}
}

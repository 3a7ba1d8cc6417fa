package rpc

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// HandlePlain adds a handler of plain HTTP, such as another vendor's API, under a pattern of [http.ServeMux]. It is traced,
// logged and measured like a procedure, under its path; a panic ends the request alone. The handler authenticates, answers
// errors in its own form, and tells them to [NoteFault]. Its traces begin here, whatever the caller says.
func (m *Mux) HandlePlain(pattern string, h http.Handler) { m.HandleTrusting(pattern, h, nil) }

// HandleTrusting is HandlePlain, except that the traces of callers whom trusts knows go on here: those that send a traceparent,
// as W3C Trace Context has it. trusts is asked about those requests only, before the handler authenticates for itself.
func (m *Mux) HandleTrusting(pattern string, h http.Handler, trusts func(*http.Request) bool) {
	_, path, ok := strings.Cut(pattern, " ")
	if !ok {
		path = pattern
	}
	m.handle(pattern, &plain{
		next: h, path: path, trusts: trusts, propagator: m.telemetry.Propagator,
		access: newAccess(m.telemetry), tracer: m.telemetry.Tracer.Tracer("github.com/ragmesh/ragmesh/libs/rpc"),
	})
}

type plain struct {
	next       http.Handler
	path       string
	trusts     func(*http.Request) bool // nil for nobody
	propagator propagation.TextMapPropagator
	access     *access
	tracer     trace.Tracer
}

// begin starts the request's span: in the caller's trace if the caller is trusted, else in one of its own.
func (p *plain) begin(r *http.Request) (context.Context, trace.Span) {
	ctx := r.Context()
	options := append(make([]trace.SpanStartOption, 0, 2), trace.WithSpanKind(trace.SpanKindServer))
	if p.trusts == nil || len(r.Header["Traceparent"]) != 1 || !p.trusts(r) {
		return p.tracer.Start(ctx, p.path, append(options, trace.WithNewRoot())...)
	}
	return p.tracer.Start(p.propagator.Extract(ctx, propagation.HeaderCarrier(r.Header)), p.path, options...)
}

type noted struct{ err error }

type notedKey struct{}

// NoteFault tells the access log and the metrics how a request to a handler of [Mux.HandlePlain] ended. Outside of one it does
// nothing.
func NoteFault(ctx context.Context, err error) {
	if n, ok := ctx.Value(notedKey{}).(*noted); ok {
		n.err = err
	}
}

// ServeHTTP implements [http.Handler].
func (p *plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	ctx, span := p.begin(r)
	defer span.End()
	who, end := &caller{}, &noted{}
	ctx = context.WithValue(context.WithValue(ctx, callerKey{}, who), notedKey{}, end)
	defer func() {
		crash := recover()
		if crash != nil {
			end.err = fault.Wrap(fmt.Errorf("panic: %v", crash), fault.Internal, fault.ReasonInternal, "something went wrong here")
		}
		err := end.err
		if err != nil {
			err = toConnect(err, "")
			span.SetStatus(otelcodes.Error, fault.ReasonName(fault.ReasonOf(end.err)))
		}
		p.access.record(ctx, connect.Spec{Procedure: p.path}, connect.Peer{Protocol: "http"}, who, time.Since(began), err)
		if crash != nil {
			panic(http.ErrAbortHandler) // what was begun can't be ended well
		}
	}()
	p.next.ServeHTTP(w, r.WithContext(ctx))
}

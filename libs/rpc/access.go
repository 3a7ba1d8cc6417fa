package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// access writes a line per call, debug for those that went well and warn for faults, and measures them all.
type access struct {
	telemetry *telemetry.Telemetry
	seconds   *prometheus.HistogramVec
}

var _ connect.Interceptor = (*access)(nil)

func newAccess(t *telemetry.Telemetry) *access {
	return &access{telemetry: t, seconds: register(t.Registry, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    t.Metric("rpc_duration_seconds"),
		Help:    "Time from a call's start to its end, by procedure, type (unary or stream) and code.",
		Buckets: telemetry.Seconds(),
	}, []string{"procedure", "type", "code"}))}
}

// register adds a collector, or returns the one that is there: a service may have several muxes and clients.
func register[C prometheus.Collector](registry prometheus.Registerer, c C) C {
	err := registry.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	return c
}

// caller is filled in by an interceptor further in, for the log line of one further out.
type caller struct{ principal identity.Principal }

type callerKey struct{}

// noteCaller tells the access log who is calling. Outside of a call it does nothing.
func noteCaller(ctx context.Context, p identity.Principal) {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		c.principal = p
	}
}

// NoteCaller tells the access log who is calling, for the edge's own authentication.
func NoteCaller(ctx context.Context, p identity.Principal) { noteCaller(ctx, p) }

// WrapUnary implements [connect.Interceptor].
func (a *access) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		enter(ctx)
		who := &caller{}
		start := time.Now()
		response, err := next(context.WithValue(ctx, callerKey{}, who), request)
		a.record(ctx, request.Spec(), request.Peer(), who, time.Since(start), err)
		return response, err
	}
}

// WrapStreamingHandler implements [connect.Interceptor].
func (a *access) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		enter(ctx)
		who := &caller{}
		start := time.Now()
		err := next(context.WithValue(ctx, callerKey{}, who), conn)
		a.record(ctx, conn.Spec(), conn.Peer(), who, time.Since(start), err)
		return err
	}
}

// WrapStreamingClient implements [connect.Interceptor]. It is for servers.
func (a *access) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (a *access) record(ctx context.Context, spec connect.Spec, peer connect.Peer, who *caller, took time.Duration, err error) {
	procedure := strings.TrimPrefix(spec.Procedure, "/")
	code := "ok"
	if err != nil {
		code = connect.CodeOf(err).String()
	}
	a.seconds.WithLabelValues(procedure, typeOf(spec), code).Observe(took.Seconds())

	log := a.telemetry.Logger(identity.NewContext(ctx, who.principal))
	event := log.WithLevel(levelOf(err)).Str("procedure", procedure).Str("code", code).Dur("took", took).Str("protocol", peer.Protocol)
	if who.principal.Service != "" {
		event = event.Str("caller", who.principal.Service)
	}
	if err != nil {
		f := asFault(err)
		event = event.Str("reason", fault.ReasonName(f.Reason)).AnErr("error", whole(err))
	}
	event.Msg("call")
}

// typeOf tells streams, which last as long as their answer, from calls that should be quick.
func typeOf(spec connect.Spec) string {
	if spec.StreamType == connect.StreamTypeUnary {
		return "unary"
	}
	return "stream"
}

// levelOf: a caller who goes away is nobody's fault, and a bug is more than a warning.
func levelOf(err error) zerolog.Level {
	if err == nil {
		return zerolog.DebugLevel
	}
	switch asFault(err).Kind {
	case fault.Canceled:
		return zerolog.DebugLevel
	case fault.Internal:
		return zerolog.ErrorLevel
	default:
		return zerolog.WarnLevel
	}
}

// whole returns the error with its cause, which the wire's has not.
func whole(err error) error {
	if p, ok := errors.AsType[*public](err); ok {
		return p.whole
	}
	return err
}

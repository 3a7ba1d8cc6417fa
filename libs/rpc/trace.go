package rpc

import (
	"context"

	"connectrpc.com/connect"
	"connectrpc.com/otelconnect"
	"go.opentelemetry.io/otel/propagation"

	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// newTrace makes spans only: the metrics of access carry ragmesh's names. Messages get no events of their own, which on a
// stream would be one per token.
func newTrace(t *telemetry.Telemetry, trustCaller bool) connect.Interceptor {
	options := []otelconnect.Option{
		otelconnect.WithTracerProvider(t.Tracer), otelconnect.WithPropagator(t.Propagator), otelconnect.WithoutMetrics(),
	}
	if trustCaller {
		options = append(options, otelconnect.WithTrustRemote())
	}
	i, err := otelconnect.NewInterceptor(options...)
	if err != nil {
		// Only instruments can fail, and there are none.
		panic("rpc: make trace interceptor: " + err.Error())
	}
	return i
}

// carry takes the caller's trace to a service in the same process, without a span of its own: nothing lies between the call and
// its handling that the service's span would not show.
type carry struct{ by propagation.TextMapPropagator }

var _ connect.Interceptor = carry{}

// WrapUnary implements [connect.Interceptor].
func (c carry) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		c.by.Inject(ctx, propagation.HeaderCarrier(request.Header()))
		return next(ctx, request)
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (c carry) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		c.by.Inject(ctx, propagation.HeaderCarrier(conn.RequestHeader()))
		return conn
	}
}

// WrapStreamingHandler implements [connect.Interceptor]. It is for clients.
func (c carry) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

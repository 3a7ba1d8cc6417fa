package rpc

import (
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/telemetry"
)

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = time.Second
)

// retry repeats unary calls that may be repeated (by the contract's idempotency_level) when the service was unavailable. It
// is the only place that does: the mesh doesn't, and services don't.
//
// A repeat must fit into the call's deadline, and at most a fifth of the calls under way to a service may be repeats (three
// always may): a service that is down is not asked three times as much.
type retry struct {
	executor failsafe.Executor[connect.AnyResponse]
	repeats  prometheus.Counter
}

var _ connect.Interceptor = (*retry)(nil)

func newRetry(t *telemetry.Telemetry, audience string, retries int) *retry {
	policy := retrypolicy.NewBuilder[connect.AnyResponse]().
		HandleIf(func(_ connect.AnyResponse, err error) bool { return isRetryable(err) }).
		WithMaxRetries(retries).
		WithBackoff(firstBackoff, maxBackoff).
		WithJitterFactor(.25).
		WithBudget(budget.NewBuilder().WithMaxRate(.2).WithMinConcurrency(3).Build()).
		ReturnLastFailure().
		Build()
	repeats := register(t.Registry, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: t.Metric("rpc_client_retries_total"), Help: "Calls that were repeated because the service was unavailable, by service.",
	}, []string{"target"}))
	return &retry{executor: failsafe.With(policy), repeats: repeats.WithLabelValues(audience)}
}

// retryable marks an error that justifies another attempt.
type retryable struct{ err error }

func (r *retryable) Error() string { return r.err.Error() }
func (r *retryable) Unwrap() error { return r.err }

func isRetryable(err error) bool {
	_, ok := errors.AsType[*retryable](err)
	return ok
}

// WrapUnary implements [connect.Interceptor].
func (r *retry) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		switch request.Spec().IdempotencyLevel {
		case connect.IdempotencyNoSideEffects, connect.IdempotencyIdempotent:
		default:
			return next(ctx, request)
		}
		var last error // the policy's own errors, such as a spent budget, are not the caller's concern
		response, err := r.executor.WithContext(ctx).GetWithExecution(func(attempt failsafe.Execution[connect.AnyResponse]) (connect.AnyResponse, error) {
			if attempt.IsRetry() {
				r.repeats.Inc()
			}
			response, err := next(ctx, request)
			last = err
			if err != nil && worthRepeating(ctx, err) {
				return nil, &retryable{err}
			}
			return response, err
		})
		if err != nil {
			if last != nil {
				return nil, last
			}
			return nil, err
		}
		return response, nil
	}
}

// worthRepeating: another attempt may help, and there is time for it.
func worthRepeating(ctx context.Context, err error) bool {
	if connect.CodeOf(err) != connect.CodeUnavailable || ctx.Err() != nil {
		return false
	}
	wait := max(retryAfter(err), firstBackoff)
	if wait > maxBackoff {
		return false // the service says that soon is too soon
	}
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > 2*wait
}

// WrapStreamingClient implements [connect.Interceptor]. A stream is not repeated: part of it may have been used.
func (r *retry) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements [connect.Interceptor]. It is for clients.
func (r *retry) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// streamFault is [FromConnect] for streams, whose end is io.EOF.
func streamFault(err error) error {
	if err == nil || errors.Is(err, io.EOF) && connect.CodeOf(err) == connect.CodeUnknown {
		return err
	}
	return FromConnect(err)
}

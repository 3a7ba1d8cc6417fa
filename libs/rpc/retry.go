package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"connectrpc.com/connect"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = time.Second
)

// retry repeats unary calls that may be repeated (by the contract's idempotency_level, or because the caller says so, see
// [Repeatable]; any call that was never sent) when the service was unavailable. It is the only place that does: the mesh
// doesn't, and services don't.
//
// A repeat must fit into the call's deadline, and the repeats of all calls to a service into an allowance: a service that is
// down is not asked three times as much.
type retry struct {
	executor  failsafe.Executor[connect.AnyResponse]
	retries   int
	allowance *repeat.Allowance
	repeats   prometheus.Counter
}

var _ connect.Interceptor = (*retry)(nil)

func newRetry(t *telemetry.Telemetry, audience string, retries int) *retry {
	policy := retrypolicy.NewBuilder[connect.AnyResponse]().
		HandleIf(func(_ connect.AnyResponse, err error) bool { return isRetryable(err) }).
		WithMaxRetries(retries).
		WithBackoff(firstBackoff, maxBackoff).
		WithJitterFactor(.25).
		ReturnLastFailure().
		Build()
	repeats := register(t.Registry, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: t.Metric("rpc_client_retries_total"), Help: "Calls that were repeated because the service was unavailable, by service.",
	}, []string{"target"}))
	return &retry{executor: failsafe.With(policy), retries: retries, allowance: &repeat.Allowance{}, repeats: repeats.WithLabelValues(audience)}
}

type repeatableKey struct{}

// Repeatable marks calls as ones that may be made twice, although their procedure can't promise it for every request: the
// caller knows that this one has no side effects.
func Repeatable(ctx context.Context) context.Context {
	return context.WithValue(ctx, repeatableKey{}, true)
}

// repeatable says whether a call may be made twice.
func repeatable(ctx context.Context, spec connect.Spec) bool {
	switch spec.IdempotencyLevel {
	case connect.IdempotencyNoSideEffects, connect.IdempotencyIdempotent:
		return true
	default:
		return ctx.Value(repeatableKey{}) != nil
	}
}

// unsent says that a call failed before anything of it had left: there was no connection.
func unsent(err error) bool {
	network, ok := errors.AsType[*net.OpError](err)
	return ok && network.Op == "dial"
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
		r.allowance.Call()
		free := repeatable(ctx, request.Spec())
		var last error // the policy's own errors are not the caller's concern
		response, err := r.executor.WithContext(ctx).GetWithExecution(func(attempt failsafe.Execution[connect.AnyResponse]) (connect.AnyResponse, error) {
			if attempt.IsRetry() {
				r.repeats.Inc()
			}
			response, err := next(ctx, request)
			last = err
			if err != nil && (free || unsent(err)) && attempt.Attempts() <= r.retries && worthRepeating(ctx, err, attempt.Attempts()) && r.allowance.Take(time.Now()) {
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
func worthRepeating(ctx context.Context, err error, attempts int) bool {
	if connect.CodeOf(err) != connect.CodeUnavailable || ctx.Err() != nil {
		return false
	}
	wait := min(firstBackoff<<(attempts-1), maxBackoff)
	if fault.ReasonOf(FromConnect(err)) != fault.Draining { // which is about that replica; another one may answer at once
		wait = max(retryAfter(err), wait)
	}
	if wait > maxBackoff {
		return false // the service says that soon is too soon
	}
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > wait*5/4+firstBackoff
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

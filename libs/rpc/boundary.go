package rpc

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// boundary is where a handler's world ends: whatever comes out of it, error or panic, leaves as a fault.
type boundary struct{ telemetry *telemetry.Telemetry }

var _ connect.Interceptor = (*boundary)(nil)

// WrapUnary implements [connect.Interceptor].
func (b *boundary) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (response connect.AnyResponse, err error) {
		defer func() {
			if failed := b.leave(ctx, request.Spec(), recover(), err); failed != nil {
				response, err = nil, failed
			}
		}()
		return next(ctx, request)
	}
}

// WrapStreamingHandler implements [connect.Interceptor].
func (b *boundary) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) (err error) {
		defer func() {
			if failed := b.leave(ctx, conn.Spec(), recover(), err); failed != nil {
				err = failed
			}
		}()
		return next(ctx, conn)
	}
}

// WrapStreamingClient implements [connect.Interceptor]. Clients have faults instead.
func (b *boundary) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// leave returns what the caller gets, nil for success.
func (b *boundary) leave(ctx context.Context, spec connect.Spec, panicked any, err error) error {
	if panicked == http.ErrAbortHandler { //nolint:errorlint,err113 // a panic value, compared as net/http does
		panic(panicked)
	}
	if panicked != nil {
		log := b.telemetry.Logger(ctx)
		log.Error().Str("procedure", spec.Procedure).Str("panic", fmt.Sprint(panicked)).Bytes("stack", debug.Stack()).Msg("handler panicked")
		err = fault.New(fault.Internal, fault.ReasonInternal, "something went wrong on our side; the log has more under the trace id")
	}
	if err == nil {
		return nil // not a nil *connect.Error in an error
	}
	if f := unreadable(err); f != nil {
		err = f // a stream's request, which is read in here
	}
	return toConnect(err, telemetry.TraceID(ctx))
}

package rpc

import (
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect"
)

// lost tells apart what Connect does not: a call that its caller ended, and one whose connection or service went away. It
// calls a reset connection "canceled", a connection that could not be made in time "deadline_exceeded", and an answer that
// stops in its middle "internal". All three are unavailable, which is worth another attempt, unless the caller is done.
type lost struct{}

var _ connect.Interceptor = lost{}

// WrapUnary implements [connect.Interceptor].
func (lost) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		response, err := next(ctx, request)
		if err != nil {
			return nil, found(ctx, err)
		}
		return response, nil
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (lost) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return &lostConn{next(ctx, spec), ctx}
	}
}

// WrapStreamingHandler implements [connect.Interceptor]. It is for clients.
func (lost) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

type lostConn struct {
	connect.StreamingClientConn
	ctx context.Context //nolint:containedctx // the call's, which lives as long
}

func (c *lostConn) Send(message any) error { return found(c.ctx, c.StreamingClientConn.Send(message)) }
func (c *lostConn) Receive(message any) error {
	return found(c.ctx, c.StreamingClientConn.Receive(message))
}

// found returns a call's error with the right code.
func found(ctx context.Context, err error) error {
	c, ok := errors.AsType[*connect.Error](err)
	if !ok || errors.Is(err, io.EOF) && connect.CodeOf(err) == connect.CodeUnknown {
		return err
	}
	if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(deadline) {
		return err
	}
	if connect.IsWireError(c) { // the service said so itself
		return err
	}
	if c.Code() == connect.CodeCanceled || c.Code() == connect.CodeDeadlineExceeded || brokenOff(c) {
		return connect.NewError(connect.CodeUnavailable, c)
	}
	return err
}

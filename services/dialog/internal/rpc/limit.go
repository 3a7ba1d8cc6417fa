package rpc

import (
	"context"
	"sync/atomic"
	"time"

	kit "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/fair"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// limiter bounds what callers do here other than asking questions, which have a line of their own.
type limiter struct {
	limits atomic.Pointer[fair.CallLimits]
	calls  *fair.Calls
}

func newLimiter(limits fair.CallLimits) *limiter {
	l := &limiter{calls: fair.NewCalls()}
	l.limits.Store(&limits)
	return l
}

// begin counts a call, which ends with its context, or refuses it.
func (l *limiter) begin(ctx context.Context, procedure, subject string) error {
	if procedure == dialogv1connect.DialogServiceChatProcedure {
		return nil
	}
	end, err := l.calls.Begin(*l.limits.Load(), subject, time.Now())
	if err == nil {
		context.AfterFunc(ctx, end)
	}
	return err
}

// asker is the answerer for the questions of requests: those that wait are told when the server begins to stop.
type asker struct{ *turn.Answerer }

// Ask answers a question; see [turn.Answerer.Ask].
func (a asker) Ask(ctx context.Context, q turn.Question, sink turn.Sink) error {
	q.Ending = kit.Draining(ctx)
	return a.Answerer.Ask(ctx, q, sink)
}

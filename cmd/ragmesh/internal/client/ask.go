package client

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

const (
	// firstPause is before the first repeat; each further pause is twice as long, up to maxPause.
	firstPause = 100 * time.Millisecond
	maxPause   = time.Second
	// answered bounds how long a question may be under way elsewhere: a turn's longest, and time to write it.
	answered = 75 * time.Second
	// maxBreaks is how often an answer may break off. One that breaks every time breaks for a reason.
	maxBreaks = 4
)

// Asking is how a question is asked.
type Asking struct {
	// Patience is how long a question is sent again while nobody takes it; 0 means 2 s. One that somebody had taken is sent
	// again in any case.
	Patience time.Duration
	// Again is told, before each repeat, why there is one; nil for nobody.
	Again func(cause error)
}

// Ask asks a question and hands on its turn's events; the last one is completed or failed, or there is an error. A question
// whose server goes away before that is sent again with the same request id, which the request gets if it has none: it is
// answered and stored once. Events then begin again with started; when text had come, restarted takes it back first.
func (c *Client) Ask(ctx context.Context, req *dialogv1.ChatRequest, o Asking, each func(*dialogv1.ChatResponse) error) error {
	if req.GetRequestId() == "" {
		req.RequestId = rand.Text()
	}
	if o.Patience <= 0 {
		o.Patience = 2 * time.Second
	}
	pause := firstPause
	begun := time.Now()
	alone := begun // since when nobody has taken the question
	breaks := 0
	for {
		heard, said, err := c.try(ctx, req, each)
		if heard && err != nil {
			alone, pause = time.Now(), firstPause
			breaks++
		}
		wait := pause/2 + mathrand.N(pause) //nolint:gosec // so that not all come back at once
		switch {
		case err == nil, ctx.Err() != nil, breaks > maxBreaks:
			return err
		case fault.ReasonOf(err) == fault.RequestInProgress && time.Since(begun) < answered:
			alone = time.Now()
			wait = max(fault.As(err).RetryAfter, wait)
		case fault.KindOf(err) == fault.Unavailable && time.Since(alone) < o.Patience:
		default:
			return err
		}
		if said {
			reason := fault.ReasonName(fault.ReasonOf(err))
			if err := each(&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Restarted{Restarted: &dialogv1.ChatRestarted{Reason: reason}}}); err != nil {
				return err
			}
		}
		if o.Again != nil {
			o.Again(err)
		}
		pause = min(2*pause, maxPause)
		if err := repeat.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// try asks once. heard says that an event came, said that text or a citation was among them.
func (c *Client) try(ctx context.Context, req *dialogv1.ChatRequest, each func(*dialogv1.ChatResponse) error) (heard, said bool, err error) {
	stream, err := c.Dialog.Chat(ctx, req)
	if err != nil {
		return false, false, err
	}
	defer func() { _ = stream.Close() }() // what matters has been received
	for stream.Receive() {
		heard = true
		m := stream.Msg()
		if err := each(m); err != nil {
			return heard, said, err
		}
		switch m.GetEvent().(type) {
		case *dialogv1.ChatResponse_Delta, *dialogv1.ChatResponse_Citation:
			said = true
		case *dialogv1.ChatResponse_Restarted:
			said = false
		case *dialogv1.ChatResponse_Completed, *dialogv1.ChatResponse_Failed:
			return heard, said, nil
		}
	}
	if err := stream.Err(); err != nil {
		return heard, said, err
	}
	return heard, said, fault.Wrap(errors.New("the stream ended without the turn's end"), fault.Unavailable, fault.ServiceUnavailable,
		"the connection broke before the answer was complete; ask again")
}

// Package trace finds turns with their spans. Turns and spans are consumed after the turn has ended, so a caller who asks
// right away is a moment early: a turn that can still come is waited for, briefly.
package trace

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

const (
	// maxSpans is more than a turn makes; it bounds the answer when a trace id is reused.
	maxSpans = 2000
	// reserve is the share of the caller's time kept for answering.
	reserve = 10
	// horizon is how long after its start a turn can still come: longer than a turn may take, and than a brief outage of
	// the stream. An older turn that is not here is gone, and nobody waits for it.
	horizon = 5 * time.Minute
	// settle is how long after a turn's end its spans may still come: every service sends them each half second.
	settle = time.Second
)

// Store is what a Finder reads.
type Store interface {
	Turn(ctx context.Context, workspace, id string) (store.Turn, error)
	Turns(ctx context.Context, workspace, user string, after store.Position, limit int) ([]store.Turn, error)
	Spans(ctx context.Context, workspace, traceID string, limit int) ([]store.Span, error)
	// Changed returns a channel that is closed when something is added.
	Changed() <-chan struct{}
}

// Head knows what has been recorded, consumed or not.
type Head interface {
	// Newest returns the turn of a workspace that was recorded last, and when.
	Newest(ctx context.Context, workspace string) (id string, at time.Time, err error)
}

// Finder reads traces. Safe for concurrent use.
type Finder struct {
	store Store
	head  Head
	wait  time.Duration
	clock func() time.Time
}

// New returns a Finder that waits at most wait for what is still on its way.
func New(s Store, h Head, wait time.Duration, clock func() time.Time) *Finder {
	return &Finder{store: s, head: h, wait: wait, clock: clock}
}

// Trace is a turn with its spans, by start.
type Trace struct {
	Turn  store.Turn
	Spans []store.Span
}

// Get returns a turn with its spans. A turn that is not here yet but can still come is waited for, and so are the spans of
// one that has just ended. Spans may stay away: the trace is what there is.
func (f *Finder) Get(ctx context.Context, workspace, id string) (Trace, error) {
	waiting, cancel := context.WithTimeout(ctx, f.patience(ctx))
	defer cancel()
	turn, err := f.await(waiting, workspace, id)
	if err == nil && turn.TraceID != "" {
		_ = repeat.Pause(waiting, settle-f.clock().Sub(turn.Started.Add(turn.Duration)))
	}
	if ctx.Err() != nil {
		return Trace{}, present(ctx.Err())
	}
	if err != nil {
		return Trace{}, present(err)
	}
	spans, err := f.store.Spans(ctx, workspace, turn.TraceID, maxSpans)
	return Trace{Turn: turn, Spans: spans}, present(err)
}

// await returns a turn as soon as it is there, or why it isn't when waiting has ended.
func (f *Finder) await(waiting context.Context, workspace, id string) (store.Turn, error) {
	for {
		changed := f.store.Changed()
		// Not bound by waiting, whose end must not look like a store that fails.
		turn, err := f.store.Turn(context.WithoutCancel(waiting), workspace, id)
		if !errors.Is(err, store.ErrNotFound) || f.tooOld(id) {
			return turn, err
		}
		select {
		case <-changed:
		case <-waiting.Done():
			return store.Turn{}, err
		}
	}
}

// tooOld says whether a turn that is not here can't come any more. Ids that hold no time may always.
func (f *Finder) tooOld(id string) bool {
	parsed, err := ulid.ParseStrict(id)
	return err == nil && f.clock().Sub(parsed.Timestamp()) > horizon
}

// patience is how long to wait: not so long that the caller gives up before the answer comes.
func (f *Finder) patience(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		return min(f.wait, left-left/reserve)
	}
	return f.wait
}

// List returns at most limit turns of a workspace after a position, the latest first, without their records. Who asks for the
// start of the list finds there what was recorded before: whoever has just got an answer looks for its turn. With a user only
// what they asked is there.
func (f *Finder) List(ctx context.Context, workspace, user string, after store.Position, limit int) ([]store.Turn, error) {
	if after.ID == "" {
		f.catchUp(ctx, workspace)
	}
	turns, err := f.store.Turns(ctx, workspace, user, after, limit)
	return turns, present(err)
}

// catchUp waits for the newest turn when it was recorded just now. It is a courtesy: a stream that does not answer, or a turn
// that was deleted meanwhile, leaves the list as it is.
func (f *Finder) catchUp(ctx context.Context, workspace string) {
	waiting, cancel := context.WithTimeout(ctx, f.patience(ctx))
	defer cancel()
	id, at, err := f.head.Newest(waiting, workspace)
	if err != nil || f.clock().Sub(at) > f.wait {
		return
	}
	_, _ = f.await(waiting, workspace, id)
}

// NotFound is the error for a turn that is not here, or not for who asks.
func NotFound() error {
	return fault.New(fault.NotFound, fault.TurnNotFound, "no such turn in this workspace; it may have been deleted, or be older than what is kept")
}

func present(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return NotFound()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.As(err)
	default:
		return fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "the trace store does not answer; try again")
	}
}

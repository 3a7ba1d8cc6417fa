package turn

import (
	"context"
	"sync"
	"time"
)

// emitter numbers a turn's events, sends them one at a time, and fills silence with heartbeats. The first send that fails
// ends what goes on for the listener: nobody listens any more.
type emitter struct {
	sink Sink

	mu   sync.Mutex
	gone context.CancelFunc
	seq  uint64
	last time.Time
	err  error
}

func newEmitter(sink Sink) *emitter {
	return &emitter{sink: sink, gone: func() {}, last: time.Now()}
}

// onLost has gone called when a send fails from now on, or at once when one has.
func (e *emitter) onLost(gone context.CancelFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone = gone; e.err != nil {
		gone()
	}
}

func (e *emitter) send(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sendLocked(ev)
}

func (e *emitter) sendLocked(ev Event) {
	if e.err != nil {
		return
	}
	e.seq++
	ev.Seq = e.seq
	if e.err = e.sink(ev); e.err != nil {
		e.gone()
	}
	e.last = time.Now()
}

// lost reports whether a send has failed.
func (e *emitter) lost() bool { return e.failure() != nil }

// failure returns the error of the send that failed.
func (e *emitter) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// beat sends a heartbeat after every silence of d, until ctx ends.
func (e *emitter) beat(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		e.mu.Lock()
		wait := d - time.Since(e.last)
		if wait <= 0 && ctx.Err() == nil {
			e.sendLocked(Event{Heartbeat: true})
			wait = d
		}
		e.mu.Unlock()
		timer.Reset(wait)
	}
}

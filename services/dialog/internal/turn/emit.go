package turn

import (
	"context"
	"sync"
	"time"
)

// emitter numbers a turn's events, sends them one at a time, and fills silence with heartbeats. The first send that fails
// ends the turn's context: nobody listens any more.
type emitter struct {
	sink Sink
	gone context.CancelFunc

	mu   sync.Mutex
	seq  uint64
	last time.Time
	err  error
}

func newEmitter(sink Sink, gone context.CancelFunc) *emitter {
	return &emitter{sink: sink, gone: gone, last: time.Now()}
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
func (e *emitter) lost() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err != nil
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

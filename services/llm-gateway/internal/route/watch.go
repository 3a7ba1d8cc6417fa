package route

import (
	"context"
	"sync/atomic"
	"time"
)

// watcher ends a context when a provider is silent for too long. Its methods are for the one goroutine that takes what the
// provider sends. They are called for every token, so they leave the timer alone and note the time: the timer looks whether it
// went off too early, and goes on for what is missing.
type watcher struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	began  time.Time
	last   atomic.Int64 // when resume was called last, from began on; below 0 before the first time
	paused atomic.Bool
	over   atomic.Bool
}

// watch returns a context that ends first after the beginning with errNoText, or, once resume has been called, idle after
// the latest call with errIdle.
func watch(ctx context.Context, first, idle time.Duration) (context.Context, *watcher) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watcher{cancel: cancel, idle: idle, began: time.Now()}
	w.last.Store(-1)
	w.timer = time.AfterFunc(first, w.look)
	return ctx, w
}

// look is called by the timer.
func (w *watcher) look() {
	last := w.last.Load()
	if last < 0 && !w.paused.Load() {
		w.cancel(errNoText)
		return
	}
	left := w.idle
	if !w.paused.Load() {
		left -= time.Since(w.began) - time.Duration(last)
	}
	if left <= 0 {
		w.cancel(errIdle)
		return
	}
	w.timer.Reset(left)
	if w.over.Load() {
		w.timer.Stop()
	}
}

// pause stops the clock while what came is with the caller, who may be slow.
func (w *watcher) pause() {
	w.paused.Store(true)
	if w.last.Load() < 0 {
		w.start()
	}
}

// resume starts the clock for what comes next.
func (w *watcher) resume() {
	first := w.last.Load() < 0
	w.last.Store(int64(time.Since(w.began)))
	w.paused.Store(false)
	if first {
		w.start()
	}
}

// start has the timer wait for the idle time from the first sign of life on.
func (w *watcher) start() { w.timer.Reset(w.idle) }

// stop ends the watching.
func (w *watcher) stop() {
	w.over.Store(true)
	w.timer.Stop()
	w.cancel(nil)
}

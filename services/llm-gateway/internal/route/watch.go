package route

import (
	"context"
	"sync/atomic"
	"time"
)

// watcher ends a context when a provider is silent for too long. Its methods are for the one goroutine that takes what the
// provider sends.
type watcher struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	alive  atomic.Bool
}

// watch returns a context that ends first after the beginning with errNoText, or, once resume has been called, idle after
// the latest call with errIdle.
func watch(ctx context.Context, first, idle time.Duration) (context.Context, *watcher) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watcher{cancel: cancel, idle: idle}
	w.timer = time.AfterFunc(first, w.end)
	return ctx, w
}

func (w *watcher) end() {
	if w.alive.Load() {
		w.cancel(errIdle)
	} else {
		w.cancel(errNoText)
	}
}

// pause stops the clock while what came is with the caller, who may be slow.
func (w *watcher) pause() { w.timer.Stop() }

// resume starts the clock for what comes next.
func (w *watcher) resume() {
	w.alive.Store(true)
	w.timer.Reset(w.idle)
}

// stop ends the watching.
func (w *watcher) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

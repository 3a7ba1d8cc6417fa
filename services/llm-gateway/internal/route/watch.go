package route

import (
	"context"
	"time"
)

// watcher ends a context when a provider is silent for too long. Its methods are for the one goroutine that takes the
// provider's pieces.
type watcher struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
}

// watch returns a context that ends first after the beginning with errNoText, or, once resume has been called, idle after
// the latest call with errIdle.
func watch(ctx context.Context, first, idle time.Duration) (context.Context, *watcher) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watcher{cancel: cancel, idle: idle, timer: time.AfterFunc(first, func() { cancel(errNoText) })}
}

// pause stops the clock while the piece is with the caller, who may be slow.
func (w *watcher) pause() { w.timer.Stop() }

// resume starts the clock for the next piece.
func (w *watcher) resume() {
	w.timer = time.AfterFunc(w.idle, func() { w.cancel(errIdle) })
}

// stop ends the watching.
func (w *watcher) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

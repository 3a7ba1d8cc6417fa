package rpc

import (
	"net/http"
	"sync"
	"time"
)

// gatherFor is how long a message of a stream waits for others to leave with. A turn's events come in bursts, and each write
// costs a system call here and a wake-up where it is read; a millisecond is far below what anybody notices.
const gatherFor = time.Millisecond

// gatherer is a ResponseWriter whose flushes follow [gatherFor] later, so that what is written meanwhile leaves with them. The
// first one, which takes the headers along, does not wait, and neither does the end of the handler: net/http flushes what is
// left.
type gatherer struct {
	http.ResponseWriter

	mu      sync.Mutex
	begun   bool
	timer   *time.Timer // nil before the second flush
	waiting bool        // a flush is to come
	ended   bool        // the handler has returned: the writer is not ours any more
}

// Write implements [http.ResponseWriter].
func (g *gatherer) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ResponseWriter.Write(p)
}

// WriteHeader implements [http.ResponseWriter].
func (g *gatherer) WriteHeader(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ResponseWriter.WriteHeader(status)
}

// Flush implements [http.Flusher].
func (g *gatherer) Flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.waiting:
		return
	case !g.begun:
		g.begun = true
		_ = http.NewResponseController(g.ResponseWriter).Flush() // as below
		return
	case g.timer == nil:
		g.timer = time.AfterFunc(gatherFor, g.flush)
	default:
		g.timer.Reset(gatherFor)
	}
	g.waiting = true
}

// flush sends what was written.
func (g *gatherer) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting && !g.ended {
		g.waiting = false
		_ = http.NewResponseController(g.ResponseWriter).Flush() // whether the connection is there is seen by who reads it
	}
}

// end is called when the handler has returned.
func (g *gatherer) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	if g.timer != nil {
		g.timer.Stop()
	}
}

// Unwrap is for [http.ResponseController].
func (g *gatherer) Unwrap() http.ResponseWriter { return g.ResponseWriter }

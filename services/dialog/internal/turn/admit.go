package turn

import (
	"context"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// enter admits a turn, or refuses it while too many run or the process is stopping.
func (a *Answerer) enter(q Question) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.draining:
		return nil, fault.New(fault.Unavailable, fault.Draining, "this process is stopping; ask again, another one will answer").WithRetryAfter(time.Second)
	case a.running >= a.terms.Load().cfg.Limit:
		return nil, fault.New(fault.Exhausted, fault.Overloaded, "too many questions at once; ask again in a few seconds").WithRetryAfter(2 * time.Second)
	}
	a.running++
	a.calls.Add(1)
	a.metrics.running.Inc()
	key := q.Workspace + "." + q.Session
	a.sessions[key]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.running--
		if a.sessions[key]--; a.sessions[key] == 0 {
			delete(a.sessions, key)
		}
		a.metrics.running.Dec()
		a.calls.Done()
	}, nil
}

// Load says how many turns run and how many may.
func (a *Answerer) Load() (running, limit int, draining bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running, a.terms.Load().cfg.Limit, a.draining
}

// Refuse turns new questions away from now on.
func (a *Answerer) Refuse() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining = true
}

// Drain refuses new questions and waits until the running turns have ended, or ctx does.
func (a *Answerer) Drain(ctx context.Context) error {
	a.Refuse()
	done := make(chan struct{})
	go func() { // ends with the last call to a peer, each of which is bounded
		a.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

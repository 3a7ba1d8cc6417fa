package turn

import (
	"context"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/services/dialog/internal/fair"
)

// stageWait is a turn's wait for its place, which comes before everything else of it.
const stageWait = "wait"

// admit gets a question its place, which leave gives back, and says how long that took; 0 when there was one at once. A listener
// is told that its question waits. Without a place there is a fault, and no turn.
func (a *Answerer) admit(ctx context.Context, q Question, emit *emitter) (leave func(), waited time.Duration, err error) {
	terms := a.terms.Load()
	p := line.Party{Workspace: q.Workspace, User: q.User}
	if err := a.questions.Take(*a.limits.Load(), p, a.now()); err != nil {
		a.metrics.refused.WithLabelValues(refusal(fault.ReasonOf(err))).Inc()
		return nil, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	emit.onLost(cancel)
	var beats sync.WaitGroup
	defer beats.Wait()
	defer cancel()
	began, inLine := a.now(), false
	giveBack, err := a.line.Enter(ctx, p, q.Ending, func() {
		inLine = true
		emit.send(Event{Stage: &StageEvent{Name: stageWait, Status: StatusStarted}})
		beats.Go(func() { emit.beat(ctx, terms.cfg.Budget.Heartbeat) })
	})
	if inLine {
		waited = max(a.now().Sub(began), 1)
	}
	if err != nil {
		return nil, waited, err
	}
	end, err := a.enter()
	if err != nil {
		giveBack()
		return nil, waited, err
	}
	return func() { end(); giveBack() }, waited, nil
}

// enter notes a turn that begins, unless the process is stopping.
func (a *Answerer) enter() (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return nil, fault.New(fault.Unavailable, fault.Draining, "this process is stopping; ask again, another one will answer").WithRetryAfter(time.Second)
	}
	a.running++
	a.calls.Add(1)
	a.metrics.running.Inc()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.running--
		a.metrics.running.Dec()
		a.calls.Done()
	}, nil
}

// Limit has questions that come from now on, and those that wait, bounded by limits.
func (a *Answerer) Limit(limits fair.Config) {
	a.limits.Store(&limits)
	cfg := a.terms.Load().cfg
	a.line.Use(limits.Bounds(cfg.Limit))
	a.pace.use(cfg.Computing, limits)
}

// Load says how many turns run and how many may.
func (a *Answerer) Load() (running, limit int, draining bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running, a.terms.Load().cfg.Limit, a.draining
}

// Refuse turns new questions away from now on, and those that wait.
func (a *Answerer) Refuse() {
	a.mu.Lock()
	a.draining = true
	a.mu.Unlock()
	a.line.Close()
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

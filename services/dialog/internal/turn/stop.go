package turn

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// under is a turn under way.
type under struct {
	workspace, session, user string

	stop    func()
	stopped atomic.Bool
	done    chan struct{} // closed when it is written and its end was sent
}

// begin lets others find the turn: those who stop it, and those who ask on in a session that is not written yet. done ends that. It is
// called before anybody learns the turn's name.
func (a *Answerer) begin(ctx context.Context, r *run, stop func()) (stopped func() bool, done func()) {
	u := &under{workspace: r.q.Workspace, session: r.turn.Session, user: r.q.User, stop: stop, done: make(chan struct{})}
	id := r.turn.ID
	a.mu.Lock()
	a.turns[id] = u
	a.mu.Unlock()
	deaf := a.listen(ctx, r, u)
	return u.stopped.Load, func() {
		deaf()
		a.mu.Lock()
		delete(a.turns, id)
		a.mu.Unlock()
		close(u.done)
	}
}

// listen answers those who look for the turn from other processes, until deaf is called. Without NATS nobody there reaches it; that is
// no reason not to answer the question.
func (a *Answerer) listen(ctx context.Context, r *run, u *under) (deaf func()) {
	if a.others == nil {
		return func() {}
	}
	names := []string{turnName(r.turn.ID)}
	if r.q.Session == "" || r.q.History != nil { // its first turn, perhaps
		names = append(names, sessionName(u.workspace, u.session))
	}
	mine := caller(u.workspace, u.user)
	ctx, cancel := context.WithTimeout(ctx, r.terms.cfg.Budget.Plan)
	defer cancel()
	deaf, err := a.others.Listen(ctx, names, func(ctx context.Context, name, caller string) bool {
		return caller == mine && (name != names[0] || u.end(ctx) == nil)
	})
	if err != nil {
		return func() {}
	}
	return deaf
}

func turnName(id string) string { return "turn-" + id }

func sessionName(workspace, session string) string { return "session-" + workspace + "-" + session }

// end stops the turn and waits until it is written.
func (u *under) end(ctx context.Context) error {
	u.stopped.Store(true)
	u.stop()
	select {
	case <-u.done:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Timeout, fault.DeadlineExceeded, "the turn was told to stop and has not been written yet; read it again shortly")
	}
}

// stopFor is how long a turn gets to be written once it is told to stop.
const stopFor = patience + 5*time.Second

// Stop ends a user's turn, wherever it runs, and returns once it is written: as interrupted, with the answer so far. found is
// false when no such turn runs.
func (a *Answerer) Stop(ctx context.Context, workspace, id, user string) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, stopFor)
	defer cancel()
	a.mu.Lock()
	u := a.turns[id]
	a.mu.Unlock()
	switch {
	case u != nil && u.workspace == workspace && u.user == user:
		return true, u.end(ctx)
	case u != nil, a.others == nil:
		return false, nil
	}
	found, err = a.others.Call(ctx, turnName(id), caller(workspace, user))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return false, nil
	}
	return found, err
}

// caller is who calls over a switchboard.
func caller(workspace, user string) string { return workspace + "\x00" + user }

// isAsked reports whether another turn of the same user's session runs, here or elsewhere: the session is not written yet. An error
// means that this can't be told: another process does not answer within the time, or NATS is away.
func (a *Answerer) isAsked(ctx context.Context, q Question, atMost time.Duration) (bool, error) {
	a.mu.Lock()
	for _, u := range a.turns {
		if u.workspace == q.Workspace && u.session == q.Session && u.user == q.User {
			a.mu.Unlock()
			return true, nil
		}
	}
	a.mu.Unlock()
	if a.others == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	asked, err := a.others.Call(ctx, sessionName(q.Workspace, q.Session), caller(q.Workspace, q.User))
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return asked, err
}

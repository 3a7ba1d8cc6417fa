package turn

import (
	"context"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// load reads the session and claims the request id. earlier is the turn that the same request led to. The claim comes last:
// from then on the request id is this turn's, which therefore has to be written whatever happens.
func (r *run) load(ctx context.Context) (history []Turn, earlier *Turn, err error) {
	switch {
	case r.q.History != nil:
		history = r.given()
	case r.q.Session != "":
		if history, err = r.session(ctx); err != nil {
			return nil, nil, err
		}
	}
	if r.q.RequestID == "" {
		return history, nil, ctx.Err()
	}
	// Twice as long as the session: it is a write, and asks whether another replica lives where one seems to be gone.
	earlier, err = within(ctx, &r.a.calls, 2*r.terms.cfg.Budget.Plan, func(ctx context.Context) (*Turn, error) {
		return r.a.store.Claim(ctx, r.q, r.turn.ID, r.turn.Session)
	})
	switch {
	case err == nil:
		return history, earlier, nil
	case fault.KindOf(err) == fault.Conflict, fault.KindOf(err) == fault.Invalid:
		return nil, nil, err
	}
	r.degrade(Degradation{Stage: "session", Reason: "dedupe_unavailable", Message: "Whether this request was sent before can't be told just now."})
	return history, nil, nil
}

// given returns the caller's own history as turns.
func (r *run) given() []Turn {
	given := r.q.History[max(0, len(r.q.History)-r.terms.cfg.History):]
	turns := make([]Turn, len(given))
	for i, e := range given {
		turns[i] = Turn{Question: e.Question, Standalone: e.Question, Answer: e.Answer, Outcome: Answered}
	}
	return turns
}

// session returns the turns before this one, oldest first. A session that can't be read costs the turn its history only.
func (r *run) session(ctx context.Context) ([]Turn, error) {
	type session struct {
		turns []Turn
		known bool
	}
	a, cfg := r.a, r.terms.cfg
	got, err := within(ctx, &a.calls, cfg.Budget.Plan, func(ctx context.Context) (session, error) {
		turns, known, err := a.store.History(ctx, r.q.Workspace, r.q.Session, max(cfg.History, 1))
		return session{turns, known}, err
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		r.degrade(Degradation{Stage: "session", Reason: "session_unavailable", Message: "The session can't be read just now; the question was answered without what came before it."})
		return nil, nil //nolint:nilerr // said as a degradation
	case !got.known && !a.isRunning(r.q):
		return nil, fault.New(fault.NotFound, fault.SessionNotFound, "there is no session %s in this workspace; leave session_id empty to begin one", clip(r.q.Session, 64)).
			WithField("session_id", "must be a session of this workspace")
	}
	return got.turns[max(0, len(got.turns)-cfg.History):], nil
}

// isRunning reports whether another turn of the same session runs in this process: its session is not written yet.
func (a *Answerer) isRunning(q Question) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[q.Workspace+"."+q.Session] > 1
}

package turn

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

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
	case err == nil && earlier != nil:
		earlier, err = r.again(ctx, *earlier)
		return history, earlier, err
	case err == nil:
		return history, nil, nil
	case fault.KindOf(err) == fault.Conflict, fault.KindOf(err) == fault.Invalid:
		return nil, nil, err
	}
	r.degrade(Degradation{Stage: "session", Reason: "dedupe_unavailable", Message: "Whether this request was sent before can't be told just now."})
	return history, nil, nil
}

// given returns the caller's own history as turns.
func (r *run) given() []Turn {
	given := r.q.History[max(0, len(r.q.History)-r.terms.cfg.remembered()):]
	turns := make([]Turn, len(given))
	for i, e := range given {
		turns[i] = Turn{Question: e.Question, Standalone: e.Question, Answer: e.Answer, Outcome: Answered}
	}
	return turns
}

// session returns the turns before this one, oldest first. A session that can't be read costs the turn its history only, unless
// the turn is to take another's place there.
func (r *run) session(ctx context.Context) ([]Turn, error) {
	a, cfg := r.a, r.terms.cfg
	past, err := within(ctx, &a.calls, cfg.Budget.Plan, func(ctx context.Context) (Past, error) {
		return a.store.History(ctx, r.q.Workspace, r.q.Session, r.q.Replaces, max(cfg.remembered(), 1))
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && r.q.Replaces != "":
		return nil, fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "the session can't be read just now, so none of its turns can be replaced; try again shortly").WithRetryAfter(2 * time.Second)
	case err != nil:
		r.degrade(Degradation{Stage: "session", Reason: "session_unavailable", Message: "The session can't be read just now; the question was answered without what came before it."})
		return nil, nil //nolint:nilerr // said as a degradation
	}
	known := past.Known && past.User == r.q.User
	if !past.Known {
		if known, err = a.isAsked(ctx, r.q, cfg.Budget.Plan); ctx.Err() != nil {
			return nil, ctx.Err()
		} else if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "whether there is this session can't be told just now; try again shortly").WithRetryAfter(time.Second)
		}
	}
	switch {
	case !known:
		return nil, fault.New(fault.NotFound, fault.SessionNotFound, "there is no session %s in this workspace; leave session_id empty to begin one", clip(r.q.Session, 64)).
			WithField("session_id", "must be a session of this workspace")
	case r.q.Replaces != "" && !past.Found:
		return nil, fault.New(fault.NotFound, fault.TurnNotFound, "there is no turn %s in this session that has ended; one that runs can be stopped first", clip(r.q.Replaces, 64)).
			WithField("replaces_turn_id", "must be a turn of the session")
	}
	if n := len(past.Turns); n > 0 {
		r.after(past.Turns[n-1].ID)
	}
	r.after(r.q.Replaces)
	return r.remembered(ctx, past.Turns[max(0, len(past.Turns)-cfg.remembered()):]), nil
}

// after makes the turn come after an earlier one whose id was made by a clock that is ahead of ours.
func (r *run) after(id string) {
	before, err := ulid.ParseStrict(id)
	if err != nil || r.turn.ID > id {
		return
	}
	if mine, err := ulid.ParseStrict(r.turn.ID); err == nil && mine.SetTime(before.Time()+1) == nil {
		r.turn.ID = mine.String()
	}
}

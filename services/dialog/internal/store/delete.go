package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

var (
	// errDeleted leaves a session alone whose turns were deleted since the one that is noted was saved.
	errDeleted = errors.New("session was deleted")
	// errBuried says that a turn was under way while its session was deleted.
	errBuried = errors.New("session was deleted while the turn ran")
	// errForeign says that a turn is in the session of somebody else.
	errForeign = errors.New("session is somebody else's")
)

// Delete removes a session that r sees with everything that was said in it and about it, and says how many turns there were.
// announce tells the others who hold copies, before anything is gone here: when that fails, or the process dies in the middle, the
// session is still there to be deleted again.
func (s *Store) Delete(ctx context.Context, r Reader, workspace, session string, announce func(context.Context) error) (uint64, error) {
	if _, err := s.Session(ctx, r, workspace, session); err != nil {
		return 0, err
	}
	if err := announce(ctx); err != nil {
		return 0, err
	}
	if err := s.bury(ctx, workspace, session); err != nil {
		return 0, err
	}
	if err := s.forgetRequests(ctx, workspace, session); err != nil {
		return 0, err
	}
	spooled, err := s.spool.remove(workspace, session)
	if err != nil {
		return 0, err
	}
	turns := bus.TurnSubject(workspace, session, "*")
	erased, err := s.bus.Erase(ctx, bus.Turns, turns)
	if err != nil {
		return 0, err
	}
	if _, err := s.bus.Erase(ctx, bus.Events, bus.FeedbackSubject(workspace, session, "*", "*")); err != nil {
		return 0, err
	}
	for _, key := range []string{titleKey(workspace, session), sessionKey(workspace, session)} {
		if err := s.sessions.Delete(ctx, key); err != nil {
			return 0, err
		}
	}
	// A turn that was saved meanwhile found the session's view, and thought nothing of it. Later ones find none, and the grave.
	late, err := s.bus.Erase(ctx, bus.Turns, turns)
	return erased + spooled + late, err
}

// grave says when a session was deleted. It stands among the request ids, and is gone after a day as they are: longer than a turn
// runs, and than a spool waits for a NATS that comes back.
type grave struct {
	At time.Time `json:"at"`
}

// graveKey has one part less than those of requests.
func graveKey(workspace, session string) string { return workspace + "." + session }

func (s *Store) bury(ctx context.Context, workspace, session string) error {
	value, err := json.Marshal(grave{At: s.now()})
	if err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	_, err = s.requests.Put(ctx, graveKey(workspace, session), value)
	return err
}

// buried says whether a turn's session was deleted while it ran. The same session may begin anew later.
func (s *Store) buried(ctx context.Context, t turn.Turn) (bool, error) {
	entry, err := s.requests.Get(ctx, graveKey(t.Workspace, t.Session))
	if errors.Is(err, bus.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var g grave
	if err := json.Unmarshal(entry.Value, &g); err != nil {
		return false, fmt.Errorf("read grave of session %s: %w", t.Session, err)
	}
	return t.StartedAt.Before(g.At), nil
}

// remembered is for how long request ids are, and a little longer.
const remembered = 25 * time.Hour

// forgetRequests frees the request ids that led to a session's turns.
func (s *Store) forgetRequests(ctx context.Context, workspace, session string) error {
	l, err := s.line(ctx, workspace, session)
	if err != nil {
		return err
	}
	for end := len(l.ids); end > 0; end -= min(end, walkPage) {
		turns, err := s.read(ctx, workspace, session, l, l.ids[max(0, end-walkPage):end])
		if err != nil {
			return err
		}
		recent := false
		for _, t := range turns {
			if s.now().Sub(t.StartedAt) > remembered {
				continue
			}
			recent = true
			if t.RequestID == "" {
				continue
			}
			if err := s.requests.Delete(ctx, requestKey(workspace, t.RequestID, t.User)); err != nil {
				return err
			}
		}
		if !recent { // nor are those before them
			return nil
		}
	}
	return nil
}

package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/title"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Session is a conversation.
type Session struct {
	ID        string `json:"-"`
	Workspace string `json:"-"`
	// Title is not kept with what changes with every turn: of a deleted session its words would stay on disk, as
	// what is deleted from a bucket does. It is made from the question of the turn First; one that somebody gave has a key of its own. (Earlier builds kept
	// it here.)
	Title     string    `json:"title,omitempty"`
	First     string    `json:"first,omitempty"`
	User      string    `json:"user"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Turns counts the turns of the conversation, All those that later ones took the place of too.
	Turns    uint32 `json:"turns"`
	All      uint32 `json:"all"`
	LastTurn string `json:"last_turn"`
	// Renamed says that somebody gave it its title: it does not follow the first question any more.
	Renamed bool `json:"renamed,omitempty"`
}

// Reader is who looks at sessions: they see their own, or with All everybody's.
type Reader struct {
	User string
	All  bool
}

func (r Reader) sees(user string) bool { return r.All || r.User == user }

func sessionKey(workspace, session string) string { return workspace + "." + session }

// change reads a session, lets fn change it and writes it back, again when somebody else was faster.
func (s *Store) change(ctx context.Context, workspace, session string, fn func(e *Session, known bool) error) (Session, error) {
	key := sessionKey(workspace, session)
	for range 5 {
		var e Session
		entry, err := s.sessions.Get(ctx, key)
		known := err == nil
		if known {
			e, err = decodeSession(entry)
			e.ID, e.Workspace = "", "" // they are in the key
		}
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return Session{}, fmt.Errorf("read session: %w", err)
		}
		before := e
		if err := fn(&e, known); err != nil {
			return Session{}, err
		}
		if known && e == before {
			e.ID, e.Workspace = session, workspace
			return e, nil
		}
		value, err := json.Marshal(e)
		if err != nil {
			return Session{}, fmt.Errorf("write session: %w", err)
		}
		if known {
			_, err = s.sessions.Update(ctx, key, value, entry.Revision)
		} else {
			_, err = s.sessions.Create(ctx, key, value)
		}
		if err == nil {
			e.ID, e.Workspace = session, workspace
			return e, nil
		}
		if !errors.Is(err, bus.ErrConflict) && !errors.Is(err, bus.ErrExists) {
			return Session{}, err
		}
	}
	return Session{}, fault.New(fault.Conflict, fault.ReasonConflict, "the session is being changed by others; try again")
}

// noteSession brings a session up to date with a turn of it, within the given time. It may be repeated: turns are counted, not
// added up.
func (s *Store) noteSession(ctx context.Context, t turn.Turn, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if t.Opens {
		if noted, err := s.noteFirst(ctx, t); noted || err != nil {
			return err
		}
	}
	_, err := s.change(ctx, t.Workspace, t.Session, func(e *Session, known bool) error {
		// Counted anew whenever the session is read anew: whoever writes last has then seen every turn that was there.
		turns, err := s.bus.Count(ctx, bus.Turns, bus.TurnSubject(t.Workspace, t.Session, "*"))
		switch {
		case err != nil:
			return err
		case turns == 0:
			return errDeleted
		case known && e.User != t.User: // asked while nobody could tell whose session it is
			s.log.Warn().Str("session", t.Session).Str("turn", t.ID).Msg("a turn was asked in somebody else's session, it is not kept")
			return errForeign
		case !known:
			if buried, err := s.buried(ctx, t); err != nil || buried {
				return cmp.Or(err, errBuried)
			}
		}
		all := uint32(min(turns, math.MaxUint32))
		// A turn that comes last only makes one more. Whatever else happened, the conversation is read.
		last := known && t.Replaces == "" && t.ID >= e.LastTurn && (all == e.All || all == e.All+1)
		switch {
		case last:
			e.Turns += all - e.All
			e.All, e.LastTurn = all, t.ID
		case !known && turns == 1:
			*e = Session{First: t.ID, User: t.User, CreatedAt: t.StartedAt, Turns: 1, All: 1, LastTurn: t.ID}
		default:
			if err := s.review(ctx, t, e, known); err != nil {
				return err
			}
		}
		if t.CompletedAt.After(e.UpdatedAt) {
			e.UpdatedAt = t.CompletedAt
		}
		return nil
	})
	switch {
	case errors.Is(err, errDeleted):
		return nil
	case errors.Is(err, errBuried), errors.Is(err, errForeign):
		_, err = s.bus.Erase(ctx, bus.Turns, bus.TurnSubject(t.Workspace, t.Session, t.ID))
	}
	return err
}

// noteFirst makes the session that a turn opened, without asking what there is of it: nothing, but for a turn that was faster.
// Then it leaves it to who counts.
func (s *Store) noteFirst(ctx context.Context, t turn.Turn) (noted bool, err error) {
	value, err := json.Marshal(Session{First: t.ID, User: t.User, CreatedAt: t.StartedAt, UpdatedAt: t.CompletedAt, Turns: 1, All: 1, LastTurn: t.ID})
	if err != nil {
		return false, fmt.Errorf("write session: %w", err)
	}
	key := sessionKey(t.Workspace, t.Session)
	if _, err := s.sessions.Create(ctx, key, value); errors.Is(err, bus.ErrExists) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	// Looked for afterwards: who buries the session later finds the view, and takes it away.
	buried, err := s.buried(ctx, t)
	if err != nil || !buried {
		return true, err
	}
	_, err = s.bus.Erase(ctx, bus.Turns, bus.TurnSubject(t.Workspace, t.Session, t.ID))
	return true, errors.Join(err, s.sessions.Delete(ctx, key))
}

// review reads the conversation to say how many turns it has and what it began with. All that it says is of the same turns, those
// that the stream had at one moment: of one that came later, or that waits in the spool, whoever notes it must see that it was not
// counted.
func (s *Store) review(ctx context.Context, t turn.Turn, e *Session, known bool) error {
	var first turn.Turn
	var n uint32
	l, err := s.streamed(ctx, t.Workspace, t.Session)
	if err != nil {
		return err
	}
	if err := s.back(ctx, t.Workspace, t.Session, l, l.ids, "", walkPage, func(t turn.Turn) bool {
		first = t
		n++
		return true
	}); err != nil {
		return err
	}
	if n == 0 {
		return errDeleted
	}
	if !known {
		*e = Session{User: first.User, CreatedAt: first.StartedAt}
	}
	e.First, e.Title = first.ID, ""
	e.Turns, e.All, e.LastTurn = n, uint32(len(l.ids)), l.ids[len(l.ids)-1]
	return nil
}

const (
	// recoverPage is how many turns are read at once to find sessions that a crash has left behind, recoverMost how many in
	// all. What a crash can leave behind are the turns that were being saved then, so the first page is nearly always enough.
	recoverPage = 32
	recoverMost = 4096
)

// recoverSessions brings up to date the sessions whose turns were saved right before the process ended, or another one.
func (s *Store) recoverSessions(ctx context.Context, beat func()) error {
	var before uint64
	for read := 0; read < recoverMost; read += recoverPage {
		beat()
		messages, start, err := s.bus.Tail(ctx, bus.Turns, recoverPage, before)
		if err != nil {
			return err
		}
		latest := map[string]turn.Turn{}
		for _, t := range s.decode(messages) {
			latest[sessionKey(t.Workspace, t.Session)] = t
		}
		stale := false
		for _, t := range latest {
			fresh, err := s.fresh(ctx, t)
			if err != nil {
				return err
			}
			if fresh {
				continue
			}
			stale = true
			if err := s.noteSession(ctx, t, catchUpFor); err != nil {
				return err
			}
		}
		if start == 0 || !stale && len(messages) > 0 {
			return nil
		}
		before = start
	}
	return nil
}

// fresh reports whether a session knows of a turn and of all others.
func (s *Store) fresh(ctx context.Context, t turn.Turn) (bool, error) {
	turns, err := s.bus.Count(ctx, bus.Turns, bus.TurnSubject(t.Workspace, t.Session, "*"))
	if err != nil || turns == 0 { // deleted meanwhile
		return err == nil, err
	}
	e, err := s.view(ctx, t.Workspace, t.Session)
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return err == nil && uint64(e.All) == turns && e.LastTurn >= t.ID, err
}

// catchUp brings up to date the sessions that could not be when their turns were saved.
func (s *Store) catchUp(ctx context.Context, beat func()) {
	s.mu.Lock()
	pending := s.pending
	s.pending = nil
	s.mu.Unlock()
	for i, t := range pending {
		beat()
		if err := s.noteSession(ctx, t, catchUpFor); err != nil {
			s.mu.Lock()
			s.pending = append(pending[i:], s.pending...)
			s.mu.Unlock()
			return
		}
	}
}

// catchUpFor is how long bringing a session up to date may take when nobody waits for it.
const catchUpFor = 10 * time.Second

// Session returns a session that r sees. Others don't exist for them.
func (s *Store) Session(ctx context.Context, r Reader, workspace, session string) (Session, error) {
	e, err := s.view(ctx, workspace, session)
	if fault.KindOf(err) == fault.NotFound { // perhaps its turns are there, and its view is not yet
		e, err = s.viewOf(ctx, workspace, session)
	}
	if err == nil && !r.sees(e.User) {
		return Session{}, noSession(session)
	}
	if err != nil {
		return Session{}, err
	}
	list := []Session{e}
	err = s.entitle(ctx, list)
	return list[0], err
}

// view returns what is known of a session without its turns.
func (s *Store) view(ctx context.Context, workspace, session string) (Session, error) {
	entry, err := s.sessions.Get(ctx, sessionKey(workspace, session))
	if errors.Is(err, bus.ErrNotFound) {
		return Session{}, noSession(session)
	}
	if err != nil {
		return Session{}, err
	}
	return decodeSession(entry)
}

// viewOf makes a session's view from its turns.
func (s *Store) viewOf(ctx context.Context, workspace, session string) (Session, error) {
	e := Session{ID: session, Workspace: workspace}
	_, err := s.walk(ctx, workspace, session, "", walkPage, func(t turn.Turn) bool {
		if e.Turns++; e.Turns == 1 {
			e.UpdatedAt, e.LastTurn = t.CompletedAt, t.ID
		}
		e.User, e.CreatedAt, e.Title = t.User, t.StartedAt, title.Of(t.Question)
		return true
	})
	if err == nil && e.Turns == 0 {
		return Session{}, noSession(session)
	}
	return e, err
}

func decodeSession(entry bus.Entry) (Session, error) {
	var e Session
	if err := json.Unmarshal(entry.Value, &e); err != nil {
		return Session{}, fmt.Errorf("read session %s: %w", entry.Key, err)
	}
	e.All = max(e.All, e.Turns) // of a build that knew only one count
	e.Workspace, e.ID, _ = strings.Cut(entry.Key, ".")
	return e, nil
}

func noSession(session string) error {
	return fault.New(fault.NotFound, fault.SessionNotFound, "there is no session %s in this workspace", session)
}

// Mark is where a page of sessions ended.
type Mark struct {
	Updated time.Time
	ID      string
}

// Sessions returns up to n sessions of a workspace that r sees, the latest first, after the mark, and whether there are more.
func (s *Store) Sessions(ctx context.Context, r Reader, workspace string, after Mark, n int) ([]Session, bool, error) {
	entries, err := s.sessions.List(ctx, workspace+".*")
	if err != nil {
		return nil, false, err
	}
	all := make([]Session, 0, len(entries))
	for _, entry := range entries {
		e, err := decodeSession(entry)
		if err != nil {
			s.log.Error().Err(err).Msg("session can't be read")
			continue
		}
		if r.sees(e.User) {
			all = append(all, e)
		}
	}
	latest := func(a, b Session) int { return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), strings.Compare(b.ID, a.ID)) }
	slices.SortFunc(all, latest)
	if after.ID != "" {
		mark := Session{ID: after.ID, UpdatedAt: after.Updated}
		all = slices.DeleteFunc(all, func(e Session) bool { return latest(e, mark) <= 0 })
	}
	page := all[:min(n, len(all))]
	return page, len(all) > n, s.entitle(ctx, page)
}

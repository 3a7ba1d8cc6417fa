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
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// maxTitle bounds a title in bytes.
const maxTitle = 200

// Session is a conversation.
type Session struct {
	ID        string    `json:"-"`
	Workspace string    `json:"-"`
	Title     string    `json:"title"`
	User      string    `json:"user"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Turns     uint32    `json:"turns"`
	LastTurn  string    `json:"last_turn"`
}

func sessionKey(workspace, session string) string { return workspace + "." + session }

// change reads a session, lets fn change it and writes it back, again when somebody else was faster.
func (s *Store) change(ctx context.Context, workspace, session string, fn func(e *Session, known bool) error) (Session, error) {
	key := sessionKey(workspace, session)
	for range 5 {
		var e Session
		entry, err := s.sessions.Get(ctx, key)
		known := err == nil
		if known {
			err = json.Unmarshal(entry.Value, &e)
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

// noteSession brings a session up to date with a turn of it. It may be repeated: turns are counted, not added up.
func (s *Store) noteSession(ctx context.Context, t turn.Turn) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.saveFor.Load()))
	defer cancel()
	_, err := s.change(ctx, t.Workspace, t.Session, func(e *Session, known bool) error {
		// Counted anew whenever the session is read anew: whoever writes last has then seen every turn that was there.
		turns, err := s.bus.Count(ctx, bus.Turns, bus.TurnSubject(t.Workspace, t.Session, "*"))
		switch {
		case err != nil:
			return err
		case turns == 0:
			return errDeleted
		}
		if !known {
			*e = Session{Title: Title(t.Question), User: t.User, CreatedAt: t.StartedAt}
		}
		e.Turns = uint32(min(turns, math.MaxUint32))
		e.LastTurn = max(e.LastTurn, t.ID)
		if t.CompletedAt.After(e.UpdatedAt) {
			e.UpdatedAt = t.CompletedAt
		}
		return nil
	})
	if errors.Is(err, errDeleted) {
		return nil
	}
	return err
}

// errDeleted leaves a session alone whose turns were deleted since the one that is noted was saved.
var errDeleted = errors.New("session was deleted")

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
			if err := s.noteSession(ctx, t); err != nil {
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
	e, err := s.Session(ctx, t.Workspace, t.Session)
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return err == nil && uint64(e.Turns) == turns && e.LastTurn >= t.ID, err
}

// catchUp brings up to date the sessions that could not be when their turns were saved.
func (s *Store) catchUp(ctx context.Context, beat func()) {
	s.mu.Lock()
	pending := s.pending
	s.pending = nil
	s.mu.Unlock()
	for i, t := range pending {
		beat()
		if err := s.noteSession(ctx, t); err != nil {
			s.mu.Lock()
			s.pending = append(pending[i:], s.pending...)
			s.mu.Unlock()
			return
		}
	}
}

// Title makes a title of a question: one line of at most 200 bytes.
func Title(question string) string {
	s := strings.ToValidUTF8(strings.Join(strings.Fields(question), " "), "\uFFFD")
	if len(s) <= maxTitle {
		return s
	}
	n := maxTitle - len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n]) + "…"
}

// Session returns one session.
func (s *Store) Session(ctx context.Context, workspace, session string) (Session, error) {
	entry, err := s.sessions.Get(ctx, sessionKey(workspace, session))
	if errors.Is(err, bus.ErrNotFound) {
		return Session{}, noSession(session)
	}
	if err != nil {
		return Session{}, err
	}
	return decodeSession(entry)
}

func decodeSession(entry bus.Entry) (Session, error) {
	var e Session
	if err := json.Unmarshal(entry.Value, &e); err != nil {
		return Session{}, fmt.Errorf("read session %s: %w", entry.Key, err)
	}
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

// Sessions returns up to n sessions of a workspace, the latest first, after the mark, and whether there are more.
func (s *Store) Sessions(ctx context.Context, workspace string, after Mark, n int) ([]Session, bool, error) {
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
		all = append(all, e)
	}
	latest := func(a, b Session) int { return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), strings.Compare(b.ID, a.ID)) }
	slices.SortFunc(all, latest)
	if after.ID != "" {
		mark := Session{ID: after.ID, UpdatedAt: after.Updated}
		all = slices.DeleteFunc(all, func(e Session) bool { return latest(e, mark) <= 0 })
	}
	return all[:min(n, len(all))], len(all) > n, nil
}

// Rename gives a session a title.
func (s *Store) Rename(ctx context.Context, workspace, session, title string) (Session, error) {
	return s.change(ctx, workspace, session, func(e *Session, known bool) error {
		if !known {
			return noSession(session)
		}
		e.Title = title
		return nil
	})
}

// Delete removes a session and its turns, and says how many there were. announce tells the others who hold copies, before
// anything is gone here: when that fails, or the process dies in the middle, the session is still there to be deleted again.
func (s *Store) Delete(ctx context.Context, workspace, session string, announce func(context.Context) error) (uint64, error) {
	if _, known, err := s.History(ctx, workspace, session, 1); err != nil {
		return 0, err
	} else if !known {
		return 0, noSession(session)
	}
	if err := announce(ctx); err != nil {
		return 0, err
	}
	spooled, err := s.spool.remove(workspace, session)
	if err != nil {
		return 0, err
	}
	purged, err := s.bus.Purge(ctx, bus.Turns, bus.TurnSubject(workspace, session, "*"))
	if err != nil {
		return 0, err
	}
	if err := s.sessions.Delete(ctx, sessionKey(workspace, session)); err != nil {
		return 0, err
	}
	return purged + spooled, nil
}

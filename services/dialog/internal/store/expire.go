package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/retain"
)

// Expiry deletes sessions that are due.
type Expiry struct {
	store    *Store
	announce func(ctx context.Context, workspace, session string) error
}

var _ retain.Store = (*Expiry)(nil)

// Expiry returns who deletes sessions that are due; announce is [Store.Delete]'s.
func (s *Store) Expiry(announce func(ctx context.Context, workspace, session string) error) *Expiry {
	return &Expiry{store: s, announce: announce}
}

// Quiet implements [retain.Store].
func (x *Expiry) Quiet(ctx context.Context, workspace string, before time.Time, n int) ([]retain.Session, error) {
	entries, err := x.store.sessions.List(ctx, workspace+".*")
	if err != nil {
		return nil, err
	}
	var due []Session
	for _, entry := range entries {
		if e, err := decodeSession(entry); err == nil && e.UpdatedAt.Before(before) {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b Session) int { return a.UpdatedAt.Compare(b.UpdatedAt) })
	var out []retain.Session
	for _, e := range due[:min(n, len(due))] {
		out = append(out, retain.Session{Workspace: e.Workspace, ID: e.ID})
	}
	return out, nil
}

// atIt is how long a replica that began to delete a session is left alone with it.
const atIt = 10 * time.Minute

// Expire implements [retain.Store].
func (x *Expiry) Expire(ctx context.Context, session retain.Session, before time.Time) (bool, error) {
	s := x.store
	e, err := s.view(ctx, session.Workspace, session.ID)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return false, nil
	case err != nil:
		return false, err
	case !e.UpdatedAt.Before(before):
		return false, nil
	}
	mine, err := s.takeGrave(ctx, session.Workspace, session.ID)
	if err != nil || !mine {
		return false, err
	}
	_, err = s.Delete(ctx, Reader{All: true}, session.Workspace, session.ID, func(ctx context.Context) error {
		return x.announce(ctx, session.Workspace, session.ID)
	})
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return err == nil, err
}

// takeGrave says whether no other replica is deleting the session.
func (s *Store) takeGrave(ctx context.Context, workspace, session string) (bool, error) {
	value, err := json.Marshal(grave{At: s.now()})
	if err != nil {
		return false, err
	}
	key := graveKey(workspace, session)
	if _, err = s.requests.Create(ctx, key, value); !errors.Is(err, bus.ErrExists) {
		return err == nil, err
	}
	entry, err := s.requests.Get(ctx, key)
	if err != nil {
		return false, err
	}
	var g grave
	if json.Unmarshal(entry.Value, &g) == nil && s.now().Sub(g.At) < atIt {
		return false, nil
	}
	_, err = s.requests.Update(ctx, key, value, entry.Revision)
	if errors.Is(err, bus.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

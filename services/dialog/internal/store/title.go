package store

import (
	"context"
	"errors"
	"slices"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/services/dialog/internal/title"
)

// titleKey is where the title is that somebody gave a session. It has a part more than the session's own key.
func titleKey(workspace, session string) string { return sessionKey(workspace, session) + ".title" }

// Rename gives a session of r's a title, which it keeps.
func (s *Store) Rename(ctx context.Context, r Reader, workspace, session, name string) (Session, error) {
	if _, err := s.Session(ctx, r, workspace, session); err != nil {
		return Session{}, err
	}
	if _, err := s.sessions.Put(ctx, titleKey(workspace, session), []byte(name)); err != nil {
		return Session{}, err
	}
	e, err := s.change(ctx, workspace, session, func(e *Session, known bool) error {
		if !known {
			return noSession(session)
		}
		e.Renamed, e.Title = true, ""
		return nil
	})
	e.Title = name
	return e, err
}

// entitle gives sessions their titles. One whose first turn can't be read is called by its id.
func (s *Store) entitle(ctx context.Context, list []Session) error {
	var subjects []string
	at := map[string]int{} // by turn
	for i := range list {
		e := &list[i]
		switch {
		case e.Renamed && e.Title == "":
			entry, err := s.sessions.Get(ctx, titleKey(e.Workspace, e.ID))
			if err == nil {
				e.Title = string(entry.Value)
				continue
			}
			if !errors.Is(err, bus.ErrNotFound) {
				return err
			}
		case e.Title != "":
			continue
		}
		at[e.First] = i
		subjects = append(subjects, bus.TurnSubject(e.Workspace, e.ID, e.First))
	}
	for page := range slices.Chunk(subjects, walkPage) {
		messages, err := s.bus.LastOf(ctx, bus.Turns, page)
		if err != nil {
			return err
		}
		for _, t := range s.decode(messages) {
			if i, ok := at[t.ID]; ok {
				list[i].Title = title.Of(t.Question)
			}
		}
	}
	for _, i := range at {
		if list[i].Title == "" {
			list[i].Title = list[i].ID
		}
	}
	return nil
}

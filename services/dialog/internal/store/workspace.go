package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// errGone says that a turn was under way while its workspace was deleted.
var errGone = errors.New("save turn: its workspace was deleted")

// RemoveWorkspace removes everything that was asked, answered and thought of it in a workspace, and overwrites it on disk. It may
// be repeated.
func (s *Store) RemoveWorkspace(ctx context.Context, workspace string) error {
	if err := s.eraseKeys(ctx, s.requests, workspace+".>"); err != nil {
		return err
	}
	if err := s.spool.clear(workspace); err != nil {
		return err
	}
	s.mu.Lock()
	s.pending = slices.DeleteFunc(s.pending, func(t turn.Turn) bool { return t.Workspace == workspace })
	s.mu.Unlock()
	for _, what := range []struct{ stream, subjects string }{
		{bus.Turns, bus.TurnSubject(workspace, "*", "*")},
		{bus.Events, bus.FeedbackSubject(workspace, "*", "*", "*")},
	} {
		if _, err := s.bus.Erase(ctx, what.stream, what.subjects); err != nil {
			return err
		}
	}
	// What happened to documents, with their names; and events of before they had a subject for each document and turn.
	for _, subjects := range []string{bus.DocumentSubject(workspace, "*"), bus.EventSubject("document", workspace), bus.EventSubject("feedback", workspace)} {
		if _, err := s.bus.EraseAll(ctx, bus.Events, subjects); err != nil {
			return err
		}
	}
	return s.eraseKeys(ctx, s.sessions, workspace+".>") // with the titles that people gave
}

func (s *Store) eraseKeys(ctx context.Context, from *bus.KV, filter string) error {
	keys, err := from.Keys(ctx, filter)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := from.Erase(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// clear drops a workspace's turns that wait, those that can't be read too.
func (s *spool) clear(workspace string) error {
	prefix := slug(workspace) + "."
	for _, n := range s.list(func(n string) bool { return strings.HasPrefix(n, prefix) }) {
		if err := s.drop(n); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), spoiled) {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove spooled turn: %w", err)
			}
		}
	}
	return nil
}

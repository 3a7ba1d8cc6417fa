package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/disk"
	"github.com/ragmesh/ragmesh/libs/fault"
)

// dropped marks the folder of an index that is being removed. Names of workspaces have no dot.
const dropped = ".dropped"

// dropPoll is how often is looked whether the last call about a workspace has ended.
const dropPoll = 20 * time.Millisecond

// Drop removes a workspace's index, whatever of it was set aside included. Calls under way are waited for.
func (s *Store) Drop(ctx context.Context, workspace string) error {
	dir := filepath.Join(s.config.Dir, dirName(workspace))
	for {
		free, err := s.setAside(workspace, dir)
		if err != nil {
			return fmt.Errorf("drop %s: %w", dir, err)
		}
		if free {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(dropPoll):
		}
	}
	s.chunks.Clear()
	err := errors.Join(os.RemoveAll(dir+dropped), os.RemoveAll(dir+".damaged"), os.RemoveAll(dir+".new"), disk.Sync(s.config.Dir))
	if err != nil {
		return fmt.Errorf("drop %s: %w", dir, err)
	}
	return nil
}

// setAside closes an index that nobody uses and moves it out of the way, so that the next call finds none. It says whether
// nobody did.
func (s *Store) setAside(workspace, dir string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, fault.New(fault.Unavailable, fault.Draining, "the index is being closed; try again shortly")
	}
	if sh, ok := s.shards[workspace]; ok {
		if sh.users > 0 {
			return false, nil
		}
		delete(s.shards, workspace)
		_ = shut(sh) // what can't be closed as it should be is removed all the same
	}
	if err := os.RemoveAll(dir + dropped); err != nil {
		return false, err
	}
	if err := os.Rename(dir, dir+dropped); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	return true, nil
}

// removeDropped finishes what a crash has left of [Store.Drop].
func removeDropped(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), dropped) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

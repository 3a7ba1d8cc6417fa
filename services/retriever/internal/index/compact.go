package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	bleveindex "github.com/blevesearch/bleve_index_api"

	"github.com/ragmesh/ragmesh/libs/disk"
)

// removedMark is a file in an index from which something was removed since it was compacted: its segments may still hold the bytes. It
// is as old as the first such removal.
const removedMark = "removed"

// compactEvery is how often is looked for indexes that are to be compacted.
const compactEvery = 10 * time.Minute

// markRemoved notes that something is about to be removed, before it is.
func (sh *shard) markRemoved() error {
	sh.marking.Lock()
	defer sh.marking.Unlock()
	sh.removals++
	path := filepath.Join(sh.dir, removedMark)
	if exists(path) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), disk.Sync(sh.dir))
}

// Compact writes a workspace's segments anew if anything was removed from them, so that no file holds its bytes.
func (s *Store) Compact(ctx context.Context, workspace string) error {
	return s.with(ctx, workspace, false, func(sh *shard) error {
		mark := filepath.Join(sh.dir, removedMark)
		sh.marking.Lock()
		removals := sh.removals
		sh.marking.Unlock()
		if !exists(mark) {
			return nil
		}
		if err := sh.rewrite(ctx); err != nil {
			return fmt.Errorf("compact index: %w", err)
		}
		sh.marking.Lock()
		defer sh.marking.Unlock()
		if sh.removals != removals { // what was removed meanwhile may be there still
			return nil
		}
		return errors.Join(os.Remove(mark), disk.Sync(sh.dir))
	})
}

// fillerKey is of a document that nothing finds. bleve merges segments and never writes a single one anew, so there has to be
// another one beside it.
const fillerKey = "filler"

// rewrite merges all segments, which leaves out what was removed before it is called.
func (sh *shard) rewrite(ctx context.Context) error {
	before, err := sh.holey()
	for range maxRewrites {
		if err != nil || len(before) == 0 {
			return err
		}
		filler := &change{documentID: fillerKey, apply: func(b *batch) error { return b.IndexAdvanced(document.NewDocument(fillerKey)) }}
		if err := sh.writers.commit(ctx, sh.index, filler); err != nil {
			return err
		}
		advanced, err := sh.index.Advanced()
		if err != nil {
			return err
		}
		merging, ok := advanced.(*scorch.Scorch)
		if !ok {
			return errNoSegments
		}
		if err := merging.ForceMerge(ctx, nil); err != nil {
			return err
		}
		after, err := sh.holey()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(before)), func(id uint64) bool { return after[id] }) {
			return sh.vanish(ctx, before)
		}
	}
	return errNotWritten
}

// vanish waits until the files of segments are gone. bleve looks for files that nothing reads any more after each batch.
func (sh *shard) vanish(ctx context.Context, segments map[uint64]bool) error {
	bound, cancel := context.WithTimeout(ctx, maxVanish)
	defer cancel()
	batch := func(b *batch) error {
		b.SetInternal([]byte(compactedKey), []byte(time.Now().UTC().Format(time.RFC3339)))
		return nil
	}
	for id := range segments {
		for exists(filepath.Join(sh.dir, "store", fmt.Sprintf("%012x.zap", id))) {
			if err := sh.writers.commit(bound, sh.index, &change{documentID: compactedKey, apply: batch}); err != nil {
				return err
			}
			select {
			case <-bound.Done():
				return fmt.Errorf("wait until segment %x is removed: %w", id, bound.Err())
			case <-time.After(vanishPoll):
			}
		}
	}
	return nil
}

// holey are the segments that hold what was removed, by their numbers.
func (sh *shard) holey() (ids map[uint64]bool, err error) {
	ids = map[uint64]bool{}
	return ids, sh.read(func(reader bleveindex.IndexReader) error {
		snapshot, ok := reader.(*scorch.IndexSnapshot)
		if !ok {
			return errNoSegments
		}
		for _, seg := range snapshot.Segments() {
			if removed := seg.Deleted(); removed != nil && !removed.IsEmpty() {
				ids[seg.Id()] = true
			}
		}
		return nil
	})
}

// maxRewrites bounds the attempts at an index whose segments are being merged anyway.
const maxRewrites = 3

const (
	maxVanish  = time.Minute
	vanishPoll = 100 * time.Millisecond

	compactedKey = "compacted"
)

// errNotWritten says that bleve did not write a segment anew.
var errNotWritten = errors.New("a segment with removed passages was not written anew")

// CompactEvery compacts indexes from which something was removed longer ago than that, until ctx ends.
func (s *Store) CompactEvery(ctx context.Context, age time.Duration, failed func(workspace string, err error)) {
	look := time.NewTicker(min(compactEvery, age))
	defer look.Stop()
	for {
		for _, workspace := range s.stale(age) {
			if err := s.Compact(ctx, workspace); err != nil && ctx.Err() == nil {
				failed(workspace, err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// stale are the workspaces from which something was removed longer ago than that.
func (s *Store) stale(age time.Duration) (workspaces []string) {
	marks, _ := filepath.Glob(filepath.Join(s.config.Dir, "*", removedMark)) // the pattern is a good one
	for _, m := range marks {
		info, err := os.Stat(m)
		name, ok := workspaceOf(filepath.Base(filepath.Dir(m)))
		if errors.Is(err, fs.ErrNotExist) || !ok || err == nil && time.Since(info.ModTime()) < age {
			continue
		}
		workspaces = append(workspaces, name)
	}
	return workspaces
}

// workspaceOf is the workspace whose dirName is dir. What is set aside is no workspace's.
func workspaceOf(dir string) (workspace string, ok bool) {
	if strings.Contains(dir, ".") {
		return "", false
	}
	var b strings.Builder
	for rest := dir; rest != ""; {
		if rest[0] == '=' && len(rest) > 1 {
			b.WriteString(strings.ToUpper(rest[1:2]))
			rest = rest[2:]
			continue
		}
		b.WriteByte(rest[0])
		rest = rest[1:]
	}
	return b.String(), true
}

// Package index is the embedded store: one bleve index on disk per workspace, holding our own tokens. Bleve finds
// candidates and keeps the exact term statistics; it never sees the text's language, and its scores only choose which
// candidates are scored exactly.
//
// What [Store.Put] acknowledged has been synced to disk. A crash loses nothing of it and leaves no half of anything else,
// since every change is one bleve batch. One process at a time may have a directory open. An index that a failing disk has
// damaged is moved aside and a new one begun: everything in it is derived, and can be derived again.
package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"

	"github.com/ragmesh/ragmesh/libs/disk"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/recent"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
	"github.com/ragmesh/ragmesh/services/retriever/internal/vectors"
)

// Config says where the indexes are and how many may be open.
type Config struct {
	Dir     string
	MaxOpen int // workspaces open at once; the least recently used idle one is closed for another
	// Renewed, when set, is told of a workspace whose index was damaged: it is empty now.
	Renewed func(workspace string, cause error)
}

// Store is the embedded store.
type Store struct {
	config Config

	chunks   *recent.Cache[chunkAt, store.Candidate]
	versions atomic.Uint64 // the last one given to a shard
	sums     sync.Pool     // of *sums, for searches

	mu     sync.Mutex
	shards map[string]*shard
	clock  uint64 // counts uses, to find the least recent
	closed bool

	running sync.WaitGroup // calls; none is added once closed is set
}

var _ store.Store = (*Store)(nil)

// shard is a workspace's index while it is open.
type shard struct {
	dir     string
	index   bleve.Index
	vectors *vectors.Set
	writers writers
	opened  chan struct{} // closed when index or err is there
	err     error
	crashed bool // it was not closed when it was open last
	// version names what the index holds: it is another one, never used before, after every change.
	version atomic.Uint64

	marking  sync.Mutex
	removals uint64 // under marking: how often something was removed

	users int    // under Store.mu
	used  uint64 // under Store.mu
}

// The bounds of the chunks that are kept in memory, in bytes and in time without use.
const (
	maxChunks   = 16 << 20
	maxChunkAge = 10 * time.Minute
)

// chunkAt names a chunk as it was in a version of its workspace's index.
type chunkAt struct {
	version uint64
	key     string
}

// Open returns the store in a directory, which is made when it is not there. Workspaces are opened when first used.
func Open(c Config) (*Store, error) {
	if c.MaxOpen < 1 {
		return nil, fmt.Errorf("open index: at least one workspace must be allowed open, not %d", c.MaxOpen)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	if err := removeDropped(c.Dir); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	return &Store{
		config: c, chunks: recent.New[chunkAt, store.Candidate](maxChunks, maxChunkAge), shards: map[string]*shard{},
		sums: sync.Pool{New: func() any { return &sums{} }},
	}, nil
}

// Close closes every index once the calls still running have ended; later ones fail.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	var errs []error
	for name, sh := range s.shards {
		errs = append(errs, shut(sh))
		delete(s.shards, name)
	}
	return errors.Join(errs...)
}

// with runs fn on a workspace's index. Unless create is set, a workspace that has none yet is left so and fn not called.
func (s *Store) with(ctx context.Context, workspace string, create bool, fn func(*shard) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := filepath.Join(s.config.Dir, dirName(workspace))
	if !create {
		s.mu.Lock()
		_, open := s.shards[workspace]
		s.mu.Unlock()
		if !open && !exists(dir) {
			return nil
		}
	}
	sh, err := s.acquire(workspace, dir)
	if err != nil {
		return err
	}
	defer s.release(sh)
	return fn(sh)
}

func (s *Store) acquire(workspace, dir string) (*shard, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fault.New(fault.Unavailable, fault.Draining, "the index is being closed; try again shortly")
	}
	s.clock++
	sh, ok := s.shards[workspace]
	if !ok {
		if len(s.shards) >= s.config.MaxOpen && !s.closeIdle() {
			s.mu.Unlock()
			return nil, fault.New(fault.Exhausted, fault.Overloaded,
				"too many workspaces are in use at once; try again shortly").WithRetryAfter(time.Second)
		}
		sh = &shard{dir: dir, opened: make(chan struct{}), writers: newWriters(runtime.GOMAXPROCS(0))}
		s.shards[workspace] = sh
	}
	s.running.Add(1)
	sh.users++
	sh.used = s.clock
	s.mu.Unlock()
	if !ok {
		sh.version.Store(s.versions.Add(1))
		if sh.err = s.open(workspace, sh); sh.err != nil {
			s.mu.Lock()
			delete(s.shards, workspace) // the next call tries again
			s.mu.Unlock()
		}
		close(sh.opened)
	}
	<-sh.opened
	if sh.err != nil {
		s.release(sh)
		return nil, fault.Wrap(sh.err, fault.Unavailable, fault.StoreUnavailable, "the workspace's index cannot be opened")
	}
	return sh, nil
}

func (s *Store) release(sh *shard) {
	s.mu.Lock()
	sh.users--
	s.mu.Unlock()
	s.running.Done()
}

// closeIdle closes the least recently used index that nobody is using. The caller holds mu.
func (s *Store) closeIdle() bool {
	name := ""
	for n, sh := range s.shards {
		if sh.users == 0 && (name == "" || sh.used < s.shards[name].used) {
			name = n
		}
	}
	if name == "" {
		return false
	}
	sh := s.shards[name]
	delete(s.shards, name)
	_ = shut(sh) // everything acknowledged is on disk already
	return true
}

// lockWait bounds waiting for an index that another process still has open.
const lockWait = 2 * time.Second

// open opens a shard's index or makes one. A damaged one is moved aside, so that there is one to look at.
func (s *Store) open(workspace string, sh *shard) (err error) {
	if !exists(sh.dir) {
		sh.index, err = create(sh.dir)
	} else {
		err = load(sh)
	}
	if !errors.Is(err, errDamaged) {
		return errors.Join(err, sh.complete())
	}
	err = fmt.Errorf("open %s: %w", sh.dir, err)
	aside := sh.dir + ".damaged"
	if moved := errors.Join(os.RemoveAll(aside), os.Rename(sh.dir, aside)); moved != nil {
		return errors.Join(err, moved)
	}
	index, made := create(sh.dir)
	if made != nil {
		return err
	}
	sh.index = index
	if s.config.Renewed != nil {
		s.config.Renewed(workspace, err)
	}
	return sh.complete()
}

// complete opens the vectors beside an index that is open.
func (sh *shard) complete() (err error) {
	if sh.index == nil {
		return nil
	}
	sh.vectors, err = vectors.Open(filepath.Join(sh.dir, vectorsDir))
	if err == nil && sh.crashed {
		err = sh.reconcile()
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("open %s: %w", sh.dir, err), sh.index.Close())
	}
	return err
}

// create makes an index. It is made aside and moved into place, so that a crash leaves either a whole index or none.
func create(dir string) (bleve.Index, error) {
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return nil, fmt.Errorf("create %s: %w", dir, err)
	}
	// We index documents field by field ourselves; the mapping only chooses how bleve scores candidates.
	mapping := bleve.NewIndexMapping()
	mapping.ScoringModel = "bm25"
	index, err := bleve.NewUsing(fresh, mapping, scorch.Name, scorch.Name, nil)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", dir, err)
	}
	// bleve syncs segments and their list, but not what kind of index it is, nor folders.
	err = errors.Join(index.Close(), disk.Sync(filepath.Join(fresh, "index_meta.json")), disk.Sync(filepath.Join(fresh, "store")), disk.Sync(fresh))
	if err == nil {
		err = errors.Join(os.Rename(fresh, dir), disk.Sync(filepath.Dir(dir)))
	}
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", dir, err)
	}
	if index, err = bleve.OpenUsing(dir, options()); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return index, nil
}

// options are what indexes are opened with. A batch is in the index before it is on disk, so that the next one can be made
// while it is being synced; the writer tells nobody that something is stored before it is.
//
// Segments are merged later than is bleve's habit, which was made for batches that are much larger or much smaller: a passage is
// then written half as often while many are taken in. That half as many segments more are searched costs little.
func options() map[string]any {
	return map[string]any{
		"unsafe_batch":           true,
		"scorchMergePlanOptions": map[string]any{"MaxSegmentsPerTier": 15, "SegmentsPerMergeTask": 15, "FloorSegmentSize": 1000},
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// dirName keeps workspaces apart on file systems that take upper and lower case for the same: "A" becomes "=a".
func dirName(workspace string) string {
	var b strings.Builder
	for _, r := range workspace {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('=')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

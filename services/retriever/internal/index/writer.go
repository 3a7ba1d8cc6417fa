package index

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
)

const (
	// maxBatch bounds the versions that are committed together, which bounds the memory a commit takes.
	maxBatch = 128
	// pause is the least time between two commits of an index. A first change doesn't wait; of many, each batch takes along
	// what comes within it, since every batch is a segment that has to be merged with others later.
	pause = 50 * time.Millisecond
	// enough chunks make a segment that is worth its merging: they don't wait for more.
	enough = 128
	// poll is how often a change that is not on disk yet looks whether the disk fails.
	poll = time.Second
)

// writers commit changes to one index, those of a document always by the same writer: several batches are made at once, as
// making one takes a single processor.
type writers []writer

// maxWriters bounds the writers of an index: with more of them each has smaller batches.
const maxWriters = 4

func newWriters(n int) writers {
	all := make(writers, min(max(n, 1), maxWriters))
	for i := range all {
		all[i].full, all[i].lengthKey = make(chan struct{}, 1), lengthKeyOf(i)
	}
	return all
}

// commit applies a change and returns when it is on disk.
func (all writers) commit(ctx context.Context, index bleve.Index, c *change) error {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(c.documentID))
	return all[sum.Sum32()%uint32(len(all))].commit(ctx, index, c)
}

// writer commits changes of some documents to an index. Changes that arrive while a batch is being made go into the next one
// together, so that many small documents don't each wait for the disk. While a batch is being synced, the next one is made.
type writer struct {
	lengthKey string // holds the length of what this writer has put, less that of what it has removed

	mu      sync.Mutex
	pending []*change
	chunks  int           // of pending
	full    chan struct{} // capacity 1; there are enough

	committing sync.Mutex
	last       time.Time // of the last commit; under committing
}

// change is one document's part of a batch.
type change struct {
	documentID string
	chunks     int
	apply      func(*batch) error

	done   bool // under committing, as the others below
	synced <-chan struct{}
	err    error
}

// commit applies c and returns when it is on disk.
func (w *writer) commit(ctx context.Context, index bleve.Index, c *change) error {
	w.mu.Lock()
	w.pending = append(w.pending, c)
	w.chunks += c.chunks
	if w.chunks >= enough {
		select {
		case w.full <- struct{}{}:
		default:
		}
	}
	w.mu.Unlock()
	if err := w.introduce(ctx, index, c); err != nil || c.synced == nil {
		return err
	}
	look := time.NewTicker(poll)
	defer look.Stop()
	for before, first := uint64(0), true; ; first = false {
		select {
		case <-c.synced:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			failures := persistFailures(index)
			if !first && failures != before {
				return errUnsynced
			}
			before = failures
		}
	}
}

// errUnsynced says that bleve could not write a batch to disk. It goes on trying; its cause is not told.
var errUnsynced = errors.New("write index: the disk does not take it")

// introduce has the index take in c: searches know it from then on, and a crash may still lose it.
func (w *writer) introduce(ctx context.Context, index bleve.Index, c *change) error {
	w.committing.Lock()
	defer w.committing.Unlock()
	for !c.done { // else someone who held the lock before took it along
		if err := w.rest(ctx); err != nil && w.withdraw(c) {
			return err
		}
		changes := w.take()
		synced, err := w.commitAll(index, changes)
		w.last = time.Now()
		for _, other := range changes {
			other.done, other.synced = true, synced
			if other.err == nil {
				other.err = err
			}
		}
	}
	return c.err
}

// rest waits until the next commit may be, or ctx ends. The signal that there are enough may be of those before, which costs a
// smaller batch.
func (w *writer) rest(ctx context.Context) error {
	wait := time.NewTimer(pause - time.Since(w.last))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.full:
		return nil
	case <-wait.C:
		return nil
	}
}

// take removes a batch from the front of the queue, at most one change of each document.
func (w *writer) take() []*change {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	seen := map[string]bool{}
	for n < len(w.pending) && n < maxBatch && !seen[w.pending[n].documentID] {
		seen[w.pending[n].documentID] = true
		n++
	}
	changes := slices.Clone(w.pending[:n])
	w.pending = slices.Delete(w.pending, 0, n)
	for _, c := range changes {
		w.chunks -= c.chunks
	}
	return changes
}

func (w *writer) withdraw(c *change) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.pending, c)
	if at < 0 {
		return false
	}
	w.pending = slices.Delete(w.pending, at, at+1)
	w.chunks -= c.chunks
	return true
}

// commitAll makes changes of different documents one batch. A change that fails by itself leaves the others alone. The channel
// is closed once all of it is on disk; it is nil when nothing is to be written.
func (w *writer) commitAll(index bleve.Index, changes []*change) (synced <-chan struct{}, err error) {
	advanced, err := index.Advanced()
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	reader, err := advanced.Reader()
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	b := &batch{reader: reader, Batch: index.NewBatch()}
	if b.length, err = lengthUnder(reader, w.lengthKey); err != nil {
		return nil, err
	}
	for _, c := range changes {
		c.err = c.apply(b)
	}
	if b.Size() == 0 {
		return nil, nil
	}
	b.SetInternal([]byte(w.lengthKey), []byte(strconv.FormatFloat(b.length, 'g', -1, 64)))
	done := make(chan struct{})
	b.SetPersistedCallback(func(err error) {
		if err == nil {
			close(done)
		}
	})
	if err := index.Batch(b.Batch); err != nil {
		return nil, fmt.Errorf("write index: %w", err)
	}
	return done, nil
}

// persistFailures counts how often an index could not be written to disk.
func persistFailures(index bleve.Index) uint64 {
	advanced, err := index.Advanced()
	if err != nil {
		return 0
	}
	s, ok := advanced.(*scorch.Scorch)
	if !ok {
		return 0
	}
	n, _ := s.StatsMap()["TotPersistLoopErr"].(uint64)
	return n
}

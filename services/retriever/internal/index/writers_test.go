package index

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// However many writers have put and removed documents, and whichever of them, what is known of all chunks is as if those that are
// left had been put by one.
func TestStatisticsDoNotDependOnWriters(t *testing.T) {
	t.Parallel()
	const documents = 40
	made := func(n int) store.Version {
		body := strings.Repeat("walrus ", n%7+1) + fmt.Sprint("tag", n)
		return store.Version{DocumentID: fmt.Sprint("d", n), Hash: "1", Text: body, Chunks: []store.Chunk{{ID: fmt.Sprint(n), End: len(body)}}}
	}
	// open opens a store whose only workspace has that many writers.
	open := func(dir string, writers int) *Store {
		s, err := Open(Config{Dir: dir, MaxOpen: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if err := s.with(t.Context(), "w", true, func(sh *shard) error {
			sh.writers = newWriters(writers)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	// all does something with some of the documents at once.
	all := func(step int, do func(n int) error) {
		var wait sync.WaitGroup
		for n := 0; n < documents; n += step {
			wait.Go(func() {
				if err := do(n); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	}
	stats := func(s *Store) rank.Stats {
		found, err := s.Candidates(t.Context(), "w", store.Query{
			Rank: rank.NewQuery("walrus"), Limit: documents, Live: func(string) string { return "1" },
		})
		if err != nil {
			t.Fatal(err)
		}
		return found.Stats
	}
	put := func(s *Store) func(int) error { return func(n int) error { return s.Put(t.Context(), "w", made(n)) } }
	one := open(t.TempDir(), 1)
	all(2, func(n int) error { return put(one)(n + 1) })
	want := stats(one)
	dir := t.TempDir()
	for _, writers := range []int{1, maxWriters, 2} { // the same index, again and again
		s := open(dir, writers)
		all(1, put(s))
		all(2, func(n int) error { _, err := s.Prune(t.Context(), "w", fmt.Sprint("d", n), ""); return err })
		if got := stats(s); got.Chunks != want.Chunks || math.Abs(got.AverageLength-want.AverageLength) > 1e-9 {
			t.Errorf("%d writers: %d chunks of %v on average, want %d of %v", writers, got.Chunks, got.AverageLength, want.Chunks, want.AverageLength)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

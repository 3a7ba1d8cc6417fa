package weaviate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/chunk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate"
)

// TestCutOffAnywhere cuts the work on documents off at seeded random moments, as `kill -9` does: requests under way are
// abandoned, whatever the server makes of them, and the work is begun again from its start by a new store that knows nothing,
// until it gets through. What the server holds then is what it holds after one clean run, object by object.
// RAGMESH_CRASHES=100 is the long run (`make test-weaviate` does 20), RAGMESH_SEED another one.
func TestCutOffAnywhere(t *testing.T) {
	t.Parallel()
	runs, seed := 3, uint64(1)
	if n, err := strconv.Atoi(os.Getenv("RAGMESH_CRASHES")); err == nil {
		runs = n
	}
	if n, err := strconv.ParseUint(os.Getenv("RAGMESH_SEED"), 10, 64); err == nil {
		seed = n
	}
	h := &harness{made: map[store.Store]weaviate.Config{}}
	clean := h.Store(t).(*weaviate.Store)
	for i, job := range jobs() {
		if err := job(t.Context(), clean); err != nil {
			t.Fatalf("job %d: %v", i, err)
		}
	}
	want, err := clean.Dump(t.Context(), "w")
	if err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for run := range runs {
		r := rand.New(rand.NewPCG(seed, uint64(run)))
		s := h.Store(t)
		for i, job := range jobs() {
			for patience := 40 * time.Millisecond; ; patience += 20 * time.Millisecond {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.Int64N(int64(patience))))
				err := job(ctx, s.(*weaviate.Store))
				cancel()
				if err == nil {
					break
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("run %d, job %d: %v", run, i, err)
				}
				cuts++
				s = h.Reopen(t, s)
			}
		}
		got, err := s.(*weaviate.Store).Dump(t.Context(), "w")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d, run %d: the server holds something else than after a clean run (-want +got):\n%s", seed, run, diff)
		}
	}
	t.Logf("%d runs, seed %d: cut off %d times", runs, seed, cuts)
}

// jobs is what becomes of three documents: one is replaced, one put again by other code, one removed; two get vectors.
func jobs() []func(context.Context, *weaviate.Store) error {
	version := func(name, hash, revision string, chunks int) store.Version {
		v := store.Version{DocumentID: document.ID("w", name), Hash: hash, SourceURI: name, Title: name, Revision: revision}
		for i := range chunks {
			body := fmt.Sprintf("Walrus %d of %s 节点. %s", i, hash, strings.Repeat("More text. ", 40))
			v.Chunks = append(v.Chunks, store.Chunk{
				ID: chunk.ID(v.DocumentID, hash+revision, i), Ordinal: i, Start: len(v.Text), End: len(v.Text) + len(body), Language: "en",
			})
			v.Text += body
		}
		return v
	}
	put := func(v store.Version) func(context.Context, *weaviate.Store) error {
		return func(ctx context.Context, s *weaviate.Store) error { return s.Put(ctx, "w", v) }
	}
	prune := func(name, keep string) func(context.Context, *weaviate.Store) error {
		return func(ctx context.Context, s *weaviate.Store) error {
			_, err := s.Prune(ctx, "w", document.ID("w", name), keep)
			return err
		}
	}
	embed := func(v store.Version) func(context.Context, *weaviate.Store) error {
		return func(ctx context.Context, s *weaviate.Store) error {
			all := store.Vectors{Key: store.Key{DocumentID: v.DocumentID, Hash: v.Hash}}
			for _, c := range v.Chunks {
				all.Chunks = append(all.Chunks, store.Candidate{Chunk: c, DocumentID: v.DocumentID, Hash: v.Hash, SourceURI: v.SourceURI})
				all.Rows = append(all.Rows, []float32{.6, .8})
			}
			return s.PutVectors(ctx, "w", store.Space{Model: "m", Revision: "1", Dimension: 2}, []store.Vectors{all})
		}
	}
	first, second := version("a", "1", "r", 30), version("a", "2", "r", 40)
	older, newer := version("b", "1", "r", 20), version("b", "1", "s", 10)
	gone, long := version("c", "1", "r", 25), version("d", "1", "r", 1200)
	return []func(context.Context, *weaviate.Store) error{
		put(first), put(older), put(gone), embed(first), embed(gone), put(second), embed(second), prune("a", "2"), put(newer), prune("c", ""), put(long), embed(newer),
	}
}

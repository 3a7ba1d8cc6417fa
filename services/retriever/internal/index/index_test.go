package index_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store/storetest"
)

type harness struct {
	mu   sync.Mutex
	dirs map[store.Store]string
}

func (h *harness) Store(tb testing.TB) store.Store {
	tb.Helper()
	return h.open(tb, tb.TempDir())
}

func (h *harness) Reopen(tb testing.TB, s store.Store) store.Store {
	tb.Helper()
	h.mu.Lock()
	dir := h.dirs[s]
	h.mu.Unlock()
	if err := s.(*index.Store).Close(); err != nil {
		tb.Fatal(err)
	}
	return h.open(tb, dir)
}

func (h *harness) open(tb testing.TB, dir string) *index.Store {
	tb.Helper()
	s, err := index.Open(index.Config{Dir: dir, MaxOpen: 4})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	h.mu.Lock()
	h.dirs[s] = dir
	h.mu.Unlock()
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, &harness{dirs: map[store.Store]string{}})
}

func version(documentID string) store.Version {
	const body = "A walrus."
	return store.Version{
		DocumentID: documentID, Hash: "1", SourceURI: "a", Title: "A", Text: body,
		Chunks: []store.Chunk{{ID: "c", End: len(body)}},
	}
}

func count(tb testing.TB, s *index.Store, workspace string) int {
	tb.Helper()
	got, err := s.Candidates(tb.Context(), workspace, store.Query{Rank: rank.NewQuery("walrus"), Limit: 10, Live: func(string) string { return "1" }})
	if err != nil {
		tb.Fatal(err)
	}
	return len(got.Found)
}

func TestBoundOnOpenWorkspaces(t *testing.T) {
	t.Parallel()
	s, err := index.Open(index.Config{Dir: t.TempDir(), MaxOpen: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 5 {
		if err := s.Put(t.Context(), fmt.Sprintf("w%d", i), version("d")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 { // those closed for others come back
		if n := count(t, s, fmt.Sprintf("w%d", i)); n != 1 {
			t.Errorf("workspace w%d has %d chunks", i, n)
		}
	}
}

func TestSearchMakesNoIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := index.Open(index.Config{Dir: dir, MaxOpen: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := count(t, s, "nobody"); n != 0 {
		t.Errorf("%d chunks of nothing", n)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("a search left %v, %v", entries, err)
	}
}

func TestCrashWhileMaking(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "w.new", "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := index.Open(index.Config{Dir: dir, MaxOpen: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Put(t.Context(), "w", version("d")); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, "w"); n != 1 {
		t.Errorf("%d chunks", n)
	}
}

func TestDamagedIndexIsUnavailable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "w"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := index.Open(index.Config{Dir: dir, MaxOpen: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		if err := s.Put(t.Context(), "w", version("d")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("put into a damaged index: %v", err)
		}
	}
}

func TestClosedStore(t *testing.T) {
	t.Parallel()
	s, err := index.Open(index.Config{Dir: t.TempDir(), MaxOpen: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "w", version("d")); fault.ReasonOf(err) != fault.Draining {
		t.Errorf("put after close: %v", err)
	}
}

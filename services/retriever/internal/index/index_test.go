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

// Whatever part of an index is damaged, it is noticed when the index is opened after a crash, the index is begun anew and
// its owner told. An index that is whole stays, also beside what a crash has cut off.
func TestDamage(t *testing.T) {
	t.Parallel()
	edit := func(path string, change func([]byte) []byte) {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(data), 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	// All of them: one that a merge has replaced may still lie there, and is missed by nobody.
	segments := func(dir string, change func(path string)) {
		found, err := filepath.Glob(filepath.Join(dir, "store", "*.zap"))
		if err != nil || len(found) == 0 {
			t.Error(found, err)
		}
		for _, path := range found {
			change(path)
		}
	}
	tests := map[string]struct {
		damage  func(dir string)
		renewed bool
	}{
		"none": {func(string) {}, false},
		"a write that was cut off": {func(dir string) {
			_ = os.WriteFile(filepath.Join(dir, "store", "0000000000ff.zap"), []byte("half"), 0o600)
		}, false},
		"segments cut in half": {func(dir string) { segments(dir, func(path string) { edit(path, half) }) }, true},
		"the ends of segments": {func(dir string) {
			segments(dir, func(path string) { edit(path, func(b []byte) []byte { b[len(b)-10] ^= 0xff; return b }) })
		}, true},
		"the middles of segments": {func(dir string) {
			segments(dir, func(path string) { edit(path, func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b }) })
		}, true},
		"empty segments":         {func(dir string) { segments(dir, func(path string) { edit(path, func([]byte) []byte { return nil }) }) }, true},
		"segments that are gone": {func(dir string) { segments(dir, func(path string) { _ = os.Remove(path) }) }, true},
		"the list of segments": {func(dir string) {
			edit(filepath.Join(dir, "store", "root.bolt"), func(b []byte) []byte { return make([]byte, len(b)) })
		}, true},
		"the list cut off": {func(dir string) {
			edit(filepath.Join(dir, "store", "root.bolt"), func(b []byte) []byte { return b[:100] })
		}, true},
		"no list":                  {func(dir string) { _ = os.Remove(filepath.Join(dir, "store", "root.bolt")) }, true},
		"what kind of index it is": {func(dir string) { edit(filepath.Join(dir, "index_meta.json"), half) }, true},
		"an empty folder":          {func(dir string) { _ = os.RemoveAll(dir); _ = os.Mkdir(dir, 0o700) }, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			first, err := index.Open(index.Config{Dir: dir, MaxOpen: 2})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []string{"d1", "d2"} {
				if err := first.Put(t.Context(), "w", version(d)); err != nil {
					t.Fatal(err)
				}
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			// The mark of a proper end goes: this one crashed.
			if err := os.Remove(filepath.Join(dir, "w", "closed")); err != nil {
				t.Fatal(err)
			}
			tc.damage(filepath.Join(dir, "w"))
			var renewed []string
			s, err := index.Open(index.Config{Dir: dir, MaxOpen: 2, Renewed: func(w string, err error) { renewed = append(renewed, w+": "+err.Error()) }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			want := 2
			if tc.renewed {
				want = 0
			}
			if n := count(t, s, "w"); n != want || (len(renewed) == 1) != tc.renewed {
				t.Errorf("%d chunks, want %d; renewed %q", n, want, renewed)
			}
			if err := s.Put(t.Context(), "w", version("d3")); err != nil {
				t.Errorf("put: %v", err)
			}
		})
	}
}

// An index that can't be opened for another reason is left alone.
func TestIndexInUseIsUnavailable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := index.Open(index.Config{Dir: dir, MaxOpen: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := first.Put(t.Context(), "w", version("d")); err != nil {
		t.Fatal(err)
	}
	second, err := index.Open(index.Config{Dir: dir, MaxOpen: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Put(t.Context(), "w", version("d")); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("put into an index that another process has open: %v", err)
	}
	if n := count(t, first, "w"); n != 1 {
		t.Errorf("%d chunks", n)
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

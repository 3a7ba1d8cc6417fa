package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

func servesOnlyLiveVersions(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "The old walrus."))
	f.put(version("b", "1", "Another walrus."))
	next := version("a", "2", "The new walrus.")
	if err := f.store.Put(t.Context(), workspace, next); err != nil {
		t.Fatal(err)
	}
	f.expect("walrus", store.Filter{}, "The old walrus.", "Another walrus.") // not switched yet
	f.live[next.DocumentID] = "2"
	f.expect("walrus", store.Filter{}, "The new walrus.", "Another walrus.")
	f.live[next.DocumentID] = "" // deleted
	f.expect("walrus", store.Filter{}, "Another walrus.")
}

func findsLiveAmongDead(t *testing.T, h Harness) {
	f := open(t, h)
	dead := make([]string, 300)
	for i := range dead {
		dead[i] = "walrus walrus"
	}
	f.put(version("dead", "1", dead...))
	f.live = map[string]string{}
	f.put(version("a", "1", "One walrus among many words that make it a lesser hit."))
	f.expect("walrus", store.Filter{}, "One walrus among many words that make it a lesser hit.")
}

func putIsIdempotent(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "walrus one", "walrus two", "walrus three"))
	f.put(version("a", "1", "walrus one", "walrus two"))
	f.expect("walrus", store.Filter{}, "walrus one", "walrus two")
	got := f.query("walrus", store.Filter{}).Stats
	f.put(version("a", "1", "walrus one", "walrus two"))
	if diff := cmp.Diff(got, f.query("walrus", store.Filter{}).Stats); diff != "" || got.Chunks != 2 {
		t.Errorf("statistics %+v changed (-want +got):\n%s", got, diff)
	}
}

func pruneRemoves(t *testing.T, h Harness) {
	f := open(t, h)
	a := version("a", "1", "walrus one", "walrus two")
	f.put(a)
	f.put(version("a", "2", "walrus three"))
	f.put(version("b", "1", "walrus four"))
	prune := func(keep string, want int) {
		t.Helper()
		if n, err := f.store.Prune(t.Context(), workspace, a.DocumentID, keep); err != nil || n != want {
			t.Errorf("prune removed %d chunks, %v; want %d", n, err, want)
		}
	}
	prune("2", 2)
	prune("2", 0)
	f.expect("walrus", store.Filter{}, "walrus three", "walrus four")
	if _, err := f.store.Text(t.Context(), workspace, a.DocumentID, "1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("text after prune: %v, want ErrNotFound", err)
	}
	f.live[a.DocumentID] = "1" // even when the manifest still names it
	f.expect("walrus", store.Filter{}, "walrus four")
	prune("", 1)
	if n, err := f.store.Prune(t.Context(), "nowhere", a.DocumentID, ""); err != nil || n != 0 {
		t.Errorf("prune in a workspace without index = %d, %v", n, err)
	}
}

func workspacesAreApart(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "walrus one"))
	for _, other := range []string{"W", "w2", "w-"} {
		got, err := f.store.Candidates(t.Context(), other, store.Query{
			Rank: rank.NewQuery("walrus"), Limit: 10, Live: func(string) string { return "1" },
		})
		if err != nil || len(got.Found) != 0 || got.Stats.Chunks != 0 {
			t.Errorf("workspace %s sees %+v, %v", other, got, err)
		}
	}
}

func dropRemovesAll(t *testing.T, h Harness) {
	f := open(t, h)
	kept, gone := version("a", "1", "A walrus that stays."), version("a", "1", "A walrus that goes.")
	f.put(gone)
	if err := f.store.Put(t.Context(), "other", kept); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be repeated
		if err := f.store.Drop(t.Context(), workspace); err != nil {
			t.Fatal(err)
		}
	}
	f.expect("walrus", store.Filter{})
	if _, err := f.store.Text(t.Context(), workspace, gone.DocumentID, "1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("text after the drop: %v", err)
	}
	if text, err := f.store.Text(t.Context(), "other", kept.DocumentID, "1"); err != nil || text != kept.Text {
		t.Errorf("another workspace's text: %q, %v", text, err)
	}
	f.put(version("b", "1", "A walrus that comes later.")) // the workspace begins anew
	f.expect("walrus", store.Filter{}, "A walrus that comes later.")
	f.store = h.Reopen(t, f.store)
	f.expect("walrus", store.Filter{}, "A walrus that comes later.")
}

func survivesReopening(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "walrus one", "节点的集群"))
	before := f.query("walrus 节点", store.Filter{})
	f.store = h.Reopen(t, f.store)
	if diff := cmp.Diff(before, f.query("walrus 节点", store.Filter{})); diff != "" {
		t.Errorf("after reopening (-want +got):\n%s", diff)
	}
}

func concurrent(t *testing.T, h Harness) {
	f := open(t, h)
	const writers, each = 8, 10
	id := document.ID(workspace, "same")
	f.live[id] = "0"
	for i := range writers {
		for j := range each {
			v := version(fmt.Sprintf("doc-%d-%d", i, j), "1", "x")
			f.live[v.DocumentID] = "1"
		}
	}
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for j := range each {
				v := version(fmt.Sprintf("doc-%d-%d", i, j), "1", fmt.Sprintf("walrus number %d%02d", i, j))
				if err := f.store.Put(t.Context(), workspace, v); err != nil {
					t.Error(err)
				}
				// Everybody replaces one document, too.
				if err := f.store.Put(t.Context(), workspace, version("same", fmt.Sprint(i), "the same walrus")); err != nil {
					t.Error(err)
				}
				if _, err := f.store.Prune(t.Context(), workspace, id, "0"); err != nil {
					t.Error(err)
				}
				f.query("walrus", store.Filter{})
			}
		})
	}
	group.Wait()
	if err := f.store.Put(t.Context(), workspace, version("same", "0", "the same walrus")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Prune(t.Context(), workspace, id, "0"); err != nil {
		t.Fatal(err)
	}
	got, removed := f.query("walrus", store.Filter{}).Stats, 0
	if _, ok := h.(Remembering); ok {
		removed = writers
	}
	for what, n := range map[string]int{"are there": got.Chunks, "have the word": got.Frequency["walrus"]} {
		if want := writers*each + 1; n < want || n > want+removed {
			t.Errorf("%d chunks %s by the statistics, want %d and at most %d that were removed while they were written", n, what, want, removed)
		}
	}
	for i := range writers {
		f.expect(fmt.Sprintf("%d05", i), store.Filter{}, fmt.Sprintf("walrus number %d05", i))
	}
}

func refusesBadChunks(t *testing.T, h Harness) {
	f := open(t, h)
	for name, spoil := range map[string]func(*store.Chunk){
		"beyond the text": func(c *store.Chunk) { c.End = 100 },
		"empty":           func(c *store.Chunk) { c.End = c.Start },
		"out of order":    func(c *store.Chunk) { c.Ordinal = 3 },
	} {
		v := version("a", "1", "walrus")
		spoil(&v.Chunks[0])
		if err := f.store.Put(t.Context(), workspace, v); err == nil {
			t.Errorf("a chunk %s was taken", name)
		}
	}
}

func knowsWhatItLacks(t *testing.T, h Harness) {
	s := h.Store(t)
	holds := func(workspace, revision, source, hash string) bool {
		t.Helper()
		lacking, err := s.Lacks(t.Context(), workspace, revision, []store.Key{{DocumentID: version(source, hash).DocumentID, Hash: hash}})
		if err != nil {
			t.Fatal(err)
		}
		return len(lacking) == 0
	}
	if holds(workspace, "r1", "a", "1") {
		t.Error("an empty store holds something")
	}
	old, current := version("a", "1", "A walrus."), version("b", "1", "Another walrus.")
	old.Revision, current.Revision = "r1", "r2"
	for _, v := range []store.Version{old, current} {
		if err := s.Put(t.Context(), workspace, v); err != nil {
			t.Fatal(err)
		}
	}
	s = h.Reopen(t, s)
	for _, tc := range []struct {
		workspace, revision, source, hash string
		want                              bool
	}{
		{workspace, "r1", "a", "1", true}, {workspace, "r2", "a", "1", false}, {workspace, "r2", "b", "1", true},
		{workspace, "r1", "a", "2", false}, {"other", "r1", "a", "1", false},
	} {
		if got := holds(tc.workspace, tc.revision, tc.source, tc.hash); got != tc.want {
			t.Errorf("%+v: %t", tc, got)
		}
	}
	old.Revision = "r2" // derived anew
	if err := s.Put(t.Context(), workspace, old); err != nil {
		t.Fatal(err)
	}
	if holds(workspace, "r1", "a", "1") || !holds(workspace, "r2", "a", "1") {
		t.Error("a version put again is held with its old revision")
	}
	if _, err := s.Prune(t.Context(), workspace, old.DocumentID, ""); err != nil {
		t.Fatal(err)
	}
	if holds(workspace, "r2", "a", "1") {
		t.Error("a removed version is held")
	}
}

package storetest

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// space is what the suite's vectors are of: directions in a plane, told by an angle.
func space() store.Space { return store.Space{Model: "angles", Revision: "1", Dimension: 2} }

func towards(degrees float64) []float32 {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return []float32{float32(cos), float32(sin)}
}

// embed gives a version's chunks vectors, an angle for each.
func (f *fixture) embed(s store.Space, v store.Version, degrees ...float64) {
	f.Helper()
	chunks, err := f.store.Chunks(f.Context(), workspace, store.Key{DocumentID: v.DocumentID, Hash: v.Hash})
	if err != nil {
		f.Fatal(err)
	}
	all := store.Vectors{Key: store.Key{DocumentID: v.DocumentID, Hash: v.Hash}, Chunks: chunks}
	for _, d := range degrees {
		all.Rows = append(all.Rows, towards(d))
	}
	if err := f.store.PutVectors(f.Context(), workspace, s, []store.Vectors{all}); err != nil {
		f.Fatal(err)
	}
}

// nearest returns the texts found towards an angle, nearest first, and what the store says beside them.
func (f *fixture) nearest(s store.Space, degrees float64, n int, edit func(*store.Query)) ([]string, store.Candidates) {
	f.Helper()
	q := store.Query{Vector: towards(degrees), Space: s, Nearest: n, Live: func(id string) string { return f.live[id] }}
	if edit != nil {
		edit(&q)
	}
	got, err := f.store.Candidates(f.Context(), workspace, q)
	if err != nil {
		f.Fatal(err)
	}
	found := slices.Clone(got.Found)
	slices.SortStableFunc(found, func(a, b store.Candidate) int {
		switch {
		case a.Cosine > b.Cosine:
			return -1
		case a.Cosine < b.Cosine:
			return 1
		}
		return 0
	})
	texts := []string{}
	for _, c := range found {
		texts = append(texts, c.Text)
	}
	return texts, got
}

func (f *fixture) near(degrees float64, n int, want ...string) {
	f.Helper()
	got, _ := f.nearest(space(), degrees, n, nil)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("towards %v (-want +got):\n%s", degrees, diff)
	}
}

func vectorsFindTheNearest(t *testing.T, h Harness) {
	f := open(t, h)
	a, b := version("a", "1", "north of it", "a lantern"), version("b", "1", "south of it")
	f.put(a)
	f.put(b)
	f.near(90, 3, []string{}...)
	f.embed(space(), a, 90, 10)
	f.embed(space(), b, 270)
	f.near(80, 2, "north of it", "a lantern")
	f.near(260, 1, "south of it")
	_, got := f.nearest(space(), 90, 1, func(q *store.Query) { q.Rank, q.Limit = rank.NewQuery("lantern"), 10 })
	if got.Vectors != 3 {
		t.Errorf("the store counts %d vectors, want 3", got.Vectors)
	}
	cosines := map[string]float64{}
	for _, c := range got.Found {
		if !c.Embedded {
			t.Errorf("%q has a vector, and is not compared", c.Text)
		}
		cosines[c.Text] = math.Round(100*c.Cosine) / 100
	}
	if diff := cmp.Diff(map[string]float64{"north of it": 1, "a lantern": .17}, cosines); diff != "" {
		t.Errorf("terms and vector find (-want +got):\n%s", diff)
	}
}

func vectorsAreFiltered(t *testing.T, h Harness) {
	f := open(t, h)
	a, b := version("docs/a", "1", "north of it", "节点的集群"), version("wiki/b", "1", "south of it")
	f.put(a)
	f.put(b)
	f.embed(space(), a, 90, 91)
	f.embed(space(), b, 89)
	for name, test := range map[string]struct {
		edit func(*store.Query)
		want []string
	}{
		"documents": {func(q *store.Query) { q.Filter.DocumentIDs = []string{b.DocumentID} }, []string{"south of it"}},
		"prefixes":  {func(q *store.Query) { q.Filter.SourcePrefixes = []string{"wiki/", "none/"} }, []string{"south of it"}},
		"languages": {func(q *store.Query) { q.Filter.Languages = []string{"zh"} }, []string{"节点的集群"}},
		"hidden":    {func(q *store.Query) { q.Hidden = func(id string) bool { return id == a.DocumentID } }, []string{"south of it"}},
		"not live":  {func(q *store.Query) { q.Live = func(string) string { return "" } }, []string{}},
	} {
		got, _ := f.nearest(space(), 90, 1, test.edit)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func vectorsGoWithVersions(t *testing.T, h Harness) {
	f := open(t, h)
	first, second := version("a", "1", "north of it"), version("a", "2", "south of it", "a lantern")
	f.put(first)
	f.embed(space(), first, 90)
	f.put(second)
	f.near(90, 5, []string{}...) // it is live, and has none yet
	f.embed(space(), second, 270, 180)
	f.near(90, 5, "a lantern", "south of it")
	if _, err := f.store.Prune(t.Context(), workspace, first.DocumentID, "2"); err != nil {
		t.Fatal(err)
	}
	f.near(90, 5, "a lantern", "south of it")
	if lacks, err := f.store.LacksVectors(t.Context(), workspace, space(), []store.Key{{DocumentID: first.DocumentID, Hash: "1"}, {DocumentID: first.DocumentID, Hash: "2"}}); err != nil ||
		!slices.Equal(lacks, []store.Key{{DocumentID: first.DocumentID, Hash: "1"}}) {
		t.Errorf("lacks %v, %v; want only the version that was pruned", lacks, err)
	}
	f.put(second) // once more, as after a crash: the same chunks keep their vectors
	f.near(90, 5, "a lantern", "south of it")
	third := second // the same bytes, cut in another way
	third.Chunks = slices.Clone(second.Chunks)
	for i := range third.Chunks {
		third.Chunks[i].ID = "11111111-1111-5111-8111-11111111111" + string(rune('0'+i))
	}
	f.put(third)
	f.near(90, 5, []string{}...)
	if _, err := f.store.Prune(t.Context(), workspace, first.DocumentID, ""); err != nil {
		t.Fatal(err)
	}
	if _, got := f.nearest(space(), 90, 5, nil); got.Vectors != 0 {
		t.Errorf("%d vectors are left of a document that is gone", got.Vectors)
	}
}

func vectorsOfAnotherSpace(t *testing.T, h Harness) {
	f := open(t, h)
	a, b := version("a", "1", "north of it"), version("b", "1", "south of it")
	f.put(a)
	f.put(b)
	f.embed(space(), a, 90)
	f.embed(space(), b, 270)
	other := store.Space{Model: "angles", Revision: "2", Dimension: 2}
	if got, _ := f.nearest(other, 90, 5, nil); len(got) != 0 {
		t.Errorf("a query of another model finds %q", got)
	}
	f.embed(other, a, 45)
	if got, _ := f.nearest(space(), 90, 5, nil); len(got) != 0 {
		t.Errorf("a query of the former model finds %q", got)
	}
	if got, _ := f.nearest(other, 90, 5, nil); !slices.Equal(got, []string{"north of it"}) {
		t.Errorf("a query finds %q, want what has vectors of its model", got)
	}
	lacks, err := f.store.LacksVectors(t.Context(), workspace, other, []store.Key{{DocumentID: a.DocumentID, Hash: "1"}, {DocumentID: b.DocumentID, Hash: "1"}})
	if err != nil || !slices.Equal(lacks, []store.Key{{DocumentID: b.DocumentID, Hash: "1"}}) {
		t.Errorf("lacks %v, %v; want what has vectors of the former model only", lacks, err)
	}
}

func vectorsSurviveReopening(t *testing.T, h Harness) {
	f := open(t, h)
	a, b := version("a", "1", "north of it"), version("b", "1", "south of it")
	f.put(a)
	f.put(b)
	f.embed(space(), a, 90)
	f.embed(space(), b, 270)
	if _, err := f.store.Prune(t.Context(), workspace, b.DocumentID, ""); err != nil {
		t.Fatal(err)
	}
	f.store = h.Reopen(t, f.store)
	f.near(80, 2, "north of it")
}

func readsChunks(t *testing.T, h Harness) {
	f := open(t, h)
	v := version("a", "1", "north of it", "south of it")
	f.put(v)
	chunks, err := f.store.Chunks(t.Context(), workspace, store.Key{DocumentID: v.DocumentID, Hash: v.Hash})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range chunks {
		if diff := cmp.Diff(v.Chunks[i], c.Chunk); diff != "" || c.Text != v.Text[c.Start:c.End] || c.Title != v.Title || c.SourceURI != v.SourceURI {
			t.Errorf("chunk %d is %+v (-want +got):\n%s", i, c, diff)
		}
	}
	if len(chunks) != len(v.Chunks) {
		t.Errorf("%d chunks, want %d", len(chunks), len(v.Chunks))
	}
	if _, err := f.store.Chunks(t.Context(), workspace, store.Key{DocumentID: v.DocumentID, Hash: "2"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("chunks of a version that is not there: %v", err)
	}
}

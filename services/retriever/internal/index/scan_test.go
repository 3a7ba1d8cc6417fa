package index_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Whatever segments an index has come to lie in, and however many of its chunks were replaced since, a query finds what it
// finds in an index that was written at once.
func TestSegmentsDoNotMatter(t *testing.T) {
	t.Parallel()
	const documents = 60
	text := func(n, edition int) string {
		return fmt.Sprintf("Walrus %d of edition %d sleeps%s on the ice of bay %d.", n, edition, map[bool]string{true: " and sings"}[n%3 == 0], n%7)
	}
	put := func(s *index.Store, n, edition int) {
		id, body := fmt.Sprintf("%08d-0000-5000-8000-000000000000", n), text(n, edition)
		v := store.Version{DocumentID: id, Hash: fmt.Sprint(edition), SourceURI: fmt.Sprintf("bay/%d/%d.txt", n%7, n), Title: "Walruses", Text: body}
		v.Chunks = []store.Chunk{{ID: id + v.Hash, End: len(body), Language: []string{"en", "zh"}[n%2]}}
		if err := s.Put(t.Context(), "w", v); err != nil {
			t.Fatal(err)
		}
	}
	open := func() *index.Store {
		s, err := index.Open(index.Config{Dir: t.TempDir(), MaxOpen: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	replaced, clean := open(), open()
	for edition := range 3 {
		for n := range documents {
			put(replaced, n, edition)
		}
	}
	for n := range documents {
		put(clean, n, 2)
		if _, err := replaced.Prune(t.Context(), "w", fmt.Sprintf("%08d-0000-5000-8000-000000000000", n), "2"); err != nil {
			t.Fatal(err)
		}
	}
	for name, q := range map[string]store.Query{
		"one word":      {Rank: rank.NewQuery("singing")},
		"many words":    {Rank: rank.NewQuery("walrus 17 sings in bay 3")},
		"few places":    {Rank: rank.NewQuery("walrus 17 bay 3"), Limit: 5},
		"documents":     {Rank: rank.NewQuery("walrus"), Filter: store.Filter{DocumentIDs: []string{"00000003-0000-5000-8000-000000000000", "nobody's"}}},
		"sources":       {Rank: rank.NewQuery("walrus"), Filter: store.Filter{SourcePrefixes: []string{"bay/1/", "bay/2/1"}}},
		"all at once":   {Rank: rank.NewQuery("walrus sings"), Filter: store.Filter{SourcePrefixes: []string{"bay/"}, Languages: []string{"zh"}}},
		"hidden":        {Rank: rank.NewQuery("walrus sings"), Hidden: func(id string) bool { return id < "00000050" }},
		"nothing there": {Rank: rank.NewQuery("seal")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q.Live = func(string) string { return "2" }
			if q.Limit == 0 {
				q.Limit = 100
			}
			found := func(s *index.Store) (ids map[string]bool, stats rank.Stats) {
				got, err := s.Candidates(t.Context(), "w", q)
				if err != nil {
					t.Fatal(err)
				}
				ids = map[string]bool{}
				for _, c := range got.Found {
					ids[c.ID] = true
				}
				return ids, got.Stats
			}
			want, wantStats := found(clean)
			got, gotStats := found(replaced)
			if diff := cmp.Diff(wantStats, gotStats); diff != "" {
				t.Errorf("statistics (-written at once +replaced):\n%s", diff)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("found (-written at once +replaced):\n%s", diff)
			}
			if name != "nothing there" && len(want) == 0 {
				t.Error("nothing was found")
			}
		})
	}
}

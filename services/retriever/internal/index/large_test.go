package index_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// A version of more chunks than one commit takes is put in parts, and another put of it leaves nothing of the first.
func TestLargeVersion(t *testing.T) {
	t.Parallel()
	s := (&harness{dirs: map[store.Store]string{}}).Store(t)
	put := func(chunks int) {
		t.Helper()
		v := store.Version{DocumentID: "d", Hash: "1", SourceURI: "a", Title: "A", Revision: fmt.Sprint(chunks)}
		var b strings.Builder
		for i := range chunks {
			start := b.Len()
			fmt.Fprintf(&b, "walrus number%d", i)
			v.Chunks = append(v.Chunks, store.Chunk{ID: fmt.Sprint(i), Ordinal: i, Start: start, End: b.Len()})
		}
		v.Text = b.String()
		if err := s.Put(t.Context(), "w", v); err != nil {
			t.Fatal(err)
		}
	}
	find := func(word string) store.Candidates {
		t.Helper()
		got, err := s.Candidates(t.Context(), "w", store.Query{Rank: rank.NewQuery(word), Live: func(string) string { return "1" }, Limit: 5})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	put(4_500)
	if got := find("number4499"); len(got.Found) != 1 || got.Stats.Chunks != 4_500 {
		t.Fatalf("%d found among %d chunks", len(got.Found), got.Stats.Chunks)
	}
	put(2_100)
	if got := find("number4499"); len(got.Found) != 0 || got.Stats.Chunks != 2_100 {
		t.Errorf("%d found among %d chunks", len(got.Found), got.Stats.Chunks)
	}
	if lacks, err := s.Lacks(t.Context(), "w", "2100", []store.Key{{DocumentID: "d", Hash: "1"}}); err != nil || len(lacks) != 0 {
		t.Errorf("lacks %v, %v", lacks, err)
	}
}

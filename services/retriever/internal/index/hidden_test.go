package index_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// BenchmarkHidden asks 10,000 documents of three chunks, all of which hold one of the query's words, for somebody who may read
// all of them, all but one, and one in a hundred.
func BenchmarkHidden(b *testing.B) {
	s, err := index.Open(index.Config{Dir: b.TempDir(), MaxOpen: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	const documents = 10_000
	number := make(map[string]int, documents)
	var group errgroup.Group
	group.SetLimit(128)
	for i := range documents {
		id := fmt.Sprintf("%08d-0000-5000-8000-000000000000", i)
		number[id] = i
		group.Go(func() error {
			text := fmt.Sprintf("The walrus number %d.|The walrus of town %d.|A walrus in passing.", i, i%97)
			v := store.Version{DocumentID: id, Hash: "1", SourceURI: id, Title: "T", Text: text}
			for ordinal, at := 0, 0; ordinal < 3; ordinal++ {
				end := at + 19
				if ordinal == 2 {
					end = len(text)
				}
				v.Chunks = append(v.Chunks, store.Chunk{ID: fmt.Sprint(id, ordinal), Ordinal: ordinal, Start: at, End: end})
				at = end
			}
			return s.Put(b.Context(), "w", v)
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	for name, hidden := range map[string]func(string) bool{
		"none": nil, "one": func(id string) bool { return number[id] == 7 }, "most": func(id string) bool { return number[id]%100 != 0 },
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				got, err := s.Candidates(b.Context(), "w", store.Query{
					Rank: rank.NewQuery("walrus town 42"), Limit: 50, Live: func(string) string { return "1" }, Hidden: hidden,
				})
				if err != nil || len(got.Found) != 50 {
					b.Fatal(len(got.Found), err)
				}
			}
		})
	}
}

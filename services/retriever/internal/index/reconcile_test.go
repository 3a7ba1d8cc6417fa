package index_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
	"github.com/ragmesh/ragmesh/services/retriever/internal/vectors"
)

// A crash between the index and the vectors leaves vectors of what is not in the index any more, or is cut otherwise. They are
// gone before anybody can find them.
func TestVectorsThatACrashLeftAreDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *index.Store {
		s, err := index.Open(index.Config{Dir: dir, MaxOpen: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open()
	kept := store.Key{DocumentID: "kept", Hash: "1"}
	if err := s.Put(t.Context(), "w", store.Version{
		DocumentID: kept.DocumentID, Hash: kept.Hash, Text: "a walrus", Chunks: []store.Chunk{{ID: "id-0", End: 8}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "w", "closed")); err != nil {
		t.Fatal(err)
	}
	set, err := vectors.Open(filepath.Join(dir, "w", "vectors"))
	if err != nil {
		t.Fatal(err)
	}
	space, gone := store.Space{Model: "m", Dimension: 2}, store.Key{DocumentID: "gone", Hash: "1"}
	row := func(k store.Key, id string) store.Vectors {
		return store.Vectors{Key: k, Chunks: []store.Candidate{{Chunk: store.Chunk{ID: id}}}, Rows: [][]float32{{1, 0}}}
	}
	if err := set.Put(space, []store.Vectors{row(kept, "id-0"), row(gone, "id-1")}); err != nil {
		t.Fatal(err)
	}
	if err := set.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	lacks, err := s.LacksVectors(t.Context(), "w", space, []store.Key{kept, gone})
	if err != nil || len(lacks) != 1 || lacks[0] != gone {
		t.Errorf("lacks %v, %v; want what is not in the index", lacks, err)
	}
}

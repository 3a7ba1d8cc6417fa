package durable

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/embed"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

func TestVectorsAreKeptByDocumentAndSpace(t *testing.T) {
	t.Parallel()
	v, space := NewVectors(bustest.New(t)), store.Space{Model: "m", Revision: "1", Dimension: 2}
	want := map[embed.Sum][]float32{}
	for i := range 20_000 { // more than one message holds
		want[embed.Sum{byte(i), byte(i >> 8), byte(i >> 16)}] = []float32{.6, .8}
	}
	for range 2 { // the second instead of the first
		if err := v.Put(t.Context(), "w", "d", space, want); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, v.Get(t.Context(), "w", "d", space)); diff != "" {
		t.Error("what is kept differs from what was put")
	}
	if got := v.Get(t.Context(), "w", "d", store.Space{Model: "m", Revision: "2", Dimension: 2}); len(got) != 0 {
		t.Errorf("%d vectors of another revision", len(got))
	}
	if got := v.Get(t.Context(), "other", "d", space); len(got) != 0 {
		t.Errorf("%d vectors of another workspace", len(got))
	}
	if err := v.Drop(t.Context(), "w", ""); err != nil {
		t.Fatal(err)
	}
	if got := v.Get(t.Context(), "w", "d", space); len(got) != 0 {
		t.Errorf("%d vectors after the workspace was dropped", len(got))
	}
}

func FuzzDecodeVectors(f *testing.F) {
	f.Add(encodeVectors(2, map[embed.Sum][]float32{{1}: {.6, .8}, {2}: {1, 0}})[0], 2)
	f.Add([]byte("short"), 384)
	f.Fuzz(func(t *testing.T, b []byte, dimension int) {
		out := map[embed.Sum][]float32{}
		if dimension > 8192 {
			return
		}
		decodeVectors(b, dimension, out)
		for _, v := range out {
			if len(v) != dimension {
				t.Fatalf("%d of %d dimensions", len(v), dimension)
			}
		}
	})
}

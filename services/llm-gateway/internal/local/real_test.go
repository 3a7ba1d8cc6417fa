package local_test

import (
	"os"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local"
)

// TestARealModelKnowsWhatTextsMean opens a folder as it was downloaded.
func TestARealModelKnowsWhatTextsMean(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("RAGMESH_MODEL")
	if dir == "" {
		t.Skip("RAGMESH_MODEL names no folder with a sentence-transformer that reads English")
	}
	m, err := local.Open(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	t.Logf("%+v", m.Facts())
	v := embed(t, m, "How old are you?", "What is your age?", "The cat sat on the mat.")
	near, far := dot(v[0], v[1]), dot(v[0], v[2])
	t.Logf("near %.3f, far %.3f", near, far)
	if near < far+0.3 {
		t.Errorf("a question is as near to its paraphrase (%.2f) as to something else (%.2f)", near, far)
	}
}

func dot(a, b []float32) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

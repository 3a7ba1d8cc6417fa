package vectors

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

func space(dimension int) store.Space {
	return store.Space{Model: "m", Revision: "1", Dimension: dimension}
}

// made makes a version's vectors.
func made(document, hash string, rows ...[]float32) store.Vectors {
	v := store.Vectors{Key: store.Key{DocumentID: document, Hash: hash}, Rows: rows}
	for i := range rows {
		v.Chunks = append(v.Chunks, store.Candidate{Chunk: store.Chunk{ID: document + hash, Ordinal: i, Language: "en"}, SourceURI: "s/" + document})
	}
	return v
}

func reopened(t *testing.T, dir string) *Set {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func found(t *testing.T, s *Set, q []float32, n int) []Hit {
	t.Helper()
	hits, _, err := s.Search(t.Context(), Query{Vector: q, Space: space(len(q)), Nearest: n})
	if err != nil {
		t.Fatal(err)
	}
	return hits
}

// like returns vectors as embedders make them: few topics, much in common, in a narrow cone.
func like(random *rand.Rand, n, dimension int) [][]float32 {
	gauss := func(scale float64) []float64 {
		out := make([]float64, dimension)
		for i := range out {
			out[i] = scale * random.NormFloat64()
		}
		return out
	}
	common := gauss(1)
	var topics [][]float64
	for range 100 {
		topics = append(topics, gauss(1))
	}
	out := make([][]float32, n)
	for i := range out {
		topic, own := topics[random.IntN(len(topics))], gauss(.7)
		row := make([]float32, dimension)
		norm := 0.0
		for d := range row {
			f := common[d] + topic[d] + own[d]
			row[d] = float32(f)
			norm += f * f
		}
		for d := range row {
			row[d] /= float32(math.Sqrt(norm))
		}
		out[i] = row
	}
	return out
}

// The signs must lose next to nothing: what they choose from is compared with all there is.
func TestSearchFindsWhatAnExactScanFinds(t *testing.T) {
	t.Parallel()
	const dimension, documents, chunks, queries, top = 96, 600, 10, 50, 10
	random := rand.New(rand.NewPCG(1, 2))
	rows := like(random, documents*chunks+queries, dimension)
	s := reopened(t, t.TempDir())
	for d := range documents {
		if err := s.Put(space(dimension), []store.Vectors{made(fmt.Sprint(d), "h", rows[d*chunks:][:chunks]...)}); err != nil {
			t.Fatal(err)
		}
	}
	hit := 0
	for _, q := range rows[documents*chunks:] {
		type scored struct {
			at  string
			dot float32
		}
		var all []scored
		for i, r := range rows[:documents*chunks] {
			var dot float32
			for d := range q {
				dot += q[d] * r[d]
			}
			all = append(all, scored{fmt.Sprint(i/chunks, "/", i%chunks), dot})
		}
		slices.SortFunc(all, func(a, b scored) int {
			if a.dot > b.dot {
				return -1
			}
			return 1
		})
		best := map[string]bool{}
		for _, a := range all[:top] {
			best[a.at] = true
		}
		for _, h := range found(t, s, q, top) {
			if best[fmt.Sprint(h.DocumentID, "/", h.Ordinal)] {
				hit++
			}
		}
	}
	recall := float64(hit) / (queries * top)
	t.Logf("recall@%d %.3f over %d vectors", top, recall, documents*chunks)
	if recall < .98 {
		t.Errorf("recall@%d is %.3f", top, recall)
	}
}

// Wherever a crash cuts the file off, what was whole is there and what was not is not.
func TestWhatIsCutOffIsNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := reopened(t, dir)
	var ends []int64
	for i := range 3 {
		if err := s.Put(space(2), []store.Vectors{made(fmt.Sprint(i), "h", []float32{1, 0}, []float32{0, 1})}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, s.size)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want := 0
		for _, end := range ends {
			if int64(cut) >= end {
				want++
			}
		}
		if got := len(s.Keys()); got != want {
			t.Errorf("cut at %d: %d versions, want %d", cut, got, want)
		}
		if err := s.Put(space(2), []store.Vectors{made("new", "h", []float32{1, 0})}); err != nil {
			t.Errorf("cut at %d: put: %v", cut, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s = reopened(t, dir); len(s.Keys()) != want+1 {
			t.Errorf("cut at %d and put: %d versions, want %d", cut, len(s.Keys()), want+1)
		}
	}
}

// A flipped bit costs the version it is in, and those after it at most.
func TestDamageIsNotServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := reopened(t, dir)
	for i := range 3 {
		if err := s.Put(space(2), []store.Vectors{made(fmt.Sprint(i), "h", []float32{.6, .8})}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		dir := t.TempDir()
		broken := slices.Clone(whole)
		broken[at] ^= 4
		if err := os.WriteFile(filepath.Join(dir, fileName), broken, 0o600); err != nil {
			t.Fatal(err)
		}
		s := reopened(t, dir)
		for _, h := range found(t, s, []float32{.6, .8}, 10) {
			if math.Abs(h.Cosine-1) > 1e-6 {
				t.Errorf("byte %d flipped: %s is served with %v", at, h.DocumentID, h.Cosine)
			}
		}
	}
}

func TestDroppedBytesAreGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := reopened(t, dir)
	secret := []float32{.123456, .654321}
	if err := s.Put(space(2), []store.Vectors{made("a-secret-document", "h", secret), made("b", "h", []float32{1, 0})}); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop("a-secret-document", ""); err != nil {
		t.Fatal(err)
	}
	bytes, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"a-secret-document", string(encodeRow(nil, secret))} {
		if i := indexOf(bytes, gone); i >= 0 {
			t.Errorf("%q is still in the file, at %d", gone, i)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := found(t, reopened(t, dir), []float32{1, 0}, 10); len(got) != 1 || got[0].DocumentID != "b" {
		t.Errorf("finds %v, want b", got)
	}
}

func indexOf(b []byte, s string) int {
	for i := 0; i+len(s) <= len(b); i++ {
		if string(b[i:i+len(s)]) == s {
			return i
		}
	}
	return -1
}

func TestReplacingAndDroppingKeepsTheFileSmall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := reopened(t, dir)
	random := rand.New(rand.NewPCG(3, 4))
	rows := like(random, 1000, 64)
	for round := range 20 {
		var all []store.Vectors
		for d := range 20 {
			all = append(all, made(fmt.Sprint(d), "h", rows[(d*50+round)%900:][:50]...))
		}
		if err := s.Put(space(64), all); err != nil {
			t.Fatal(err)
		}
	}
	if live := int64(1000 * 64 * 4); s.size > 2*live+2*minHole {
		t.Errorf("the file has %d bytes for %d that count", s.size, live)
	}
	before := found(t, s, rows[5], 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopened(t, dir)
	if diff := cmp.Diff(before, found(t, s, rows[5], 20)); diff != "" {
		t.Errorf("after reopening (-before +after):\n%s", diff)
	}
	if s.rows != 1000 {
		t.Errorf("%d rows, want 1000", s.rows)
	}
}

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Put(space(2), []store.Vectors{made("a", "h", []float32{1, 0}), made("b", "h", []float32{0, 1})}); err != nil {
		f.Fatal(err)
	}
	if err := s.Drop("a", ""); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Search(t.Context(), Query{Vector: make([]float32, s.Space().Dimension), Space: s.Space(), Nearest: 5}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

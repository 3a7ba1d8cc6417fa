package local_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/sample"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/token"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// letters is a tokenizer with an id for each small letter, 1 for others, and 2 and 3 around a text.
type letters struct{}

func (letters) Size() int { return 30 }

func (letters) Encode(text string, limit int) token.Encoding { return frame(limit, text) }

func (letters) EncodePair(a, b string, limit int) token.Encoding { return frame(limit, a, b) }

func frame(limit int, texts ...string) token.Encoding {
	e := token.Encoding{IDs: []int32{2}, Types: []int32{0}}
	for i, text := range texts {
		for _, r := range strings.ReplaceAll(text, " ", "") {
			id := int32(1)
			if r >= 'a' && r <= 'z' {
				id = r - 'a' + 4
			} else {
				e.Unknown++
			}
			e.IDs, e.Types = append(e.IDs, id), append(e.Types, int32(i))
		}
	}
	if len(e.IDs) > limit-1 {
		e.IDs, e.Types = e.IDs[:limit-1], e.Types[:limit-1]
	}
	e.IDs, e.Types = append(e.IDs, 3), append(e.Types, int32(len(texts)-1))
	return e
}

func tokenizer(string) (local.Tokenizer, error) { return letters{}, nil }

// open opens a generated model.
func open(t testing.TB, s sample.Shape, o local.Options) *local.Model {
	t.Helper()
	dir := t.TempDir()
	if err := sample.Write(dir, s); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Tokenizer = tokenizer
	m, err := local.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func embed(t testing.TB, m *local.Model, texts ...string) [][]float32 {
	t.Helper()
	got, err := m.Embed(t.Context(), provider.EmbedRequest{Texts: texts})
	if err != nil {
		t.Fatal(err)
	}
	return got.Vectors
}

var near = cmpopts.EquateApprox(0, 1e-5)

func TestVectors(t *testing.T) {
	t.Parallel()
	m := open(t, sample.Tiny(), local.Options{})
	long := strings.Repeat("long ", 100)
	got, err := m.Embed(t.Context(), provider.EmbedRequest{Texts: []string{"a text", "another one", long}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Usage != (provider.Usage{Prompt: 7 + 12 + 64}) {
		t.Errorf("usage is %+v", got.Usage)
	}
	for _, v := range got.Vectors {
		var squares float64
		for _, f := range v {
			squares += float64(f) * float64(f)
		}
		if math.Abs(squares-1) > 1e-5 {
			t.Errorf("a vector's length is %f", math.Sqrt(squares))
		}
	}
	alone := [][]float32{embed(t, m, "a text")[0], embed(t, m, "another one")[0], embed(t, m, long[:300])[0]}
	if diff := cmp.Diff(alone, got.Vectors, near); diff != "" {
		t.Errorf("texts together differ from each alone: %s", diff)
	}
}

func TestKernelsAndThreadsAgree(t *testing.T) {
	t.Parallel()
	texts := []string{"a", "some words of a text", strings.Repeat("many words ", 20), "b", strings.Repeat("x", 40)}
	want := embed(t, open(t, sample.Tiny(), local.Options{Kernels: "plain", Threads: 1}), texts...)
	for _, set := range kernel.Sets() {
		for _, threads := range []int{1, 2, 4} {
			m := open(t, sample.Tiny(), local.Options{Kernels: set.Name(), Threads: threads})
			if diff := cmp.Diff(want, embed(t, m, texts...), near); diff != "" {
				t.Errorf("%s on %d threads: %s", set.Name(), threads, diff)
			}
			if diff := cmp.Diff(want[:1], embed(t, m, texts[:1]...), near); diff != "" {
				t.Errorf("%s on %d threads, one text: %s", set.Name(), threads, diff)
			}
		}
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	m := open(t, sample.Tiny(), local.Options{Threads: 3})
	texts := make([]string, 50)
	want := make([][]float32, len(texts))
	for i := range texts {
		texts[i] = strings.Repeat(string(rune('a'+i%26)), i+1)
		want[i] = embed(t, m, texts[i])[0]
	}
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for i := range texts {
				at := (i*7 + caller) % len(texts)
				ctx, cancel := context.WithCancel(t.Context())
				if i%5 == 0 {
					go cancel()
				}
				got, err := m.Embed(ctx, provider.EmbedRequest{Texts: texts[at : at+1], Urgent: caller%2 == 0})
				cancel()
				if i%5 == 0 && errors.Is(err, context.Canceled) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if diff := cmp.Diff(want[at], got.Vectors[0], near); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	callers.Wait()
}

// TestMemoryStaysFlat sends texts of all lengths, some of which are given up, and looks at what is held on to.
func TestMemoryStaysFlat(t *testing.T) {
	m := open(t, sample.Tiny(), local.Options{Threads: 2})
	send := func(requests int) uint64 {
		for i := range requests {
			ctx, cancel := context.WithCancel(t.Context())
			if i%10 == 0 {
				cancel()
			}
			texts := make([]string, 1+i%4)
			for j := range texts {
				texts[j] = strings.Repeat("a", 1+(i*7+j*13)%80)
			}
			m.Embed(ctx, provider.EmbedRequest{Texts: texts, Urgent: i%3 == 0})
			cancel()
		}
		runtime.GC()
		runtime.GC() // what pools held before the first one
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	warm := send(100)
	if after := send(300); after > warm+256<<10 {
		t.Errorf("the heap grew from %d to %d bytes", warm, after)
	}
}

func TestScores(t *testing.T) {
	t.Parallel()
	shape := sample.Tiny()
	shape.Reranker, shape.Prefix = true, "bert."
	m := open(t, shape, local.Options{})
	got, err := m.Rerank(t.Context(), provider.RerankRequest{Query: "which one", Texts: []string{"this", "that", "this"}})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Scores; len(s) != 3 || math.Abs(s[0]-s[2]) > 1e-5 || s[0] == s[1] || s[0] <= 0 || s[0] >= 1 {
		t.Errorf("scores are %v", s)
	}
	if m.Facts().Dimension != 0 {
		t.Error("a reranker has no dimension")
	}
	if _, err := m.Embed(t.Context(), provider.EmbedRequest{Texts: []string{"a"}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a reranker made vectors: %v", err)
	}
	if _, err := m.Rerank(t.Context(), provider.RerankRequest{Query: " ", Texts: []string{"a"}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an empty query: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	m := open(t, sample.Tiny(), local.Options{WaitingTokens: 1})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx     context.Context
		request provider.EmbedRequest
		kind    fault.Kind
	}{
		"empty":      {t.Context(), provider.EmbedRequest{Texts: []string{"a", ""}}, fault.Invalid},
		"blank":      {t.Context(), provider.EmbedRequest{Texts: []string{" \n\t"}}, fault.Invalid},
		"dimensions": {t.Context(), provider.EmbedRequest{Texts: []string{"a"}, Dimensions: 32}, fault.Invalid},
		"gone":       {gone, provider.EmbedRequest{Texts: []string{"a"}}, fault.Canceled},
	} {
		if _, err := m.Embed(test.ctx, test.request); fault.KindOf(err) != test.kind {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := m.Rerank(t.Context(), provider.RerankRequest{Query: "a", Texts: []string{"a"}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an embedder ranked: %v", err)
	}
	m.Close()
	if _, err := m.Embed(t.Context(), provider.EmbedRequest{Texts: []string{"a"}}); fault.ReasonOf(err) != fault.Draining {
		t.Errorf("a closed model: %v", err)
	}
}

func TestFactsTellModelsApart(t *testing.T) {
	t.Parallel()
	shape := sample.Tiny()
	first, again := open(t, shape, local.Options{}).Facts(), open(t, shape, local.Options{Kernels: "plain"}).Facts()
	if first.Hash != again.Hash || len(first.Hash) != 64 || first.Dimension != 64 || first.MaxTokens != 64 || !first.Normalized {
		t.Errorf("got %+v and %+v", first, again)
	}
	seen := map[string]string{first.Hash: "as it is"}
	for name, change := range map[string]func(*sample.Shape){
		"pooling":       func(s *sample.Shape) { s.CLS = true },
		"normalisation": func(s *sample.Shape) { s.Normalize = false },
		"weights":       func(s *sample.Shape) { s.DType = "F16" },
		"length":        func(s *sample.Shape) { s.MaxText = 32 },
	} {
		s := shape
		change(&s)
		hash := open(t, s, local.Options{}).Facts().Hash
		if other, taken := seen[hash]; taken {
			t.Errorf("another %s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
}

func TestFoldersThatAreNoGood(t *testing.T) {
	t.Parallel()
	config := func(from, to string) func(string, *local.Options) error {
		return func(dir string, _ *local.Options) error { return rewrite(filepath.Join(dir, "config.json"), from, to) }
	}
	for name, spoil := range map[string]func(dir string, o *local.Options) error{
		"no folder":  func(dir string, _ *local.Options) error { return os.RemoveAll(dir) },
		"no weights": func(dir string, _ *local.Options) error { return os.Remove(filepath.Join(dir, "model.safetensors")) },
		"cut weights": func(dir string, _ *local.Options) error {
			return os.Truncate(filepath.Join(dir, "model.safetensors"), 100_000)
		},
		"other shape":      config(`"intermediate_size":96`, `"intermediate_size":95`),
		"one layer more":   config(`"num_hidden_layers":2`, `"num_hidden_layers":3`),
		"small vocabulary": config(`"vocab_size":120`, `"vocab_size":12`),
		"tokenizer": func(_ string, o *local.Options) error {
			o.Tokenizer = func(string) (local.Tokenizer, error) { return nil, errors.New("a bad one") }
			return nil
		},
		"kernels": func(_ string, o *local.Options) error { o.Kernels = "cuda"; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, o := t.TempDir(), local.Options{Tokenizer: tokenizer}
			if err := sample.Write(dir, sample.Tiny()); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir, &o); err != nil {
				t.Fatal(err)
			}
			if _, err := local.Open(dir, o); fault.ReasonOf(err) != fault.ConfigInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func rewrite(path, from, to string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), from) {
		return errors.New(path + " has no " + from)
	}
	return os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o600)
}

func TestCount(t *testing.T) {
	t.Parallel()
	m := open(t, sample.Tiny(), local.Options{})
	if tokens, unknown := m.Count(strings.Repeat("a9", 100)); tokens != 200 || unknown != 100 {
		t.Errorf("got %d tokens, %d of them unknown", tokens, unknown)
	}
}

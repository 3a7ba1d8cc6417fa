package bert_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/sample"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/weights"
)

var update = flag.Bool("update", false, "write testdata/reference.json by ONNX Runtime; needs RAGMESH_ONNXRUNTIME")

// tokens is a text as the reference reads it.
type tokens struct {
	IDs   []int32 `json:"ids"`
	Types []int32 `json:"types,omitempty"`
}

// tolerance is how far a component may be from ONNX Runtime's.
const tolerance = 1e-5

// shapes are the generated models that are compared.
func shapes() map[string]sample.Shape {
	base := sample.Tiny()
	with := func(change func(*sample.Shape)) sample.Shape {
		s := base
		change(&s)
		return s
	}
	roberta := func(s *sample.Shape) {
		s.Family, s.Types, s.Padding, s.Positions = "xlm-roberta", 1, 1, 66
	}
	return map[string]sample.Shape{
		"mean":             base,
		"cls":              with(func(s *sample.Shape) { s.CLS = true }),
		"not normalised":   with(func(s *sample.Shape) { s.Normalize = false }),
		"half":             with(func(s *sample.Shape) { s.DType = "F16" }),
		"brain":            with(func(s *sample.Shape) { s.DType = "BF16" }),
		"odd widths":       with(func(s *sample.Shape) { s.Hidden, s.Heads, s.Intermediate = 78, 3, 101 }),
		"roberta":          with(roberta),
		"reranker":         with(func(s *sample.Shape) { s.Reranker, s.Prefix = true, "bert." }),
		"roberta reranker": with(func(s *sample.Shape) { roberta(s); s.Reranker, s.Prefix = true, "roberta." }),
	}
}

// texts are what goes through them: the shortest, the longest, a pair, and lengths between.
func texts(s sample.Shape) []tokens {
	random := rand.New(rand.NewPCG(7, 7))
	var all []tokens
	for _, n := range []int{1, 2, 7, 12, 33, s.MaxText} {
		t := tokens{}
		for range n {
			t.IDs = append(t.IDs, random.Int32N(int32(s.Vocabulary)))
		}
		if s.Types > 1 && n > 2 {
			t.Types = make([]int32, n)
			for i := n / 2; i < n; i++ {
				t.Types[i] = 1
			}
		}
		all = append(all, t)
	}
	return all
}

func open(t testing.TB, dir string, set *kernel.Set) *bert.Model {
	t.Helper()
	spec, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	file, err := weights.Open(spec.Weights)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	m, err := bert.Load(spec, file, set)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func generate(t testing.TB, s sample.Shape) string {
	t.Helper()
	dir := t.TempDir()
	if err := sample.Write(dir, s); err != nil {
		t.Fatal(err)
	}
	return dir
}

func run(t testing.TB, m *bert.Model, crew bert.Crew, all []tokens) [][]float32 {
	t.Helper()
	sequences := make([]*bert.Sequence, len(all))
	out := make([][]float32, len(all))
	for i, text := range all {
		out[i] = make([]float32, m.Width())
		sequences[i] = &bert.Sequence{IDs: text.IDs, Types: text.Types, Out: out[i]}
	}
	m.Run(crew, make([]bert.Space, crew.Threads()), &bert.Scratch{}, sequences)
	for i, s := range sequences {
		if s.Err != nil {
			t.Fatalf("text %d of %d tokens: %v", i, len(s.IDs), s.Err)
		}
	}
	return out
}

// difference returns the greatest between components.
func difference(t testing.TB, got, want [][]float32) float64 {
	t.Helper()
	var most float64
	if len(got) != len(want) {
		t.Fatalf("%d results, want %d", len(got), len(want))
	}
	for i := range got {
		if len(got[i]) != len(want[i]) {
			t.Fatalf("result %d has %d numbers, want %d", i, len(got[i]), len(want[i]))
		}
		for j := range got[i] {
			most = max(most, math.Abs(float64(got[i][j])-float64(want[i][j])))
		}
	}
	return most
}

// reference runs ONNX Runtime; it skips where there is none.
func reference(t testing.TB, dir string, all []tokens) [][]float32 {
	t.Helper()
	python := os.Getenv("RAGMESH_ONNXRUNTIME")
	if python == "" {
		t.Skip("RAGMESH_ONNXRUNTIME names no Python that has onnxruntime; see testdata/reference.py")
	}
	in, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), python, "../testdata/reference.py", dir)
	command.Stdin, command.Stderr = bytes.NewReader(in), os.Stderr
	text, err := command.Output()
	if err != nil {
		t.Fatalf("run ONNX Runtime: %v", err)
	}
	var out [][]float32
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

const recorded = "../testdata/reference.json"

func TestSmallModelsAgreeWithONNXRuntime(t *testing.T) {
	if *update {
		results := map[string][][]float32{}
		for name, shape := range shapes() {
			results[name] = reference(t, generate(t, shape), texts(shape))
		}
		text, err := json.Marshal(results)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(recorded, append(bytes.ReplaceAll(text, []byte("],"), []byte("],\n")), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][][]float32
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for name, shape := range shapes() {
		for _, set := range kernel.Sets() {
			t.Run(filepath.Join(name, set.Name()), func(t *testing.T) {
				t.Parallel()
				m := open(t, generate(t, shape), set)
				got := run(t, m, bert.Alone{}, texts(shape))
				if d := difference(t, got, want[name]); d > tolerance {
					t.Errorf("differs from ONNX Runtime by %.1e", d)
				} else {
					t.Logf("differs from ONNX Runtime by %.1e at most", d)
				}
			})
		}
	}
}

// TestLargeModelsAgreeWithONNXRuntime takes a generated model of a real one's size, and a real one that RAGMESH_MODEL names.
func TestLargeModelsAgreeWithONNXRuntime(t *testing.T) {
	shape := sample.MiniLM()
	for name, dir := range map[string]string{"generated": "", "real": os.Getenv("RAGMESH_MODEL")} {
		t.Run(name, func(t *testing.T) {
			if os.Getenv("RAGMESH_ONNXRUNTIME") == "" {
				t.Skip("RAGMESH_ONNXRUNTIME names no Python that has onnxruntime; see testdata/reference.py")
			}
			switch {
			case name == "generated":
				dir = generate(t, shape)
			case dir == "":
				t.Skip("RAGMESH_MODEL names no folder with a model of MiniLM's vocabulary")
			}
			want := reference(t, dir, texts(shape))
			for _, set := range kernel.Sets() {
				got := run(t, open(t, dir, set), bert.Alone{}, texts(shape))
				d := difference(t, got, want)
				t.Logf("%s differs from ONNX Runtime by %.1e at most", set.Name(), d)
				if d > tolerance {
					t.Errorf("%s is too far off", set.Name())
				}
			}
		})
	}
}

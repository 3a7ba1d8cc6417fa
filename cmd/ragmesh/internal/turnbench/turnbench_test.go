package turnbench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
)

func ms(all ...int) []outcome {
	out := make([]outcome, len(all))
	for i, n := range all {
		out[i] = outcome{took: time.Duration(n) * time.Millisecond, firstToken: time.Duration(n) * time.Millisecond / 2}
	}
	return out
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	all := append(ms(10, 20, 30, 40), outcome{took: time.Hour, err: errors.New("gone")}, outcome{err: errors.New("later")})
	want := Side{
		Count: 4, Errors: 2, FirstError: "gone", PerSecond: 2,
		Latency: Latency{P50: 20, P95: 40, P99: 40}, FirstToken: Latency{P50: 10, P95: 20, P99: 20},
	}
	if diff := cmp.Diff(want, summarise(all, 2*time.Second)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Side{}, summarise(nil, time.Second)); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
}

func TestRatio(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b [][]outcome
		want Ratio
	}{
		"rounds differ":      {[][]outcome{ms(20), ms(30)}, [][]outcome{ms(10), ms(10)}, Ratio{Value: 2, Least: 2, Most: 3}},
		"a round without":    {[][]outcome{ms(20), ms(40)}, [][]outcome{nil, ms(10)}, Ratio{Value: 2, Least: 4, Most: 4}},
		"nothing to compare": {[][]outcome{ms(20)}, [][]outcome{nil}, Ratio{}},
	} {
		if diff := cmp.Diff(c.want, ratio(c.a, c.b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPairAddsUpWhatTurnsSay(t *testing.T) {
	t.Parallel()
	turn := func(took int, facts turnFacts) outcome {
		return outcome{took: time.Duration(took) * time.Millisecond, turn: &facts}
	}
	p := newPair("mock", 2, sides{
		direct: [][]outcome{ms(10)}, sequence: [][]outcome{ms(15)},
		turns: [][]outcome{{
			turn(20, turnFacts{outcome: "answered", slowest: 4 * time.Millisecond, closing: time.Millisecond, stages: map[string]time.Duration{"retrieve": 4 * time.Millisecond}}),
			turn(20, turnFacts{outcome: "answered", slowest: 4 * time.Millisecond, degraded: []string{"llm-gateway: overloaded"}}),
		}},
		busy: 6 * time.Millisecond, own: 2 * time.Millisecond,
	}, spawn.Usage{RSS: 5, Goroutines: 7})
	got := []any{p.Added, p.Closing, p.CPU, p.DirectCPU, p.Loaded, p.Outcomes, p.Degradations, p.Stages, p.ToDirect.Value}
	want := []any{
		6.0, 0.0, 3.0, 2.0, Memory{RSS: 5, Goroutines: 7}, []measure.Count{{Name: "answered", Times: 2}}, []measure.Count{{Name: "llm-gateway: overloaded", Times: 1}},
		map[string]float64{"retrieve": 4}, 2.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	r := &Report{Idle: Idle{Memory: Memory{RSS: 121_000_000}}, Pairs: []Pair{{CPU: 1.5}, {CPU: 2, Loaded: Memory{RSS: 200_000_000}}}}
	var met []bool
	for _, target := range r.Targets() {
		met = append(met, target.Met)
	}
	if diff := cmp.Diff([]bool{true, false, true}, met); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadIsBounded(t *testing.T) {
	t.Parallel()
	var next atomic.Uint64
	var most, now atomic.Int64
	work := func(context.Context, uint64) outcome {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			seen := most.Load()
			if n <= seen || most.CompareAndSwap(seen, n) {
				return outcome{}
			}
		}
	}
	all, _ := load(t.Context(), 3, bound{d: time.Minute, n: 50}, &next, work)
	if len(all) != 50 || next.Load() != 50 || most.Load() > 3 {
		t.Errorf("%d pieces of work, %d numbers, %d at once; want 50, 50, at most 3", len(all), next.Load(), most.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	all, _ = load(ctx, 2, bound{d: time.Hour}, &next, func(ctx context.Context, _ uint64) outcome {
		cancel()
		return outcome{err: ctx.Err()}
	})
	if len(all) > 2 {
		t.Errorf("%d pieces of work after the caller had gone", len(all))
	}
	all, wall := load(t.Context(), 2, bound{d: 100 * time.Millisecond}, &next, func(context.Context, uint64) outcome { return outcome{} })
	if len(all) == 0 || wall < 100*time.Millisecond {
		t.Errorf("%d pieces of work within %s, want some and 100 ms", len(all), wall)
	}
}

func TestCorpusIsRepeatable(t *testing.T) {
	t.Parallel()
	read := func(c Corpus) (all []string) {
		for _, item := range c.Items {
			r, err := item.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, item.URI, string(b))
		}
		return append(all, c.Questions...)
	}
	first, second := Generate(7, 3), Generate(7, 3)
	if diff := cmp.Diff(read(first), read(second)); diff != "" {
		t.Errorf("same seed (-first +second):\n%s", diff)
	}
	if cmp.Equal(read(first), read(Generate(7, 4))) {
		t.Error("another seed gives the same corpus")
	}
	uris := map[string]bool{}
	for _, item := range Generate(1200, 1).Items {
		uris[item.Title] = true
	}
	if len(uris) != 1200 {
		t.Errorf("1200 documents have %d subjects", len(uris))
	}
	if len(first.Questions) != 7*len(facts) {
		t.Errorf("%d questions about 7 documents", len(first.Questions))
	}
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "questions.txt")
	write := func(s string) {
		if err := os.WriteFile(file, bytes.NewBufferString(s).Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("\n  What is it? \r\n\n多少钱？")
	got, err := Questions(file)
	if diff := cmp.Diff([]string{"What is it?", "多少钱？"}, got); diff != "" || err != nil {
		t.Errorf("(-want +got), %v:\n%s", err, diff)
	}
	write(" \n")
	if got, err := Questions(file); err == nil {
		t.Errorf("Questions = %v for a file without one", got)
	}
}

func TestFairRatios(t *testing.T) {
	t.Parallel()
	rounds, p50, p95 := fairRatios([][]outcome{ms(10, 10, 20), ms(10, 10, 10), nil}, [][]outcome{ms(20, 20, 60), ms(10, 10, 20), ms(5)})
	if len(rounds) != 3 || rounds[0].Beside.P95 != 60 {
		t.Errorf("rounds %+v", rounds)
	}
	if diff := cmp.Diff(Ratio{Value: 1, Least: 1, Most: 2}, p50); diff != "" {
		t.Errorf("medians (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Ratio{Value: 2, Least: 2, Most: 3}, p95); diff != "" {
		t.Errorf("p95 (-want +got):\n%s", diff)
	}
}

package search_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// storeFunc is a store of one behaviour.
type storeFunc func(ctx context.Context, q store.Query) (store.Candidates, error)

func (f storeFunc) Candidates(ctx context.Context, _ string, q store.Query) (store.Candidates, error) {
	return f(ctx, q)
}

func searcher(t *testing.T, s search.Store) *search.Searcher {
	t.Helper()
	strategies := map[string]search.Strategy{}
	for name, kind := range map[string]search.Type{
		"keyword": search.Keyword, "vector": search.Vector, "hybrid": search.Hybrid, "older": search.VectorPlusKeyword,
	} {
		strategy := search.Defaults()
		strategy.Type = kind
		strategies[name] = strategy
	}
	out, err := search.New(search.Config{Strategies: strategies, Default: "keyword"},
		search.Deps{Store: s, Manifest: allLive("1"), Observer: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// candidates cuts a text into chunks at the given ranges.
func candidates(text string, ranges ...[2]int) storeFunc {
	return func(context.Context, store.Query) (store.Candidates, error) {
		out := store.Candidates{Stats: rank.Stats{Chunks: 100, AverageLength: 5}}
		for i, r := range ranges {
			out.Found = append(out.Found, store.Candidate{
				Chunk: store.Chunk{Ordinal: i, Start: r[0], End: r[1]}, DocumentID: "d", Hash: "1", Text: text[r[0]:r[1]],
				Terms: rank.Read("", text[r[0]:r[1]]).Encode(),
			})
		}
		return out, nil
	}
}

func TestNeighboursJoin(t *testing.T) {
	t.Parallel()
	const text = "zero walrus one walrus walrus two three four walrus five"
	tests := map[string]struct {
		ranges [][2]int
		top    int
		want   []string
	}{
		"overlapping chunks take one place": {[][2]int{{0, 15}, {12, 33}}, 8, []string{"zero walrus one walrus walrus two"}},
		"in either order":                   {[][2]int{{12, 33}, {0, 15}}, 8, []string{"zero walrus one walrus walrus two"}},
		"a chain":                           {[][2]int{{0, 15}, {12, 33}, {30, 56}}, 8, []string{text}},
		"neighbours without overlap stay":   {[][2]int{{0, 11}, {16, 33}}, 8, []string{text[16:33], text[0:11]}},
		"the rest is cut, neighbours of the best are not": {
			[][2]int{{16, 33}, {46, 56}, {12, 22}}, 1, []string{text[12:33]},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := searcher(t, candidates(text, tc.ranges...)).Search(t.Context(), search.Request{Query: "walrus", TopK: tc.top})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range r.Passages {
				got = append(got, p.Text)
				if p.Text != text[p.Start:p.End] {
					t.Errorf("passage %q is not the text in its range, %q", p.Text, text[p.Start:p.End])
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("passages (-want +got):\n%s", diff)
			}
			if r.Candidates != len(tc.ranges) {
				t.Errorf("%d candidates, want %d", r.Candidates, len(tc.ranges))
			}
		})
	}
}

func TestStrategies(t *testing.T) {
	t.Parallel()
	s := searcher(t, candidates("walrus", [2]int{0, 6}))
	tests := map[string]struct {
		reason   fault.Reason
		degraded string
	}{
		"":        {},
		"keyword": {},
		"hybrid":  {degraded: "keyword_only"},
		"older":   {degraded: "keyword_only"},
		"vector":  {degraded: "keyword_only"},
		"nobody":  {reason: fault.StrategyNotFound},
	}
	for name, tc := range tests {
		r, err := s.Search(t.Context(), search.Request{Query: "walrus", Strategy: name})
		if fault.ReasonOf(err) != tc.reason {
			t.Errorf("%q: %v, want %v", name, err, tc.reason)
			continue
		}
		degraded := ""
		for _, d := range r.Degradations {
			degraded += d.Reason
		}
		if degraded != tc.degraded || err == nil && len(r.Passages) != 1 {
			t.Errorf("%q: degraded %q, %d passages", name, degraded, len(r.Passages))
		}
	}
}

func TestLateIndexIsADegradation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := storeFunc(func(ctx context.Context, _ store.Query) (store.Candidates, error) {
			<-ctx.Done()
			return store.Candidates{}, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		r, err := searcher(t, hangs).Search(ctx, search.Request{Query: "walrus"})
		if err != nil || len(r.Degradations) != 1 || r.Degradations[0].Reason != "timeout" {
			t.Errorf("result = %+v, %v", r, err)
		}
		if ctx.Err() != nil {
			t.Error("the answer came after the deadline")
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := searcher(t, hangs).Search(canceled, search.Request{Query: "walrus"}); !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled search gives %v", err)
		}
	})
}

func TestStoreFailureIsAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	s := searcher(t, storeFunc(func(context.Context, store.Query) (store.Candidates, error) { return store.Candidates{}, broken }))
	if _, err := s.Search(t.Context(), search.Request{Query: "walrus"}); !errors.Is(err, broken) {
		t.Errorf("err = %v", err)
	}
}

func TestStrategyFiles(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		name, content string
		ok            bool
	}{
		"keyword":          {"a.yaml", "retriever_type: keyword\ntop_k: 5\n", true},
		"as in the seed":   {"a.json", `{"retriever_type":"vector_plus_keyword","vector_store":"weaviate","index_name":"docs","keyword_weight":0.3,"similarity_threshold":0.65,"top_k":5}`, true},
		"unknown type":     {"a.yaml", "retriever_type: magic\n", false},
		"unknown key":      {"a.yaml", "topk: 5\n", false},
		"top_k too large":  {"a.yaml", "top_k: 1000\n", false},
		"fewer candidates": {"a.yaml", "top_k: 60\ncandidates: 50\n", false},
		"weight":           {"a.yaml", "keyword_weight: 2\n", false},
		"threshold":        {"a.yaml", "similarity_threshold: -1\n", false},
		"store":            {"a.yaml", "vector_store: elsewhere\n", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tc.name), []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.LoadDir(dir, search.Defaults(), ".yaml", ".json")
			if (err == nil) != tc.ok {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestUnknownDefault(t *testing.T) {
	t.Parallel()
	if _, err := search.New(search.Config{Default: "x"}, search.Deps{}); err == nil {
		t.Error("a default that is not there was taken")
	}
}

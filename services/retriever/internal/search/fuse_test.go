package search

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// candidate is a passage with a keyword score and, unless it is above 1, a similarity.
func candidate(id string, score, cosine float64) Passage {
	p := Passage{Score: score, Parts: map[string]float64{"bm25": score, "pairs": 0}}
	p.DocumentID, p.SourceURI = id, id
	if cosine <= 1 {
		p.Cosine, p.Embedded = cosine, true
	}
	return p
}

func TestFuse(t *testing.T) {
	t.Parallel()
	passages := func() []Passage {
		return []Passage{candidate("words", 10, .1), candidate("both", 5, .8), candidate("meaning", 0, .9), candidate("far", 0, .05), candidate("plain", 4, 2)}
	}
	for name, test := range map[string]struct {
		edit func(*Strategy)
		want []string
	}{
		"half and half": {func(*Strategy) {}, []string{"both", "words", "meaning", "plain", "far"}},
		"words only":    {func(s *Strategy) { s.KeywordWeight = 1 }, []string{"words", "both", "plain", "far", "meaning"}},
		"meaning only":  {func(s *Strategy) { s.KeywordWeight = 0 }, []string{"meaning", "both", "words", "far", "plain"}},
		"a threshold":   {func(s *Strategy) { s.SimilarityThreshold = .5 }, []string{"both", "words", "meaning", "plain"}},
		"by ranks":      {func(s *Strategy) { s.Fusion, s.SimilarityThreshold = RRF, .5 }, []string{"both", "meaning", "words", "plain"}},
		"vectors":       {func(s *Strategy) { s.Type, s.SimilarityThreshold = Vector, .5 }, []string{"meaning", "both"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Defaults()
			s.Type = Hybrid
			test.edit(&s)
			fused := s.fuse(passages())
			order(fused)
			var got []string
			for _, p := range fused {
				got = append(got, p.DocumentID)
				sum := 0.0
				for part, v := range p.Parts {
					if part != "cosine" {
						sum += v
					}
				}
				if math.Abs(sum-p.Score) > 1e-12 {
					t.Errorf("%s: %v does not add up to %v", p.DocumentID, p.Parts, p.Score)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoDocumentTakesAllPlaces(t *testing.T) {
	t.Parallel()
	var passages []Passage
	for i := range 6 {
		p := candidate("a", 10-float64(i), 2)
		p.Start, p.End = 100*i, 100*i+50
		passages = append(passages, p)
	}
	passages = append(passages, candidate("b", 1, 2))
	if got := joinNeighbours(passages, 4, 2); len(got) != 3 || got[2].DocumentID != "b" {
		t.Errorf("got %d passages, want two of a and one of b", len(got))
	}
}

// slow answers when its context ends.
type slow struct{}

func (slow) Query(ctx context.Context, _, _ string) ([]float32, store.Space, error) {
	<-ctx.Done()
	return nil, store.Space{}, ctx.Err()
}

func (slow) Behind(string) int { return 0 }

func (slow) Rerank(ctx context.Context, _, _, _ string, _ []string) ([]float64, string, error) {
	<-ctx.Done()
	return nil, "", ctx.Err()
}

type two struct{}

func (two) Candidates(_ context.Context, _ string, q store.Query) (store.Candidates, error) {
	if q.Nearest > 0 {
		return store.Candidates{}, errors.New("there is no vector to look for")
	}
	found := func(id, body string) store.Candidate {
		return store.Candidate{DocumentID: id, SourceURI: id, Text: body, Terms: rank.Read("", body).Encode()}
	}
	return store.Candidates{
		Found: []store.Candidate{found("a", "a walrus"), found("b", "a walrus on a walrus")},
		Stats: rank.Stats{Chunks: 2, AverageLength: 2, Frequency: map[string]int{"walrus": 2}},
	}, nil
}

func (two) Live(string) (store.Manifest, uint64) { return func(string) string { return "" }, 1 }

func (two) Hidden(string, document.Reader) func(string) bool { return nil }

func (two) Searched(context.Context, Result, time.Duration, error) {}

func TestModelsThatAreLateAreLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		strategy := Defaults()
		strategy.Type, strategy.Rerank = Hybrid, RerankModel
		s, err := New(Config{Strategies: map[string]Strategy{"s": strategy}, Default: "s"}, Deps{Store: two{}, Manifest: two{}, Observer: two{}, Embedder: slow{}, Reranker: slow{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		got, err := s.Search(ctx, Request{Workspace: "w", Query: "walrus"})
		if err != nil || len(got.Passages) != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		var reasons []string
		for _, d := range got.Degradations {
			reasons = append(reasons, d.Stage+"/"+d.Reason)
		}
		if diff := cmp.Diff([]string{"embed/keyword_only", "rerank/timeout"}, reasons); diff != "" || got.Embedding != "" || got.Reranker != "" {
			t.Errorf("degradations (-want +got):\n%s", diff)
		}
	})
}

// A passage that was made of two stands on the pages of both, and leaves what the store keeps as it was.
func TestJoinedPassagesHaveAllPages(t *testing.T) {
	t.Parallel()
	chunk := func(start, end int, pages ...document.Page) Passage {
		return Passage{Candidate: store.Candidate{
			Chunk: store.Chunk{Start: start, End: end, Pages: pages}, DocumentID: "a", Hash: "1", Text: strings.Repeat("x", end-start),
		}}
	}
	first, shared, last := document.Box{1}, document.Box{2}, document.Box{3}
	before := chunk(0, 20, document.Page{Number: 1, Boxes: []document.Box{first}}, document.Page{Number: 2, Boxes: []document.Box{shared}})
	after := chunk(10, 30, document.Page{Number: 2, Boxes: []document.Box{shared, last}}, document.Page{Number: 3})
	want := []document.Page{{Number: 1, Boxes: []document.Box{first}}, {Number: 2, Boxes: []document.Box{shared, last}}, {Number: 3}}
	for name, passages := range map[string][]Passage{"the later found first": {after, before}, "the earlier found first": {before, after}} {
		got := joinNeighbours(passages, 5, 0)
		if len(got) != 1 || got[0].Start != 0 || got[0].End != 30 {
			t.Fatalf("%s: %+v", name, got)
		}
		if diff := cmp.Diff(want, got[0].Pages); name == "the earlier found first" && diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(got[0].Pages) != 3 || len(got[0].Pages[1].Boxes) != 2 {
			t.Errorf("%s: pages %v", name, got[0].Pages)
		}
	}
	if len(before.Pages) != 2 || len(before.Pages[1].Boxes) != 1 || len(after.Pages[0].Boxes) != 2 {
		t.Errorf("what was found has changed: %v, %v", before.Pages, after.Pages)
	}
}

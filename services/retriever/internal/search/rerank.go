package search

import (
	"context"
	"errors"
	"time"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Reranker scores texts against a query.
type Reranker interface {
	// Rerank returns a score for each text and the model's name; ErrNoModel when there is none. An empty model is the default.
	Rerank(ctx context.Context, workspace, model, query string, texts []string) (scores []float64, by string, err error)
}

const (
	// leastRerank is what must be left of a search's time for a model to be asked.
	leastRerank = 50 * time.Millisecond
	// windowWeight is what a passage's best two sentences add to its score, by the lexical rerank.
	windowWeight = 0.3
)

// rerank puts the first passages in a better order, if there is time for it.
func (s *Searcher) rerank(ctx context.Context, r Request, strategy Strategy, top int, scorer *rank.Scorer, passages []Passage, out *Result) []Passage {
	first := passages[:min(len(passages), max(strategy.RerankCandidates, top))]
	if len(first) < 2 {
		return passages
	}
	switch strategy.Rerank {
	case RerankLexical:
		if !lexical(ctx, scorer, first) {
			out.Degradations = append(out.Degradations, unranked("timeout", "There was no time left to rank the passages once more."))
		}
		return passages
	case RerankModel:
		scores, by, problem := s.byModel(ctx, r, strategy, first)
		if problem != nil {
			out.Degradations = append(out.Degradations, *problem)
			return passages
		}
		for i := range first {
			first[i].Score = scores[i]
			parts := map[string]float64{"rerank": scores[i]}
			if first[i].Embedded {
				parts["cosine"] = first[i].Cosine
			}
			first[i].Parts = parts
		}
		order(first)
		out.Reranker = by
		return first // the rest have scores of another kind
	}
	return passages
}

func (s *Searcher) byModel(ctx context.Context, r Request, strategy Strategy, passages []Passage) ([]float64, string, *Degradation) {
	problem := func(reason, message string) *Degradation {
		d := unranked(reason, message)
		return &d
	}
	if s.reranker == nil {
		return nil, "", problem("unavailable", "No rerank model can be reached; the passages are in the order of the search.")
	}
	if at, ok := ctx.Deadline(); ok && time.Until(at) < leastRerank {
		return nil, "", problem("timeout", "There was no time left for the rerank model; the passages are in the order of the search.")
	}
	texts := make([]string, len(passages))
	for i, p := range passages {
		texts[i] = store.Head(p.Title, p.HeadingPath) + "\n" + p.Text
	}
	scores, by, err := s.reranker.Rerank(ctx, r.Workspace, strategy.RerankModel, r.Query, texts)
	switch {
	case err == nil && len(scores) == len(passages):
		return scores, by, nil
	case errors.Is(err, ErrNoModel):
		return nil, "", problem("unavailable", "No rerank model is configured (rerankers of llm-gateway.yaml names them); the passages are in the order of the search.")
	case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		return nil, "", problem("timeout", "The rerank model did not answer in time; the passages are in the order of the search.")
	}
	return nil, "", problem("unavailable", "The rerank model cannot be used right now; the passages are in the order of the search.")
}

func unranked(reason, message string) Degradation {
	return Degradation{Stage: "rerank", Reason: reason, Message: message}
}

// lexical adds to each passage what its best two neighbouring sentences say about the query. It is false, and nothing is
// changed, when time runs out.
func lexical(ctx context.Context, scorer *rank.Scorer, passages []Passage) bool {
	best, most := make([]float64, len(passages)), 0.0
	for i, p := range passages {
		if ctx.Err() != nil {
			return false
		}
		spans := text.Sentences(p.Text)
		for j := range spans {
			window := p.Text[spans[j].Start:spans[min(j+1, len(spans)-1)].End]
			best[i] = max(best[i], scorer.Score(rank.Read("", window).Encode()).Total())
		}
		most = max(most, best[i])
	}
	if most == 0 {
		return true
	}
	scale := windowWeight * passages[0].Score / most
	for i := range passages {
		passages[i].explain()
		passages[i].Parts["window"] = best[i] * scale
		passages[i].Score += best[i] * scale
	}
	order(passages)
	return true
}

package local

import (
	"context"
	"math"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/queue"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/token"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Rerank scores texts against a query, from 0 to 1: what the model says, through the logistic function, which keeps the order. Of a
// pair that is too long, the longer text is cut.
func (m *Model) Rerank(ctx context.Context, r provider.RerankRequest) (provider.Reranked, error) {
	if m.facts.Kind != manifest.Reranker {
		return provider.Reranked{}, fault.New(fault.Invalid, fault.InvalidRequest, "model %q makes vectors; it is no reranker", r.Model)
	}
	if strings.TrimSpace(r.Query) == "" {
		return provider.Reranked{}, fault.New(fault.Invalid, fault.InvalidRequest, "the query is empty").WithField("query", "is empty")
	}
	sequences, usage, err := m.sequences(ctx, r.Texts, func(text string) token.Encoding { return m.tokens.EncodePair(r.Query, text, m.facts.MaxTokens) })
	if err != nil {
		return provider.Reranked{}, err
	}
	if err := m.do(ctx, queue.Ranking, sequences); err != nil {
		return provider.Reranked{}, err
	}
	out := provider.Reranked{Scores: make([]float64, len(sequences)), Usage: usage}
	for i, s := range sequences {
		out.Scores[i] = 1 / (1 + math.Exp(-float64(s.Out[0])))
	}
	return out, nil
}

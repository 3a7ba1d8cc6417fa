package provider

import (
	"context"

	"github.com/ragmesh/ragmesh/libs/text"
)

// EmbedRequest asks for vectors.
type EmbedRequest struct {
	// Model is the provider's own model name.
	Model string
	Texts []string
	// Dimensions asks for shorter vectors than the model's own; 0 for those.
	Dimensions int
	// Urgent says that somebody waits for the vectors, as for a query's: they go before others where there is a queue.
	Urgent bool
}

// Embedded are vectors, one per text, in order, all of one dimension, none of length 0.
type Embedded struct {
	Vectors [][]float32
	Usage   Usage
	// Unknown are those of the texts' tokens that the model has nothing for, where the provider tells.
	Unknown int
}

// Embedder makes vectors. Errors are as a Provider's.
type Embedder interface {
	Embed(ctx context.Context, r EmbedRequest) (Embedded, error)
}

// RerankRequest asks for scores.
type RerankRequest struct {
	Model string
	Query string
	Texts []string
}

// Reranked are scores, one per text, in order; higher is better.
type Reranked struct {
	Scores []float64
	Usage  Usage
}

// Reranker scores texts against a query. Errors are as a Provider's.
type Reranker interface {
	Rerank(ctx context.Context, r RerankRequest) (Reranked, error)
}

// EstimateTexts is the usage of a call whose provider reports none.
func EstimateTexts(texts []string) Usage {
	u := Usage{Estimated: true}
	for _, t := range texts {
		u.Prompt += text.EstimateTokens(t)
	}
	return u
}

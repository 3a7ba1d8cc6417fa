package llmgateway

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// LocalModel is an open model folder, for whoever wants to know what is in it. Close gives back what it takes.
type LocalModel struct {
	model *local.Model
	// Facts is what there is to know of it.
	Facts LocalFacts
}

// LocalFacts is what there is to know of a local model.
type LocalFacts struct {
	// Reranker says that it scores texts against a query; else it makes vectors.
	Reranker bool `json:"reranker"`
	// SHA256 is that of the weights, as publishers state it; Revision covers all that vectors depend on.
	SHA256   string `json:"sha256"`
	Revision string `json:"revision"`
	// Dimensions of a vector; 0 for a reranker. MaxTokens is the longest text, in tokens.
	Dimensions int    `json:"dimensions,omitempty"`
	MaxTokens  int    `json:"max_tokens"`
	Pooling    string `json:"pooling,omitempty"`
	Normalized bool   `json:"normalized,omitempty"`
	// QueryPrefix and PassagePrefix are put before texts unless the configuration says otherwise.
	QueryPrefix   string `json:"query_prefix,omitempty"`
	PassagePrefix string `json:"passage_prefix,omitempty"`
	// Kernels is what it computes with on this machine.
	Kernels string `json:"kernels"`
	// Load is how long opening took.
	Load time.Duration `json:"load_ns"`
}

// OpenLocalModel opens a model's folder as the gateway would.
func OpenLocalModel(dir string) (*LocalModel, error) {
	began := time.Now()
	m, err := local.Open(dir, local.Options{})
	if err != nil {
		return nil, err
	}
	load := time.Since(began)
	f := m.Facts()
	facts := LocalFacts{
		Reranker: f.Kind == manifest.Reranker, SHA256: f.WeightsSHA256, Revision: f.Hash, Dimensions: f.Dimension, MaxTokens: f.MaxTokens,
		QueryPrefix: f.QueryPrompt, PassagePrefix: f.PassagePrompt, Kernels: f.Kernels, Load: load,
	}
	if !facts.Reranker {
		facts.Pooling, facts.Normalized = f.Pooling.String(), f.Normalized
	}
	return &LocalModel{model: m, Facts: facts}, nil
}

// Close ends the model.
func (m *LocalModel) Close() { m.model.Close() }

// Unknown returns the share of a text's tokens that the model has nothing for, 0 to 1.
func (m *LocalModel) Unknown(text string) float64 {
	tokens, unknown := m.model.Count(text)
	if tokens == 0 {
		return 0
	}
	return float64(unknown) / float64(tokens)
}

// Run embeds texts, or scores them against each other where the model is a reranker, and returns how many tokens that were.
func (m *LocalModel) Run(ctx context.Context, texts []string) (tokens int, err error) {
	if m.Facts.Reranker {
		got, err := m.model.Rerank(ctx, provider.RerankRequest{Query: texts[0], Texts: texts})
		return got.Usage.Prompt, err
	}
	got, err := m.model.Embed(ctx, provider.EmbedRequest{Texts: texts})
	return got.Usage.Prompt, err
}

// Similarity is the cosine of two texts' vectors, or the score of the second against the first.
func (m *LocalModel) Similarity(ctx context.Context, a, b string) (float64, error) {
	if m.Facts.Reranker {
		got, err := m.model.Rerank(ctx, provider.RerankRequest{Query: a, Texts: []string{b}})
		if err != nil {
			return 0, err
		}
		return got.Scores[0], nil
	}
	first, err := m.model.Embed(ctx, provider.EmbedRequest{Texts: []string{m.Facts.QueryPrefix + a}})
	if err != nil {
		return 0, err
	}
	second, err := m.model.Embed(ctx, provider.EmbedRequest{Texts: []string{m.Facts.PassagePrefix + b}})
	if err != nil {
		return 0, err
	}
	if len(first.Vectors[0]) != len(second.Vectors[0]) {
		return 0, fmt.Errorf("vectors of %d and %d numbers", len(first.Vectors[0]), len(second.Vectors[0]))
	}
	dot, n, o := 0.0, 0.0, 0.0
	for i, x := range first.Vectors[0] {
		y := second.Vectors[0][i]
		dot, n, o = dot+float64(x)*float64(y), n+float64(x)*float64(x), o+float64(y)*float64(y)
	}
	return dot / math.Sqrt(n*o), nil
}

// Tokens returns how many tokens a text has.
func (m *LocalModel) Tokens(text string) int {
	tokens, _ := m.model.Count(text)
	return tokens
}

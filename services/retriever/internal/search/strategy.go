package search

import (
	"slices"

	"github.com/ragmesh/ragmesh/libs/config"
)

// Type is how a strategy finds passages.
type Type string

// The types of strategy. Hybrid types search by keywords alone while there is no embedding model, and say so.
const (
	Keyword           Type = "keyword"
	Vector            Type = "vector"
	Hybrid            Type = "hybrid"
	VectorPlusKeyword Type = "vector_plus_keyword" // an older name of hybrid
)

// Strategy is one file of retrieval/.
type Strategy struct {
	Type                Type    `yaml:"retriever_type"       doc:"How passages are found: keyword, vector, hybrid or vector_plus_keyword (the same as hybrid)."`
	TopK                int     `yaml:"top_k"                doc:"Passages returned when a request doesn't say. Count, 1 to 100."`
	Candidates          int     `yaml:"candidates"           doc:"Candidates scored exactly. Count, top_k to 1000."`
	KeywordWeight       float64 `yaml:"keyword_weight"       doc:"Share of keywords in a hybrid score. 0 to 1; no effect on keyword."`
	SimilarityThreshold float64 `yaml:"similarity_threshold" doc:"Least cosine similarity of a vector hit. 0 to 1; no effect on keyword."`
	VectorStore         string  `yaml:"vector_store"         doc:"Store the vectors are in: embedded or weaviate. No effect on keyword."`
	IndexName           string  `yaml:"index_name"           doc:"Name of the index in that store; empty for the default. No effect on keyword."`
}

// Defaults returns the strategy that a file's keys are laid over.
func Defaults() Strategy {
	return Strategy{Type: Keyword, TopK: 8, Candidates: 50, KeywordWeight: 0.3, VectorStore: "embedded"}
}

// Validate says what in a strategy is not as it must be.
func (s Strategy) Validate() error {
	types := []Type{Keyword, Vector, Hybrid, VectorPlusKeyword}
	stores := []string{"embedded", "weaviate"}
	switch {
	case !slices.Contains(types, s.Type):
		return config.Invalid("retriever_type", "must be one of %[2]v, not %[1]q", s.Type, types)
	case s.TopK < 1 || s.TopK > 100:
		return config.Invalid("top_k", "must be between 1 and 100, not %d", s.TopK)
	case s.Candidates < s.TopK || s.Candidates > 1000:
		return config.Invalid("candidates", "must be between top_k and 1000, not %d", s.Candidates)
	case s.KeywordWeight < 0 || s.KeywordWeight > 1:
		return config.Invalid("keyword_weight", "must be between 0 and 1, not %v", s.KeywordWeight)
	case s.SimilarityThreshold < 0 || s.SimilarityThreshold > 1:
		return config.Invalid("similarity_threshold", "must be between 0 and 1, not %v", s.SimilarityThreshold)
	case !slices.Contains(stores, s.VectorStore):
		return config.Invalid("vector_store", "must be one of %[2]v, not %[1]q", s.VectorStore, stores)
	}
	return nil
}

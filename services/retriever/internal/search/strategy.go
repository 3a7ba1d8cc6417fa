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

// Fusion is how a hybrid strategy makes one order of two.
type Fusion string

// The fusions.
const (
	Weighted Fusion = "weighted" // by scores
	RRF      Fusion = "rrf"      // by ranks
)

// Rerank is what looks at the first passages once more.
type Rerank string

// The reranks.
const (
	RerankNone    Rerank = "none"
	RerankLexical Rerank = "lexical" // built in: the best two sentences
	RerankModel   Rerank = "model"   // llm-gateway's
)

// Strategy is one file of retrieval/.
type Strategy struct {
	Type                Type    `yaml:"retriever_type"       doc:"How passages are found: keyword, vector, hybrid or vector_plus_keyword (the same as hybrid). All but keyword need embedding.model of retriever.yaml; without it, or while the model doesn't answer, they search by keywords and say so."`
	TopK                int     `yaml:"top_k"                doc:"Passages returned when a request doesn't say. Count, 1 to 100."`
	Candidates          int     `yaml:"candidates"           doc:"Candidates scored exactly, of keywords and vectors each. Count, top_k to 1000."`
	Fusion              Fusion  `yaml:"fusion"               oneof:"weighted,rrf" doc:"How hybrid makes one order of two: weighted adds the keyword score, as a share of the best, and the cosine similarity in the proportion of keyword_weight; rrf adds the reciprocals of the ranks (60 + rank) in that proportion. No effect on others."`
	KeywordWeight       float64 `yaml:"keyword_weight"       doc:"Share of keywords in a hybrid score; the rest is the vectors'. 0 to 1; no effect on others."`
	SimilarityThreshold float64 `yaml:"similarity_threshold" doc:"Least cosine similarity of a vector hit: what is less similar counts for its keywords only. 0 to 1, where models differ in what they call similar; no effect on keyword."`
	Rerank              Rerank  `yaml:"rerank"               oneof:"none,lexical,model" doc:"What looks at the first passages once more: nothing; lexical, by their best two sentences; model, by a rerank model of llm-gateway, if there is time for it."`
	RerankCandidates    int     `yaml:"rerank_candidates"    doc:"Passages that are ranked once more; at least those returned. Count, 1 to 200."`
	RerankModel         string  `yaml:"rerank_model"         doc:"Rerank model; empty for llm-gateway's default."`
	PerDocument         int     `yaml:"per_document"         doc:"Most passages of one document, so that others have a place. Count, up to 100; 0 for any number."`
	VectorStore         string  `yaml:"vector_store"         doc:"Store the strategy was written for: embedded or weaviate. The one that is searched is retriever.yaml's store."`
	IndexName           string  `yaml:"index_name"           doc:"Name of the index it was written for. The one that is searched is the request's workspace."`
}

// Defaults returns the strategy that a file's keys are laid over.
func Defaults() Strategy {
	return Strategy{Type: Keyword, TopK: 8, Candidates: 50, Fusion: Weighted, KeywordWeight: 0.5, Rerank: RerankNone, RerankCandidates: 30, VectorStore: "embedded"}
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
	case s.RerankCandidates < 1 || s.RerankCandidates > 200:
		return config.Invalid("rerank_candidates", "must be between 1 and 200, not %d", s.RerankCandidates)
	case s.PerDocument < 0 || s.PerDocument > 100:
		return config.Invalid("per_document", "must be between 0 and 100, not %d", s.PerDocument)
	case !slices.Contains(stores, s.VectorStore):
		return config.Invalid("vector_store", "must be one of %[2]v, not %[1]q", s.VectorStore, stores)
	}
	return nil
}

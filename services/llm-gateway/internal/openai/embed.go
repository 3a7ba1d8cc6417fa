package openai

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

type embedRequest struct {
	Model      string   `json:"model"`
	Input      []string `json:"input"`
	Encoding   string   `json:"encoding_format"`
	Dimensions int      `json:"dimensions,omitempty"`
}

type embedAnswer struct {
	Data []struct {
		Index     *int      `json:"index"`
		Embedding embedding `json:"embedding"`
	} `json:"data"`
	Usage *usage `json:"usage"`
}

// embedding is a vector: numbers, or little endian float32 in base64. Servers send the one although asked for the other.
type embedding []float32

// UnmarshalJSON implements json.Unmarshaler.
func (e *embedding) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		return json.Unmarshal(b, (*[]float32)(e))
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("decode vector: %w", err)
	}
	if len(raw)%4 != 0 {
		return errors.New("decode vector: not a whole number of float32")
	}
	*e = make(embedding, len(raw)/4)
	for i := range *e {
		(*e)[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return nil
}

var _ provider.Embedder = (*Provider)(nil)

// Embed makes vectors of texts: POST /embeddings as OpenAI, vLLM, Ollama, llama.cpp, TEI, Jina and others have it.
func (p *Provider) Embed(ctx context.Context, r provider.EmbedRequest) (provider.Embedded, error) {
	encoding := "base64" // a quarter of the bytes
	if p.cfg.PlainFloats {
		encoding = "float"
	}
	var a embedAnswer
	if err := p.server.Call(ctx, p.path(r.Model, "/embeddings"), embedRequest{Model: r.Model, Input: r.Texts, Encoding: encoding, Dimensions: r.Dimensions}, &a); err != nil {
		return provider.Embedded{}, err
	}
	if len(a.Data) != len(r.Texts) {
		return provider.Embedded{}, exchange.Unreadable(fmt.Errorf("%d vectors for %d texts", len(a.Data), len(r.Texts)))
	}
	vectors := make([][]float32, len(r.Texts))
	for i, d := range a.Data {
		at := i
		if d.Index != nil {
			at = *d.Index
		}
		if at < 0 || at >= len(vectors) || vectors[at] != nil {
			return provider.Embedded{}, exchange.Unreadable(fmt.Errorf("vector %d stands at %d", i, at))
		}
		vectors[at] = d.Embedding
	}
	prompt := 0
	if a.Usage != nil {
		prompt = a.Usage.Prompt
	}
	return exchange.Vectors(r, vectors, prompt)
}

// rerankRequest is Cohere's and Jina's; TEI names the texts otherwise.
type rerankRequest struct {
	Model     string   `json:"model,omitempty"`
	Query     string   `json:"query"`
	Documents []string `json:"documents,omitempty"`
	TopN      int      `json:"top_n,omitempty"`
	Texts     []string `json:"texts,omitempty"`
	Truncate  bool     `json:"truncate,omitempty"`
}

type rerankAnswer struct {
	Results []rerankScore `json:"results"`
	Meta    struct {
		Tokens struct {
			Input float64 `json:"input_tokens"`
		} `json:"tokens"`
	} `json:"meta"`
	Usage struct {
		Total int `json:"total_tokens"`
	} `json:"usage"`
}

type rerankScore struct {
	Index     int      `json:"index"`
	Relevance *float64 `json:"relevance_score"`
	Score     *float64 `json:"score"`
}

// RerankFormat is which rerank API a server speaks.
type RerankFormat string

// The rerank APIs.
const (
	Cohere RerankFormat = "cohere" // also vLLM
	Jina   RerankFormat = "jina"   // also vLLM, llama.cpp, Xinference
	TEI    RerankFormat = "tei"    // Hugging Face text-embeddings-inference
)

var _ provider.Reranker = (*Provider)(nil)

// Rerank scores texts against a query: POST /rerank.
func (p *Provider) Rerank(ctx context.Context, r provider.RerankRequest) (provider.Reranked, error) {
	var scores []rerankScore
	var out provider.Reranked
	switch p.cfg.Rerank {
	case TEI:
		if err := p.server.Call(ctx, "/rerank", rerankRequest{Query: r.Query, Texts: r.Texts, Truncate: true}, &scores); err != nil {
			return out, err
		}
	case Cohere, Jina:
		var a rerankAnswer
		if err := p.server.Call(ctx, "/rerank", rerankRequest{Model: r.Model, Query: r.Query, Documents: r.Texts, TopN: len(r.Texts)}, &a); err != nil {
			return out, err
		}
		scores, out.Usage.Prompt = a.Results, max(a.Usage.Total, int(min(max(a.Meta.Tokens.Input, 0), 1<<30)))
	default:
		return out, exchange.Cannot("this provider's type has no rerank API; it is cohere, jina or tei that have one")
	}
	out.Scores = make([]float64, len(r.Texts))
	seen := make([]bool, len(r.Texts))
	for _, s := range scores {
		score := s.Relevance
		if score == nil {
			score = s.Score
		}
		if s.Index < 0 || s.Index >= len(seen) || seen[s.Index] || score == nil || math.IsNaN(*score) {
			return provider.Reranked{}, exchange.Unreadable(errors.New("a score is of no text, or no number"))
		}
		out.Scores[s.Index], seen[s.Index] = *score, true
	}
	if len(scores) != len(r.Texts) {
		return provider.Reranked{}, exchange.Unreadable(fmt.Errorf("%d scores for %d texts", len(scores), len(r.Texts)))
	}
	if out.Usage.Prompt == 0 {
		out.Usage = provider.EstimateTexts(append([]string{r.Query}, r.Texts...))
	}
	return out, nil
}

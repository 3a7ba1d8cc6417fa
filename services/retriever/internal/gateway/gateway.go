// Package gateway asks llm-gateway for vectors and rankings, in the retriever's own name.
package gateway

import (
	"context"
	"errors"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	"github.com/ragmesh/ragmesh/services/retriever/internal/embed"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Gateway is llm-gateway.
type Gateway struct {
	client llmv1connect.LLMServiceClient
}

var (
	_ embed.Gateway   = Gateway{}
	_ search.Reranker = Gateway{}
)

// New returns the gateway behind a connection.
func New(c rpc.Conn) Gateway {
	return Gateway{llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...)}
}

// Embed implements [embed.Gateway].
func (g Gateway) Embed(ctx context.Context, workspace, model string, query bool, texts []string) ([][]float32, store.Space, error) {
	purpose := llmv1.EmbedPurpose_EMBED_PURPOSE_PASSAGE
	if query {
		purpose = llmv1.EmbedPurpose_EMBED_PURPOSE_QUERY
	}
	answer, err := g.client.Embed(inOwnName(ctx, workspace), &llmv1.EmbedRequest{Workspace: workspace, Model: model, Texts: texts, Purpose: purpose})
	if err != nil {
		return nil, store.Space{}, err
	}
	out := make([][]float32, 0, len(texts))
	for _, v := range answer.GetVectors() {
		out = append(out, v.GetValues())
	}
	space := store.Space{Model: answer.GetModel(), Revision: answer.GetModelRevision()}
	if len(out) != len(texts) || len(out) == 0 {
		return nil, space, errors.New("the gateway did not answer with a vector for each text")
	}
	space.Dimension = len(out[0])
	for _, v := range out {
		if len(v) != space.Dimension || space.Dimension == 0 {
			return nil, space, errors.New("the gateway's vectors differ in their dimensions")
		}
	}
	return out, space, nil
}

// Rerank implements [search.Reranker].
func (g Gateway) Rerank(ctx context.Context, workspace, model, query string, texts []string) ([]float64, string, error) {
	answer, err := g.client.Rerank(inOwnName(ctx, workspace), &llmv1.RerankRequest{Workspace: workspace, Model: model, Query: query, Texts: texts})
	switch {
	case err != nil && fault.ReasonOf(err) == fault.ModelNotFound:
		return nil, "", errors.Join(search.ErrNoModel, err)
	case err != nil:
		return nil, "", err
	}
	return answer.GetScores(), answer.GetModel(), nil
}

// inOwnName makes the retriever itself the one who asks: whoever searches need not be allowed to use models.
func inOwnName(ctx context.Context, workspace string) context.Context {
	return identity.NewContext(ctx, identity.Background(identity.Retriever, workspace))
}

// Package rpc serves ragmesh.llm.v1.LLMService: it turns messages into requests of the domain and back.
package rpc

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/answer"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/vector"
)

// Serving is what calls are answered with. It does not change; a configuration that does makes another one.
type Serving struct {
	Answers *answer.Service
	Vectors *vector.Models
	// Revision is the configuration's.
	Revision string
	// Heartbeat is how long a stream may be silent.
	Heartbeat time.Duration
}

// Handler serves the RPCs. A call ends with the Serving it began with.
type Handler struct {
	serving  atomic.Pointer[Serving]
	clock    func() time.Time
	accounts Accounts
}

var _ llmv1connect.LLMServiceHandler = (*Handler)(nil)

// New returns a Handler that answers with s.
func New(s Serving, accounts Accounts, clock func() time.Time) *Handler {
	h := &Handler{clock: clock, accounts: accounts}
	h.Use(s)
	return h
}

// Use has calls from now on answered with s.
func (h *Handler) Use(s Serving) { h.serving.Store(&s) }

// Revision returns the revision that answers carry.
func (h *Handler) Revision() string { return h.serving.Load().Revision }

// Unreadable names the embedding models that can't read what they are given.
func (h *Handler) Unreadable() map[string]float64 { return h.serving.Load().Vectors.Unreadable() }

// Generate streams an answer.
func (h *Handler) Generate(ctx context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
	return h.generate(ctx, r, out)
}

func (h *Handler) generate(ctx context.Context, r *llmv1.GenerateRequest, out sender) error {
	began, serving := h.clock(), h.serving.Load()
	asked, err := serving.prepare(r)
	if err != nil {
		return err
	}
	s := &stream{asked: asked, revision: serving.Revision, every: serving.Heartbeat, out: out}
	outcome, err := serving.Answers.Generate(ctx, asked, callOptions(ctx, r), s)
	s.close()
	if err != nil {
		return err
	}
	return s.send(&llmv1.GenerateResponse{Event: &llmv1.GenerateResponse_Completed{Completed: &llmv1.Completed{
		FinishReason: finishOf(outcome.Result.Finish), Usage: usageOf(outcome.Result.Usage),
		TimeToFirstToken: durationpb.New(outcome.FirstText), Duration: durationpb.New(h.clock().Sub(began)),
		Tries: triesOf(outcome.Tries),
	}}})
}

// callOptions says on whose behalf an answer is generated.
func callOptions(ctx context.Context, r *llmv1.GenerateRequest) route.CallOptions {
	who := whoOf(ctx, r.GetWorkspace())
	return route.CallOptions{Session: r.GetSession(), Workspace: who.Workspace, Key: who.Key}
}

// whoOf says who pays.
func whoOf(ctx context.Context, workspace string) account.Who {
	who := account.Who{Workspace: workspace}
	if p, ok := identity.FromContext(ctx); ok {
		who.Workspace, who.Key = cmp.Or(p.Workspace, workspace), p.Subject
	}
	return who
}

func (s *Serving) prepare(r *llmv1.GenerateRequest) (answer.Asked, error) {
	request, err := requestOf(r)
	if err != nil {
		return answer.Asked{}, err
	}
	return s.Answers.Prepare(request)
}

// RenderPrompt shows what Generate would ask.
func (h *Handler) RenderPrompt(_ context.Context, r *llmv1.RenderPromptRequest) (*llmv1.RenderPromptResponse, error) {
	serving := h.serving.Load()
	asked, err := serving.prepare(r.GetGenerate())
	if err != nil {
		return nil, err
	}
	return &llmv1.RenderPromptResponse{
		Messages:     messagesOf(asked.Rendered.Messages),
		Started:      startedOf(asked, route.Started{Rung: 0, Name: asked.First.Name, Model: asked.First.Model, Skipped: nil}, serving.Revision),
		PromptTokens: count(asked.Rendered.Tokens),
	}, nil
}

// ListModels lists the chat models, each with its first target, the embedding and the rerank models.
func (h *Handler) ListModels(context.Context, *llmv1.ListModelsRequest) (*llmv1.ListModelsResponse, error) {
	serving := h.serving.Load()
	routes := serving.Answers.Routes()
	out := &llmv1.ListModelsResponse{DefaultModel: routes.Default()}
	for _, name := range routes.Names() {
		_, first, err := routes.Resolve(name)
		if err != nil {
			return nil, err
		}
		out.Models = append(out.Models, &llmv1.Model{
			Name: name, Provider: first.Name, ProviderModel: first.Model, Kind: llmv1.ModelKind_MODEL_KIND_CHAT, Targets: targetsOf(routes.Targets(name)),
		})
	}
	add := func(models []vector.Listed, kind llmv1.ModelKind) {
		for _, m := range models {
			out.Models = append(out.Models, &llmv1.Model{Name: m.Name, Provider: m.Provider, ProviderModel: m.Model, Kind: kind})
		}
	}
	var models []vector.Listed
	models, out.DefaultEmbeddingModel = serving.Vectors.Embeddings()
	add(models, llmv1.ModelKind_MODEL_KIND_EMBEDDING)
	models, out.DefaultRerankModel = serving.Vectors.Rerankers()
	add(models, llmv1.ModelKind_MODEL_KIND_RERANK)
	return out, nil
}

// ListPrompts lists the templates.
func (h *Handler) ListPrompts(context.Context, *llmv1.ListPromptsRequest) (*llmv1.ListPromptsResponse, error) {
	serving := h.serving.Load()
	out := &llmv1.ListPromptsResponse{ConfigRevision: serving.Revision}
	for _, t := range serving.Answers.Prompts() {
		out.Prompts = append(out.Prompts, promptOf(t))
	}
	return out, nil
}

// Embed makes vectors of texts.
func (h *Handler) Embed(ctx context.Context, r *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
	size := 0
	for _, t := range r.GetTexts() {
		size += len(t)
	}
	if size > maxTexts {
		return nil, tooMuch(size)
	}
	purposes := map[llmv1.EmbedPurpose]vector.Purpose{
		llmv1.EmbedPurpose_EMBED_PURPOSE_QUERY: vector.Query, llmv1.EmbedPurpose_EMBED_PURPOSE_PASSAGE: vector.Passage,
	}
	got, err := h.serving.Load().Vectors.Embed(ctx, whoOf(ctx, r.GetWorkspace()), r.GetModel(), purposes[r.GetPurpose()], r.GetTexts())
	if err != nil {
		return nil, err
	}
	out := &llmv1.EmbedResponse{Model: got.Model, ModelRevision: got.Revision, Usage: usageOf(got.Usage)}
	for _, v := range got.Vectors {
		out.Vectors = append(out.Vectors, &llmv1.Vector{Values: v})
	}
	return out, nil
}

// Rerank scores texts against a query.
func (h *Handler) Rerank(ctx context.Context, r *llmv1.RerankRequest) (*llmv1.RerankResponse, error) {
	size := 0
	for _, t := range r.GetTexts() {
		size += len(t)
	}
	if size > maxTexts {
		return nil, tooMuch(size)
	}
	got, err := h.serving.Load().Vectors.Rerank(ctx, whoOf(ctx, r.GetWorkspace()), r.GetModel(), r.GetQuery(), r.GetTexts())
	if err != nil {
		return nil, err
	}
	return &llmv1.RerankResponse{Scores: got.Scores, Model: got.Model, Usage: usageOf(got.Usage)}, nil
}

// maxTexts bounds the texts of one request, in bytes.
const maxTexts = 1 << 20

func tooMuch(size int) error {
	return fault.New(fault.Invalid, fault.InvalidRequest, "the texts of one request may have %d bytes, not %d", maxTexts, size).
		WithField("texts", "send fewer at once")
}

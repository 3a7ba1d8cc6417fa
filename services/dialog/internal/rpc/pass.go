package rpc

import (
	"context"
	"net/http"
	"strconv"

	"connectrpc.com/connect"

	kit "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/login"
	"github.com/ragmesh/ragmesh/services/dialog/internal/mcp"
	"github.com/ragmesh/ragmesh/services/dialog/internal/openai"
	"github.com/ragmesh/ragmesh/services/dialog/internal/openapi"
)

// Peers are the connections to the services behind the edge.
type Peers struct{ Retriever, Tools, LLM, Eval kit.Conn }

// Handlers are everything the edge serves.
type Handlers struct {
	Dialog     *Dialog
	Workspaces *Workspaces
	Keys       *Keys
	Operations *Operations
	OpenAI     *openai.Handler
	MCP        *mcp.Handler
	Login      *login.Handler
	Peers      Peers
}

// Register adds the handlers to a mux. Every one of them goes through the edge's interceptor, which the mux was configured
// with.
func (h Handlers) Register(mux *kit.Mux) {
	o := mux.HandlerOptions()
	add := func(path string, handler http.Handler) { mux.Handle(path, withAddress(handler)) }
	add(dialogv1connect.NewDialogServiceHandler(h.Dialog, o...))
	add(dialogv1connect.NewWorkspaceServiceHandler(h.Workspaces, o...))
	add(dialogv1connect.NewKeyServiceHandler(h.Keys, o...))
	add(dialogv1connect.NewOperationsServiceHandler(h.Operations, o...))
	for _, routes := range []map[string]http.HandlerFunc{openapi.Routes(), h.OpenAI.Routes(), h.MCP.Routes(), h.Login.Routes()} {
		for pattern, handler := range routes {
			mux.HandlePlain(pattern, withAddress(handler))
		}
	}
	p := h.Peers
	add(retrieverv1connect.NewRetrieverServiceHandler(retrieverPass{retrieverv1connect.NewRetrieverServiceClient(p.Retriever.HTTP, p.Retriever.URL, p.Retriever.Options...), h.Dialog.trail}, o...))
	add(evalv1connect.NewEvalServiceHandler(evalPass{evalv1connect.NewEvalServiceClient(p.Eval.HTTP, p.Eval.URL, p.Eval.Options...), h.Dialog.library}, o...))
	add(toolsv1connect.NewToolsServiceHandler(toolsPass{client: toolsv1connect.NewToolsServiceClient(p.Tools.HTTP, p.Tools.URL, p.Tools.Options...)}, o...))
	add(llmv1connect.NewLLMServiceHandler(llmPass{client: llmv1connect.NewLLMServiceClient(p.LLM.HTTP, p.LLM.URL, p.LLM.Options...)}, o...))
}

// retrieverPass passes everything through. The unary procedures are the client's own methods.
type retrieverPass struct {
	retrieverv1connect.RetrieverServiceClient
	trail *audit.Trail
}

var _ retrieverv1connect.RetrieverServiceHandler = retrieverPass{}

// SetDocumentAccess implements the contract. Who may read what is worth knowing later.
func (p retrieverPass) SetDocumentAccess(ctx context.Context, m *retrieverv1.SetDocumentAccessRequest) (*retrieverv1.SetDocumentAccessResponse, error) {
	out, err := p.RetrieverServiceClient.SetDocumentAccess(ctx, m)
	if err == nil {
		p.trail.Note(audit.Event{Workspace: m.GetWorkspace(), Actor: user(ctx), Action: "document.access", Target: m.GetDocumentId(), Allowed: true})
	}
	return out, err
}

// RetryDocuments implements the contract. It may set much work in motion at once.
func (p retrieverPass) RetryDocuments(ctx context.Context, m *retrieverv1.RetryDocumentsRequest) (*retrieverv1.RetryDocumentsResponse, error) {
	out, err := p.RetrieverServiceClient.RetryDocuments(ctx, m)
	if err == nil && out.GetRetried() > 0 {
		p.trail.Note(audit.Event{Workspace: m.GetWorkspace(), Actor: user(ctx), Action: "documents.retry", Target: strconv.FormatUint(uint64(out.GetRetried()), 10) + " documents", Allowed: true})
	}
	return out, err
}

// DeleteWorkspace implements the contract.
func (p retrieverPass) DeleteWorkspace(ctx context.Context, m *retrieverv1.DeleteWorkspaceRequest) (*retrieverv1.DeleteWorkspaceResponse, error) {
	out, err := p.RetrieverServiceClient.DeleteWorkspace(ctx, m)
	if err == nil {
		p.trail.Note(audit.Event{Workspace: m.GetWorkspace(), Actor: user(ctx), Action: "documents.delete", Target: m.GetWorkspace(), Allowed: true})
	}
	return out, err
}

// Watch implements the contract: it copies the stream until either side ends it.
func (p retrieverPass) Watch(ctx context.Context, m *retrieverv1.WatchRequest, out *connect.ServerStream[retrieverv1.WatchResponse]) error {
	ctx, cancel := context.WithCancel(ctx) // ends the retriever's side when the client's send fails
	defer cancel()
	in, err := p.RetrieverServiceClient.Watch(ctx, m)
	if err != nil {
		return err
	}
	defer in.Close()
	for in.Receive() {
		if err := out.Send(in.Msg()); err != nil {
			return err
		}
	}
	return in.Err()
}

// toolsPass lets tools be listed. Calling them is for turns.
type toolsPass struct {
	toolsv1connect.UnimplementedToolsServiceHandler
	client toolsv1connect.ToolsServiceClient
}

// ListTools implements the contract.
func (p toolsPass) ListTools(ctx context.Context, m *toolsv1.ListToolsRequest) (*toolsv1.ListToolsResponse, error) {
	return p.client.ListTools(ctx, m)
}

// llmPass lets models and prompts be looked at. Generating is for turns.
type llmPass struct {
	llmv1connect.UnimplementedLLMServiceHandler
	client llmv1connect.LLMServiceClient
}

// ListModels implements the contract.
func (p llmPass) ListModels(ctx context.Context, m *llmv1.ListModelsRequest) (*llmv1.ListModelsResponse, error) {
	return p.client.ListModels(ctx, m)
}

// ListPrompts implements the contract.
func (p llmPass) ListPrompts(ctx context.Context, m *llmv1.ListPromptsRequest) (*llmv1.ListPromptsResponse, error) {
	return p.client.ListPrompts(ctx, m)
}

// RenderPrompt implements the contract.
func (p llmPass) RenderPrompt(ctx context.Context, m *llmv1.RenderPromptRequest) (*llmv1.RenderPromptResponse, error) {
	return p.client.RenderPrompt(ctx, m)
}

// GetUsage implements the contract.
func (p llmPass) GetUsage(ctx context.Context, m *llmv1.GetUsageRequest) (*llmv1.GetUsageResponse, error) {
	return p.client.GetUsage(ctx, m)
}

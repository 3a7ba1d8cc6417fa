package rpc

import (
	"context"
	"net/http"
	"time"

	kit "github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/openai"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// NewOpenAI returns the handler of OpenAI's API, let in by the edge's rules for Chat and ListWorkspaces.
func NewOpenAI(answerer *turn.Answerer, edge *Edge, llm kit.Conn, now func() time.Time) *openai.Handler {
	client := llmv1connect.NewLLMServiceClient(llm.HTTP, llm.URL, llm.Options...)
	return openai.New(openai.Deps{
		Asker: asker{answerer}, Gate: gate{edge}, Now: now, Report: kit.NoteFault,
		Prompts: func(ctx context.Context) ([]string, error) {
			ctx, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			list, err := client.ListPrompts(ctx, &llmv1.ListPromptsRequest{})
			if err != nil {
				return nil, err
			}
			var ids []string
			for _, p := range list.GetPrompts() {
				if p.GetPromptId() != turn.RewritePrompt { // it answers nobody
					ids = append(ids, p.GetPromptId())
				}
			}
			return ids, nil
		},
	})
}

// listTimeout bounds the wait for the gateway when models are listed; without it the list is shorter.
const listTimeout = 2 * time.Second

// gate is the edge for requests in plain HTTP.
type gate struct{ edge *Edge }

var _ openai.Gate = gate{}

// Admit implements [openai.Gate].
func (g gate) Admit(r *http.Request, workspace string) (context.Context, openai.Caller, error) {
	request := &dialogv1.ChatRequest{Workspace: workspace}
	ctx, err := g.edge.admit(r.Context(), dialogv1connect.DialogServiceChatProcedure, r.Header, request)
	if err != nil {
		return nil, openai.Caller{}, err
	}
	return ctx, openai.Caller{Workspace: request.GetWorkspace(), User: user(ctx)}, nil
}

// Workspaces implements [openai.Gate].
func (g gate) Workspaces(r *http.Request) (context.Context, []openai.Workspace, error) {
	ctx, err := g.edge.admit(r.Context(), dialogv1connect.WorkspaceServiceListWorkspacesProcedure, r.Header, &dialogv1.ListWorkspacesRequest{})
	if err != nil {
		return nil, nil, err
	}
	list, err := g.edge.guard.Workspaces(ctx, access.FromContext(ctx))
	if err != nil {
		return ctx, nil, err
	}
	var out []openai.Workspace
	for _, ws := range list {
		out = append(out, openai.Workspace{ID: ws.ID, CreatedAt: ws.CreatedAt})
	}
	return ctx, out, nil
}

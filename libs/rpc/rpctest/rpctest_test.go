package rpctest_test

import (
	"context"
	"testing"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

type embedder struct {
	llmv1connect.UnimplementedLLMServiceHandler
}

func (embedder) Embed(ctx context.Context, r *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
	if p, ok := identity.FromContext(ctx); !ok || p.Service != identity.Dialog || p.Workspace != r.GetWorkspace() {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "called by %+v", p)
	}
	return &llmv1.EmbedResponse{}, nil
}

// A test's service is called as in production: with a token, and in the caller's workspace only.
func TestService(t *testing.T) {
	t.Parallel()
	conn := rpctest.Service(t, identity.Gateway, func(mux *rpc.Mux) {
		mux.Handle(llmv1connect.NewLLMServiceHandler(embedder{}, mux.HandlerOptions()...))
	})
	client := llmv1connect.NewLLMServiceClient(conn.HTTP, conn.URL, conn.Options...)
	for workspace, want := range map[string]fault.Reason{"bank": fault.Unspecified, "shop": fault.WorkspaceNotFound} {
		_, err := client.Embed(rpctest.As(t.Context(), "bank"), &llmv1.EmbedRequest{Workspace: workspace, Texts: []string{"x"}})
		if got := fault.ReasonOf(err); got != want {
			t.Errorf("workspace %s: %v", workspace, err)
		}
	}
	_, err := client.ListModels(rpctest.As(t.Context(), "bank"), &llmv1.ListModelsRequest{})
	if fault.KindOf(err) != fault.Unimplemented {
		t.Errorf("got %v", err)
	}
}

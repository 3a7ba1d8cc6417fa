package dialog

import (
	"context"
	"time"

	"github.com/ragmesh/ragmesh/libs/identity"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/removal"
)

// settle is how long calls that are under way when a workspace is deleted may still write: they are ended then, and what is
// left is what they do when they are.
const settle = 2 * time.Second

// removalOf says what there is in a workspace. eval hears of the deletion in the audit trail, and removes what it has.
func (s *Service) removalOf(retriever, llm librpc.Conn) []removal.Step {
	documents := retrieverv1connect.NewRetrieverServiceClient(retriever.HTTP, retriever.URL, retriever.Options...)
	models := llmv1connect.NewLLMServiceClient(llm.HTTP, llm.URL, llm.Options...)
	return []removal.Step{
		{Name: "traces", Do: func(ctx context.Context, c removal.Condemned) error {
			return s.audit(ctx, "workspace.delete-"+c.Workspace+"-"+c.Since.Format(time.RFC3339Nano), audit.Event{
				Workspace: c.Workspace, Actor: c.By, Action: "workspace.delete", Target: c.Workspace, Allowed: true, At: c.Since,
			})
		}},
		{Name: "documents", Do: func(ctx context.Context, c removal.Condemned) error {
			ctx = identity.NewContext(ctx, identity.Principal{Subject: identity.Dialog, Workspace: c.Workspace, Role: identity.Admin})
			_, err := documents.DeleteWorkspace(ctx, &retrieverv1.DeleteWorkspaceRequest{Workspace: c.Workspace})
			return err
		}},
		{Name: "answers", Do: func(ctx context.Context, c removal.Condemned) error {
			ctx = identity.NewContext(ctx, identity.Principal{Subject: identity.Dialog, Workspace: c.Workspace, Role: identity.Admin})
			_, err := models.DeleteWorkspace(ctx, &llmv1.DeleteWorkspaceRequest{Workspace: c.Workspace})
			return err
		}},
		{Name: "conversations", Do: func(ctx context.Context, c removal.Condemned) error {
			return s.store.RemoveWorkspace(ctx, c.Workspace)
		}},
		{Name: "members", Do: func(ctx context.Context, c removal.Condemned) error {
			return s.members.Clear(ctx, c.Workspace)
		}},
		{Name: "keys", Do: func(ctx context.Context, c removal.Condemned) error {
			if c.Workspace == access.DefaultWorkspace { // which stays, as do its keys
				return nil
			}
			return s.keys.Unbind(ctx, c.Workspace)
		}},
	}
}

package rpc

import (
	"context"

	"github.com/ragmesh/ragmesh/libs/fault"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

// GetUsage says what models were used for in a workspace.
func (h *Handler) GetUsage(context.Context, *llmv1.GetUsageRequest) (*llmv1.GetUsageResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "usage is not kept yet")
}

// DeleteWorkspace forgets a workspace.
func (h *Handler) DeleteWorkspace(context.Context, *llmv1.DeleteWorkspaceRequest) (*llmv1.DeleteWorkspaceResponse, error) {
	return &llmv1.DeleteWorkspaceResponse{}, nil
}

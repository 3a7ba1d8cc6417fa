// Package rpc serves ragmesh.tools.v1.ToolsService: it turns messages into calls of the registry and back.
package rpc

import (
	"context"
	"fmt"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
	"github.com/ragmesh/ragmesh/services/tools/internal/registry"
)

// Handler serves the RPCs; Use says with which tools. A call ends with the tools it began with.
type Handler struct {
	serving atomic.Pointer[serving]
}

// serving is what calls are answered with. It does not change; a configuration that does makes another one.
type serving struct {
	registry *registry.Registry
	revision string
	listed   []*toolsv1.Tool
}

var _ toolsv1connect.ToolsServiceHandler = (*Handler)(nil)

// Use has calls from now on answered with r. An error leaves the handler as it is.
func (h *Handler) Use(r *registry.Registry, revision string) error {
	s := &serving{registry: r, revision: revision}
	for _, t := range r.Tools() {
		listed, err := toolOf(t)
		if err != nil {
			return fmt.Errorf("describe tool %s: %w", t.Name, err)
		}
		s.listed = append(s.listed, listed)
	}
	h.serving.Store(s)
	return nil
}

// Revision returns the revision that answers carry.
func (h *Handler) Revision() string { return h.serving.Load().revision }

// ListTools lists the enabled tools.
func (h *Handler) ListTools(context.Context, *toolsv1.ListToolsRequest) (*toolsv1.ListToolsResponse, error) {
	s := h.serving.Load()
	return &toolsv1.ListToolsResponse{Tools: s.listed, ConfigRevision: s.revision}, nil
}

// Call runs one tool.
func (h *Handler) Call(ctx context.Context, r *toolsv1.CallRequest) (*toolsv1.CallResponse, error) {
	caller, _ := identity.FromContext(ctx)
	s := h.serving.Load()
	result, err := s.registry.Call(ctx, registry.Call{
		Workspace: r.GetWorkspace(), Actor: caller.Subject, Tool: r.GetTool(), Arguments: r.GetArguments().AsMap(), Approval: r.GetApproval(),
	})
	if err != nil {
		return nil, err
	}
	out, err := resultOf(r.GetCallId(), r.GetTool(), result)
	if err != nil {
		return nil, fmt.Errorf("encode result of %s: %w", r.GetTool(), err)
	}
	return &toolsv1.CallResponse{Result: out, ConfigRevision: s.revision}, nil
}

func toolOf(t registry.Tool) (*toolsv1.Tool, error) {
	schema, err := structpb.NewStruct(t.InputSchema)
	if err != nil {
		return nil, err
	}
	return &toolsv1.Tool{
		Name: t.Name, Description: t.Description, InputSchema: schema, SideEffects: t.SideEffects, Kind: string(t.Kind),
		Timeout: durationpb.New(t.Timeout),
	}, nil
}

func resultOf(callID, tool string, r registry.Result) (*toolsv1.ToolResult, error) {
	args, err := structpb.NewStruct(r.Arguments)
	if err != nil {
		return nil, err
	}
	out := &toolsv1.ToolResult{
		CallId: callID, Tool: tool, Arguments: args, Text: r.Output.Text, Duration: durationpb.New(r.Duration), Truncated: r.Truncated,
	}
	if r.Output.Data != nil {
		if out.Data, err = structpb.NewValue(r.Output.Data); err != nil {
			return nil, err
		}
	}
	if f := r.Failure; f != nil {
		out.Error = &toolsv1.ToolError{Reason: fault.ReasonName(f.Reason), Message: registry.Shorten(f.Message, maxMessage), Retryable: retryable(f.Kind)}
	}
	return out, nil
}

const maxMessage = 500

// retryable says whether the same call may succeed later.
func retryable(k fault.Kind) bool {
	return k == fault.Unavailable || k == fault.Timeout || k == fault.Exhausted || k == fault.Canceled
}

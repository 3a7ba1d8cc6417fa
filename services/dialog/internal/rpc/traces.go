package rpc

import (
	"context"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// evalPass passes eval's procedures through. Turns come out of it as their reader may see them; viewers get at none but their own.
type evalPass struct {
	evalv1connect.EvalServiceClient
	library turn.Library
}

var _ evalv1connect.EvalServiceHandler = evalPass{}

// GetTrace implements the contract.
func (p evalPass) GetTrace(ctx context.Context, m *evalv1.GetTraceRequest) (*evalv1.GetTraceResponse, error) {
	out, err := p.EvalServiceClient.GetTrace(ctx, m)
	if err != nil {
		return nil, err
	}
	if !mayTrace(ctx, out.GetTurn()) {
		return nil, noTrace()
	}
	if out.Turn = p.shown(ctx, m.GetWorkspace(), out.GetTurn()); out.GetTurn().GetWithheld() {
		for _, s := range out.GetSpans() {
			s.Attributes, s.Error = nil, ""
		}
	}
	return out, nil
}

// Replay implements the contract.
func (p evalPass) Replay(ctx context.Context, m *evalv1.ReplayRequest) (*evalv1.ReplayResponse, error) {
	out, err := p.EvalServiceClient.Replay(ctx, m)
	if err != nil {
		return nil, err
	}
	if !mayTrace(ctx, out.GetOriginal()) {
		return nil, noTrace()
	}
	out.Original = p.shown(ctx, m.GetWorkspace(), out.GetOriginal())
	out.Replayed = p.shown(ctx, m.GetWorkspace(), out.GetReplayed())
	return out, nil
}

// mayTrace says whether a caller may look at how a turn came about: viewers at their own, others at everybody's.
func mayTrace(ctx context.Context, t *dialogv1.Turn) bool {
	p, _ := identity.FromContext(ctx)
	return p.Role >= identity.Editor || p.Subject != "" && t.GetUser() == p.Subject
}

func noTrace() error {
	return fault.New(fault.NotFound, fault.TurnNotFound, "no such turn in this workspace; it may have been deleted, or be older than what is kept")
}

func (p evalPass) shown(ctx context.Context, workspace string, t *dialogv1.Turn) *dialogv1.Turn {
	if t == nil {
		return nil
	}
	shown := turn.Shown(ctx, p.library, workspace, []turn.Turn{record.FromTurn(t)})[0]
	if !shown.Withheld {
		return t // as it came, with whatever a newer build has put in
	}
	return record.Turn(shown)
}

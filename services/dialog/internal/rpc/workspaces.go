package rpc

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/removal"
)

// Workspaces serves WorkspaceService.
type Workspaces struct {
	guard      *access.Guard
	workspaces *access.Workspaces
	members    *access.Members
	keys       *access.Keyring
	remover    *removal.Remover
	trail      *audit.Trail
}

var _ dialogv1connect.WorkspaceServiceHandler = (*Workspaces)(nil)

// NewWorkspaces returns the handler.
func NewWorkspaces(g *access.Guard, w *access.Workspaces, m *access.Members, k *access.Keyring, r *removal.Remover, trail *audit.Trail) *Workspaces {
	return &Workspaces{guard: g, workspaces: w, members: m, keys: k, remover: r, trail: trail}
}

// CreateWorkspace implements the contract.
func (w *Workspaces) CreateWorkspace(ctx context.Context, m *dialogv1.CreateWorkspaceRequest) (*dialogv1.CreateWorkspaceResponse, error) {
	ws, made, err := w.workspaces.Create(ctx, m.GetWorkspace(), m.GetDisplayName())
	if err != nil {
		return nil, err
	}
	if made {
		w.note(ctx, ws.ID, "workspace.create", ws.ID)
	}
	return &dialogv1.CreateWorkspaceResponse{Workspace: workspace(ws)}, nil
}

func (w *Workspaces) note(ctx context.Context, workspace, action, target string) {
	w.trail.Note(audit.Event{Workspace: workspace, Actor: user(ctx), Action: action, Target: target, Allowed: true})
}

// ListWorkspaces implements the contract.
func (w *Workspaces) ListWorkspaces(ctx context.Context, _ *dialogv1.ListWorkspacesRequest) (*dialogv1.ListWorkspacesResponse, error) {
	list, err := w.guard.Workspaces(ctx, access.FromContext(ctx))
	if err != nil {
		return nil, err
	}
	out := &dialogv1.ListWorkspacesResponse{}
	for _, ws := range list {
		out.Workspaces = append(out.Workspaces, workspace(ws))
	}
	return out, nil
}

// minRetention is the least time for which sessions are kept where they are not kept for ever.
const minRetention = time.Hour

// UpdateWorkspace implements the contract.
func (w *Workspaces) UpdateWorkspace(ctx context.Context, m *dialogv1.UpdateWorkspaceRequest) (*dialogv1.UpdateWorkspaceResponse, error) {
	change := access.Update{DisplayName: m.DisplayName}
	if m.GetSessionRetention() != nil {
		keep := m.GetSessionRetention().AsDuration()
		if keep != 0 && keep < minRetention {
			return nil, fault.New(fault.Invalid, fault.InvalidRequest, "sessions are kept for at least %s, or for ever", minRetention).
				WithField("session_retention", "zero, or at least 3600s")
		}
		change.SessionRetention = &keep
	}
	ws, err := w.workspaces.Update(ctx, m.GetWorkspace(), change)
	if err != nil {
		return nil, err
	}
	w.note(ctx, ws.ID, "workspace.update", ws.ID)
	return &dialogv1.UpdateWorkspaceResponse{Workspace: workspace(ws)}, nil
}

// removeFor is how long a caller waits for what is in the workspace to go. Most are empty by then; others are emptied behind
// its back.
const removeFor = 20 * time.Second

// DeleteWorkspace implements the contract. Once the workspace is marked it is gone for everyone, and nothing stops its removal.
func (w *Workspaces) DeleteWorkspace(ctx context.Context, m *dialogv1.DeleteWorkspaceRequest) (*dialogv1.DeleteWorkspaceResponse, error) {
	ws, err := w.workspaces.Condemn(ctx, m.GetWorkspace(), user(ctx))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, removeFor)
	defer cancel()
	_ = w.remover.Remove(ctx, ws.Condemned()) // logged there, and gone on with
	return &dialogv1.DeleteWorkspaceResponse{}, nil
}

// ListMembers implements the contract.
func (w *Workspaces) ListMembers(ctx context.Context, m *dialogv1.ListMembersRequest) (*dialogv1.ListMembersResponse, error) {
	list, err := w.members.List(ctx, m.GetWorkspace())
	if err != nil {
		return nil, err
	}
	out := &dialogv1.ListMembersResponse{}
	for _, member := range list {
		out.Members = append(out.Members, memberMessage(member))
	}
	return out, nil
}

// SetMember implements the contract.
func (w *Workspaces) SetMember(ctx context.Context, m *dialogv1.SetMemberRequest) (*dialogv1.SetMemberResponse, error) {
	role := identity.Role(m.GetRole()) // validated enum
	member, changed, err := w.members.Set(ctx, m.GetWorkspace(), m.GetMember(), role, user(ctx))
	if err != nil {
		return nil, err
	}
	if changed {
		w.note(ctx, m.GetWorkspace(), "member.set", member.Name+" "+role.String())
	}
	return &dialogv1.SetMemberResponse{Member: memberMessage(member)}, nil
}

// RemoveMember implements the contract. A service account's keys go first, so that the call can be repeated when that fails, and once
// more after its role, without which no other one can be made.
func (w *Workspaces) RemoveMember(ctx context.Context, m *dialogv1.RemoveMemberRequest) (*dialogv1.RemoveMemberResponse, error) {
	member, err := w.members.Get(ctx, m.GetWorkspace(), m.GetMember())
	if err != nil {
		return nil, err
	}
	if err := w.revoke(ctx, m.GetWorkspace(), member); err != nil {
		return nil, err
	}
	if member, err = w.members.Remove(ctx, m.GetWorkspace(), m.GetMember()); err != nil {
		return nil, err
	}
	w.note(ctx, m.GetWorkspace(), "member.remove", member.Name)
	return &dialogv1.RemoveMemberResponse{}, w.revoke(ctx, m.GetWorkspace(), member)
}

// revoke ends the keys of a member that is a service account.
func (w *Workspaces) revoke(ctx context.Context, workspace string, member access.Member) error {
	account, ok := strings.CutPrefix(member.Name, access.ServicePrefix)
	if !ok {
		return nil
	}
	revoked, err := w.keys.RevokeWhere(ctx, func(k access.Key) bool {
		return k.ServiceAccount == account && slices.Equal(k.Workspaces, []string{workspace})
	})
	for _, k := range revoked {
		w.note(ctx, workspace, "key.revoke", k.ID)
	}
	return err
}

func workspace(ws access.Workspace) *dialogv1.Workspace {
	out := &dialogv1.Workspace{Workspace: ws.ID, DisplayName: ws.DisplayName, CreatedAt: timestamp(ws.CreatedAt)}
	if ws.SessionRetention > 0 {
		out.SessionRetention = durationpb.New(ws.SessionRetention)
	}
	return out
}

func memberMessage(m access.Member) *dialogv1.Member {
	return &dialogv1.Member{Member: m.Name, Role: dialogv1.AccessRole(m.Role), AddedAt: timestamppb.New(m.AddedAt), AddedBy: m.AddedBy}
}

package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
)

// Workspaces serves WorkspaceService.
type Workspaces struct {
	workspaces *access.Workspaces
	trail      *audit.Trail
}

var _ dialogv1connect.WorkspaceServiceHandler = (*Workspaces)(nil)

// NewWorkspaces returns the handler.
func NewWorkspaces(w *access.Workspaces, trail *audit.Trail) *Workspaces {
	return &Workspaces{workspaces: w, trail: trail}
}

// CreateWorkspace implements the contract.
func (w *Workspaces) CreateWorkspace(ctx context.Context, m *dialogv1.CreateWorkspaceRequest) (*dialogv1.CreateWorkspaceResponse, error) {
	ws, made, err := w.workspaces.Create(ctx, m.GetWorkspace(), m.GetDisplayName())
	if err != nil {
		return nil, err
	}
	if made {
		w.trail.Note(audit.Event{Workspace: ws.ID, Actor: user(ctx), Action: "workspace.create", Target: ws.ID, Allowed: true})
	}
	return &dialogv1.CreateWorkspaceResponse{Workspace: workspace(ws)}, nil
}

// ListWorkspaces implements the contract.
func (w *Workspaces) ListWorkspaces(ctx context.Context, _ *dialogv1.ListWorkspacesRequest) (*dialogv1.ListWorkspacesResponse, error) {
	list, err := w.workspaces.List(ctx, access.FromContext(ctx))
	if err != nil {
		return nil, err
	}
	out := &dialogv1.ListWorkspacesResponse{}
	for _, ws := range list {
		out.Workspaces = append(out.Workspaces, workspace(ws))
	}
	return out, nil
}

// DeleteWorkspace implements the contract.
func (w *Workspaces) DeleteWorkspace(context.Context, *dialogv1.DeleteWorkspaceRequest) (*dialogv1.DeleteWorkspaceResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "workspaces can't be deleted yet; delete their documents and sessions")
}

func workspace(ws access.Workspace) *dialogv1.Workspace {
	return &dialogv1.Workspace{Workspace: ws.ID, DisplayName: ws.DisplayName, CreatedAt: timestamp(ws.CreatedAt)}
}

// Keys serves KeyService.
type Keys struct {
	keys       *access.Keyring
	workspaces *access.Workspaces
	trail      *audit.Trail
	now        func() time.Time
}

var _ dialogv1connect.KeyServiceHandler = (*Keys)(nil)

// NewKeys returns the handler.
func NewKeys(keys *access.Keyring, workspaces *access.Workspaces, trail *audit.Trail, now func() time.Time) *Keys {
	return &Keys{keys: keys, workspaces: workspaces, trail: trail, now: now}
}

// CreateKey implements the contract.
func (k *Keys) CreateKey(ctx context.Context, m *dialogv1.CreateKeyRequest) (*dialogv1.CreateKeyResponse, error) {
	for _, ws := range m.GetWorkspaces() {
		if err := k.workspaces.Check(ctx, ws); err != nil {
			return nil, err
		}
	}
	key := access.Key{Name: m.GetName(), Role: identity.Role(m.GetRole()), Workspaces: m.GetWorkspaces(), CreatedAt: k.now()} // validated enum
	if m.GetLifetime() != nil {
		key.ExpiresAt = key.CreatedAt.Add(m.GetLifetime().AsDuration())
	}
	key, secret, err := k.keys.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	k.trail.Note(audit.Event{Actor: user(ctx), Action: "key.create", Target: key.ID, Allowed: true})
	return &dialogv1.CreateKeyResponse{Key: keyMessage(key), Secret: secret}, nil
}

// ListKeys implements the contract.
func (k *Keys) ListKeys(ctx context.Context, _ *dialogv1.ListKeysRequest) (*dialogv1.ListKeysResponse, error) {
	list, err := k.keys.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &dialogv1.ListKeysResponse{}
	for _, key := range list {
		out.Keys = append(out.Keys, keyMessage(key))
	}
	return out, nil
}

// RevokeKey implements the contract.
func (k *Keys) RevokeKey(ctx context.Context, m *dialogv1.RevokeKeyRequest) (*dialogv1.RevokeKeyResponse, error) {
	key, err := k.keys.Revoke(ctx, m.GetKeyId())
	if err != nil {
		return nil, err
	}
	k.trail.Note(audit.Event{Actor: user(ctx), Action: "key.revoke", Target: key.ID, Allowed: true})
	return &dialogv1.RevokeKeyResponse{Key: keyMessage(key)}, nil
}

func keyMessage(k access.Key) *dialogv1.Key {
	return &dialogv1.Key{
		KeyId: k.ID, Name: k.Name, Role: dialogv1.AccessRole(k.Role), Workspaces: k.Workspaces,
		CreatedAt: timestamp(k.CreatedAt), ExpiresAt: timestamp(k.ExpiresAt), RevokedAt: timestamp(k.RevokedAt),
	}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// UpdateWorkspace implements the contract.
func (w *Workspaces) UpdateWorkspace(context.Context, *dialogv1.UpdateWorkspaceRequest) (*dialogv1.UpdateWorkspaceResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "UpdateWorkspace is not there yet")
}

// ListMembers implements the contract.
func (w *Workspaces) ListMembers(context.Context, *dialogv1.ListMembersRequest) (*dialogv1.ListMembersResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "ListMembers is not there yet")
}

// SetMember implements the contract.
func (w *Workspaces) SetMember(context.Context, *dialogv1.SetMemberRequest) (*dialogv1.SetMemberResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "SetMember is not there yet")
}

// RemoveMember implements the contract.
func (w *Workspaces) RemoveMember(context.Context, *dialogv1.RemoveMemberRequest) (*dialogv1.RemoveMemberResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "RemoveMember is not there yet")
}

// RotateKey implements the contract.
func (k *Keys) RotateKey(context.Context, *dialogv1.RotateKeyRequest) (*dialogv1.RotateKeyResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "RotateKey is not there yet")
}

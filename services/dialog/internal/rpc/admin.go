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

// RotateKey implements the contract.
func (k *Keys) RotateKey(context.Context, *dialogv1.RotateKeyRequest) (*dialogv1.RotateKeyResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "RotateKey is not there yet")
}

package rpc

import (
	"context"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
)

// defaultOverlap is how long a key goes on beside its successor.
const defaultOverlap = 24 * time.Hour

// Keys serves KeyService. Callers manage the keys that [access.Guard.MayManage] lets them; others are not there for them.
type Keys struct {
	guard      *access.Guard
	keys       *access.Keyring
	workspaces *access.Workspaces
	trail      *audit.Trail
	now        func() time.Time
}

var _ dialogv1connect.KeyServiceHandler = (*Keys)(nil)

// NewKeys returns the handler.
func NewKeys(guard *access.Guard, keys *access.Keyring, workspaces *access.Workspaces, trail *audit.Trail, now func() time.Time) *Keys {
	return &Keys{guard: guard, keys: keys, workspaces: workspaces, trail: trail, now: now}
}

// CreateKey implements the contract.
func (k *Keys) CreateKey(ctx context.Context, m *dialogv1.CreateKeyRequest) (*dialogv1.CreateKeyResponse, error) {
	key := access.Key{
		Name: m.GetName(), Role: identity.Role(m.GetRole()), // validated enum
		Workspaces: m.GetWorkspaces(), Scopes: m.GetScopes(), ServiceAccount: m.GetServiceAccount(), CreatedAt: k.now(),
	}
	if m.GetLifetime() != nil {
		key.ExpiresAt = key.CreatedAt.Add(m.GetLifetime().AsDuration())
	}
	if err := k.guard.MayManage(ctx, access.FromContext(ctx), key); err != nil {
		k.note(ctx, "key.create", access.Key{}, err)
		return nil, err
	}
	for _, ws := range key.Workspaces {
		if err := k.workspaces.Check(ctx, ws); err != nil {
			return nil, err
		}
	}
	if err := k.account(ctx, &key); err != nil {
		return nil, err
	}
	key, secret, err := k.keys.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	k.note(ctx, "key.create", key, nil)
	return &dialogv1.CreateKeyResponse{Key: k.message(ctx, key), Secret: secret}, nil
}

// account checks whom a key is to act as. Its role is the account's own, so it has none.
func (k *Keys) account(ctx context.Context, key *access.Key) error {
	if key.ServiceAccount == "" {
		return nil
	}
	if len(key.Workspaces) != 1 {
		return fault.New(fault.Invalid, fault.InvalidRequest, "a service account's key is for the one workspace that the account is a member of").
			WithField("workspaces", "must name exactly one")
	}
	key.Role = 0
	_, err := k.guard.AccountRole(ctx, key.ServiceAccount, key.Workspaces[0])
	return err
}

// RotateKey implements the contract.
func (k *Keys) RotateKey(ctx context.Context, m *dialogv1.RotateKeyRequest) (*dialogv1.RotateKeyResponse, error) {
	if err := k.mine(ctx, "key.rotate", m.GetKeyId()); err != nil {
		return nil, err
	}
	overlap := defaultOverlap
	if m.GetOverlap() != nil {
		overlap = m.GetOverlap().AsDuration()
	}
	made, secret, old, err := k.keys.Rotate(ctx, m.GetKeyId(), overlap)
	if err != nil {
		return nil, err
	}
	k.note(ctx, "key.rotate", old, nil)
	k.note(ctx, "key.create", made, nil)
	return &dialogv1.RotateKeyResponse{Key: k.message(ctx, made), Secret: secret, Replaced: k.message(ctx, old)}, nil
}

// ListKeys implements the contract.
func (k *Keys) ListKeys(ctx context.Context, _ *dialogv1.ListKeysRequest) (*dialogv1.ListKeysResponse, error) {
	list, err := k.keys.List(ctx)
	if err != nil {
		return nil, err
	}
	who := access.FromContext(ctx)
	out := &dialogv1.ListKeysResponse{}
	for _, key := range list {
		if k.guard.MayManage(ctx, who, key) == nil {
			out.Keys = append(out.Keys, k.message(ctx, key))
		}
	}
	return out, nil
}

// RevokeKey implements the contract.
func (k *Keys) RevokeKey(ctx context.Context, m *dialogv1.RevokeKeyRequest) (*dialogv1.RevokeKeyResponse, error) {
	if err := k.mine(ctx, "key.revoke", m.GetKeyId()); err != nil {
		return nil, err
	}
	key, err := k.keys.Revoke(ctx, m.GetKeyId())
	if err != nil {
		return nil, err
	}
	k.note(ctx, "key.revoke", key, nil)
	return &dialogv1.RevokeKeyResponse{Key: k.message(ctx, key)}, nil
}

// mine refuses to do something with a key that the caller may not manage, as if it were not there.
func (k *Keys) mine(ctx context.Context, action, id string) error {
	key, err := k.keys.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := k.guard.MayManage(ctx, access.FromContext(ctx), key); err != nil {
		k.note(ctx, action, key, err)
		if fault.KindOf(err) == fault.Unavailable {
			return err
		}
		return fault.New(fault.NotFound, fault.KeyNotFound, "there is no key %s", id)
	}
	return nil
}

// note tells the audit trail what was done with a key, or why it was not.
func (k *Keys) note(ctx context.Context, action string, key access.Key, err error) {
	e := audit.Event{Actor: user(ctx), Action: action, Target: key.ID, Allowed: err == nil}
	if len(key.Workspaces) == 1 {
		e.Workspace = key.Workspaces[0]
	}
	if err != nil {
		e.Reason = fault.ReasonName(fault.ReasonOf(err))
		k.trail.Deny(e)
		return
	}
	k.trail.Note(e)
}

// message returns the contract's form of a key. A service account's has the role that the account has now, none when it is no
// member any more.
func (k *Keys) message(ctx context.Context, key access.Key) *dialogv1.Key {
	if key.ServiceAccount != "" && len(key.Workspaces) == 1 {
		key.Role, _ = k.guard.AccountRole(ctx, key.ServiceAccount, key.Workspaces[0])
	}
	return &dialogv1.Key{
		KeyId: key.ID, Name: key.Name, Role: dialogv1.AccessRole(key.Role), Workspaces: key.Workspaces, Scopes: key.Scopes,
		ServiceAccount: key.ServiceAccount, ReplacedBy: key.ReplacedBy,
		CreatedAt: timestamp(key.CreatedAt), ExpiresAt: timestamp(key.ExpiresAt), RevokedAt: timestamp(key.RevokedAt),
	}
}

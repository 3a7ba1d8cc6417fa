package access

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/removal"
)

// Unbind takes a workspace from every key that names it. A key that names no other one is revoked: without any it would be one for
// all of them.
func (k *Keyring) Unbind(ctx context.Context, workspace string) error {
	keys, err := k.List(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if !slices.Contains(key.Workspaces, workspace) {
			continue
		}
		if _, err := k.change(ctx, key.ID, func(key *Key) (bool, error) {
			rest := slices.DeleteFunc(slices.Clone(key.Workspaces), func(ws string) bool { return ws == workspace })
			switch {
			case len(rest) == len(key.Workspaces):
				return false, nil
			case len(rest) > 0:
				key.Workspaces = rest
			case !key.RevokedAt.IsZero():
				return false, nil
			default:
				key.RevokedAt = k.now()
			}
			return true, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Ledger are the workspaces in the terms of package removal.
type Ledger struct{ *Workspaces }

var _ removal.Ledger = Ledger{}

// Condemned implements [removal.Ledger].
func (l Ledger) Condemned(ctx context.Context) ([]removal.Condemned, error) {
	list, err := l.Workspaces.Condemned(ctx)
	if err != nil {
		return nil, err
	}
	var out []removal.Condemned
	for _, ws := range list {
		out = append(out, ws.Condemned())
	}
	return out, nil
}

// Condemned is the workspace as one that is to go.
func (ws Workspace) Condemned() removal.Condemned {
	return removal.Condemned{Workspace: ws.ID, Since: ws.DeletingAt, By: ws.DeletedBy}
}

// Lease implements [removal.Ledger].
func (w *Workspaces) Lease(ctx context.Context, id, holder string, d time.Duration) (bool, error) {
	mine := false
	_, err := w.change(ctx, id, func(ws *Workspace) error {
		now := w.now()
		if mine = ws.Deleting() && (ws.RemovedBy == holder || now.After(ws.RemovedUntil)); !mine {
			return errNotOurs
		}
		ws.RemovedBy, ws.RemovedUntil = holder, now.Add(d).UTC()
		return nil
	})
	if errors.Is(err, errNotOurs) || fault.KindOf(err) == fault.NotFound && err != nil {
		return false, nil //nolint:nilerr // it is not ours, or is gone
	}
	return mine, err
}

var errNotOurs = errors.New("somebody else removes the workspace")

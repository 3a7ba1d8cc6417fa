package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// RoleIn returns what a caller may do in a workspace; none when they have no business in it.
func (g *Guard) RoleIn(_ context.Context, who Grant, workspace string) (identity.Role, error) {
	return g.roleIn(who, workspace)
}

// MayManage says why a caller may not make, see or end a key: nobody hands out, or takes away, more than they have. Who
// administers all workspaces may manage any key, others those whose workspaces they administer one and all.
func (g *Guard) MayManage(ctx context.Context, who Grant, key Key) error {
	if len(who.Scopes) > 0 {
		beyond := slices.ContainsFunc(key.Scopes, func(s string) bool { return !slices.Contains(who.Scopes, s) })
		if beyond || len(key.Scopes) == 0 {
			return fault.New(fault.Denied, fault.RoleTooLow, "a key may have only scopes that you have yourself: %s", strings.Join(who.Scopes, ", ")).
				WithField("scopes", "must be some of yours")
		}
	}
	if who.everywhere() >= identity.Admin {
		return nil
	}
	if len(key.Workspaces) == 0 {
		return fault.New(fault.Denied, fault.RoleTooLow, "a key for all workspaces can be managed only by who administers all of them; name workspaces").
			WithField("workspaces", "must name workspaces that you administer")
	}
	for _, ws := range key.Workspaces {
		role, err := g.RoleIn(ctx, who, ws)
		switch {
		case err != nil:
			return err
		case role == 0:
			return noWorkspace(ws)
		case role < identity.Admin:
			return fault.New(fault.Denied, fault.RoleTooLow, "you do not administer workspace %s", ws).
				WithField("workspaces", "must be workspaces that you administer")
		}
	}
	return nil
}

// administers returns a workspace that a caller administers; not ok when there is none.
func (g *Guard) administers(ctx context.Context, who Grant) (workspace string, ok bool) {
	if who.everywhere() >= identity.Admin {
		return DefaultWorkspace, true
	}
	for _, ws := range g.workspaces.ids() {
		if role, err := g.RoleIn(ctx, who, ws); err == nil && role >= identity.Admin {
			return ws, true
		}
	}
	return "", false
}

// AccountRole returns the role of a service account in a workspace.
func (g *Guard) AccountRole(ctx context.Context, account, workspace string) (identity.Role, error) {
	role, err := g.RoleIn(ctx, Grant{Subject: "service:" + account, Workspaces: []string{workspace}}, workspace)
	if err == nil && role == 0 {
		err = fault.New(fault.NotFound, fault.MemberNotFound, "there is no service account %s in workspace %s; make it a member first", account, workspace).
			WithField("service_account", "must be a member of the workspace")
	}
	return role, err
}

// Healthy says whether what is known of the members is recent.
func (m *Members) Healthy() (bool, string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.known() != nil {
		return false, fmt.Sprintf("the members were not read within %s", maxAge)
	}
	return true, ""
}

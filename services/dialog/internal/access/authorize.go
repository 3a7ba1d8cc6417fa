package access

import (
	"context"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// Authorize says whether a caller may make a call about a workspace, and for whom it is then made. workspace is empty for
// procedures that name none. A caller's role in a workspace is the highest of what their credential allows, what the groups
// of their identity provider do, and what they have as a member.
func (g *Guard) Authorize(ctx context.Context, who Grant, procedure, workspace string) (identity.Principal, error) {
	rule, ok := ruleOf(procedure)
	if !ok || rule.reach == closed {
		return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "%s is not served here", strings.TrimPrefix(procedure, "/"))
	}
	if len(who.Scopes) > 0 && rule.scope != always && !slices.Contains(who.Scopes, rule.scope) {
		return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "this needs a key with the scope %q; this one has only %s", rule.scope, strings.Join(who.Scopes, ", "))
	}
	if rule.reach == administered {
		home, ok := g.administers(ctx, who)
		if !ok {
			return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "this needs the role %s in a workspace; ask an administrator of it", rule.role)
		}
		return identity.Principal{Subject: who.Subject, Names: who.Names, Scopes: who.Scopes, Role: rule.role, Workspace: home}, nil
	}
	p := identity.Principal{Subject: who.Subject, Names: who.Names, Scopes: who.Scopes, Workspace: workspace}
	switch rule.reach {
	case installation:
		p.Workspace, p.Role = DefaultWorkspace, who.everywhere()
		if p.Role < rule.role {
			return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "this needs the role %s in all workspaces; ask whoever runs the server", rule.role)
		}
	case everything:
		p.Workspace, p.Role = DefaultWorkspace, who.everywhere()
		if !who.Owner || p.Role < rule.role {
			return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "this needs the bootstrap key, auth.bootstrap_key of dialog's configuration")
		}
	case anyWorkspace:
		home, role, err := g.home(ctx, who)
		if err != nil {
			return identity.Principal{}, err
		}
		p.Workspace, p.Role = home, role
		if role < rule.role {
			return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "you are not a member of any workspace; ask an administrator to make you one")
		}
	default:
		role, err := g.roleIn(who, workspace)
		if err != nil {
			return identity.Principal{}, err
		}
		if role == 0 {
			return identity.Principal{}, noWorkspace(workspace)
		}
		if err := g.workspaces.Check(ctx, workspace); err != nil {
			return identity.Principal{}, err
		}
		if p.Role = role; role < rule.role {
			return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "this needs the role %s in the workspace; ask an administrator of it", rule.role)
		}
	}
	return p, nil
}

// Enter returns a context for a call that was let in, which ends when the workspace it is about is deleted.
func (g *Guard) Enter(ctx context.Context, workspace string) (context.Context, error) {
	return g.workspaces.Enter(ctx, workspace)
}

// roleIn returns a caller's role in a workspace, whether that is there or not; none when they have no business in it. While
// members can't be looked up, whoever has a role of their own goes on with it.
func (g *Guard) roleIn(who Grant, workspace string) (identity.Role, error) {
	own := who.role(workspace)
	if own >= identity.Admin || who.Service != "" || !who.reaches(workspace) || g.members == nil {
		return own, nil
	}
	role, err := g.members.Role(workspace, who.names())
	if err != nil && own == 0 {
		return 0, err
	}
	return max(own, role), nil
}

// names is everything that members and access lists may call a caller.
func (g Grant) names() []string { return append([]string{g.Subject}, g.Names...) }

// Home returns the workspace that is meant where a caller names none: the default one if they may enter it, else the only one
// that they may.
func (g *Guard) Home(ctx context.Context, who Grant) string {
	if len(who.Workspaces) == 1 {
		return who.Workspaces[0]
	}
	if home, _, err := g.home(ctx, who); err == nil && home != "" {
		return home
	}
	return DefaultWorkspace
}

// home returns a workspace that the caller may enter, and their role there: the default one if that is one of them. There may
// be none.
func (g *Guard) home(ctx context.Context, who Grant) (string, identity.Role, error) {
	role, err := g.roleIn(who, DefaultWorkspace)
	if role > 0 {
		return DefaultWorkspace, role, nil
	}
	candidates := slices.Clone(who.Workspaces)
	for workspace := range who.Roles {
		candidates = append(candidates, workspace)
	}
	if err == nil && who.Service == "" && g.members != nil {
		var member []string
		member, err = g.members.Of(who.names())
		candidates = append(candidates, member...)
	}
	slices.Sort(candidates)
	for _, workspace := range slices.Compact(candidates) {
		if role, roleErr := g.roleIn(who, workspace); roleErr == nil && role > 0 && workspace != AllWorkspaces && g.workspaces.Check(ctx, workspace) == nil {
			return workspace, role, nil
		}
	}
	return "", 0, err
}

// Workspaces returns the workspaces that a caller may enter, ordered by id.
func (g *Guard) Workspaces(ctx context.Context, who Grant) ([]Workspace, error) {
	all, err := g.workspaces.List(ctx)
	if err != nil {
		return nil, err
	}
	var failed error
	reached := slices.DeleteFunc(all, func(ws Workspace) bool {
		role, err := g.roleIn(who, ws.ID)
		if err != nil {
			failed = err
		}
		return role == 0
	})
	if len(reached) == 0 {
		return nil, failed
	}
	return reached, nil
}

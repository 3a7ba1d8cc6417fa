package rpc

import (
	"context"
	"net/http"

	"github.com/ragmesh/ragmesh/libs/identity"
	kit "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/login"
)

// NewLogin returns the handler of what is below /auth/. d lacks the edge.
func NewLogin(d login.Deps, edge *Edge) *login.Handler {
	d.Gate, d.Cookies, d.Report = loginGate{edge}, edge.cookies, kit.NoteFault
	return login.New(d)
}

// loginGate is the edge for browsers that log in.
type loginGate struct{ *Edge }

var _ login.Gate = loginGate{}

// Identify implements [login.Gate].
func (g loginGate) Identify(r *http.Request) (context.Context, access.Grant, error) {
	who, err := g.identify(r.Context(), r.URL.Path, r.Header)
	if err != nil {
		return r.Context(), who, err
	}
	kit.NoteCaller(r.Context(), identity.Principal{Service: who.Service, Subject: who.Subject})
	return access.NewContext(r.Context(), who), who, nil
}

// Try implements [login.Gate].
func (g loginGate) Try(r *http.Request) (func(), error) {
	return g.guard.Try(g.client(r.Context(), r.Header))
}

// Person implements [login.Gate].
func (g loginGate) Person(issuer string, claims map[string]any) (access.Person, error) {
	return g.guard.Person(issuer, claims)
}

// Places implements [login.Gate].
func (g loginGate) Places(ctx context.Context, who access.Grant) ([]login.Place, error) {
	list, err := g.guard.Workspaces(ctx, who)
	if err != nil {
		return nil, err
	}
	out := []login.Place{}
	for _, ws := range list {
		role, err := g.guard.RoleIn(ctx, who, ws.ID)
		if err != nil {
			return nil, err
		}
		if role > 0 {
			out = append(out, login.Place{Workspace: ws.ID, Role: role.String()})
		}
	}
	return out, nil
}

// Note implements [login.Gate].
func (g loginGate) Note(r *http.Request, actor, action, issuer string, err error) {
	if err != nil {
		g.denied(r.Context(), r.Header, access.Grant{Subject: actor}, action, "", err)
		return
	}
	g.trail.Note(audit.Event{Actor: actor, Action: action, Target: issuer, Allowed: true, Address: g.client(r.Context(), r.Header)})
}

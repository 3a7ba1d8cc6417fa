// Package identity says who is calling. The edge puts a [Principal] into the context; every internal call carries it as a
// short-lived Ed25519 token ([Signer]), which the called service checks ([Verifier]) together with what the calling service
// may call at all ([Allowed]) and which workspace the request is about ([CheckWorkspace]). The package knows no transport:
// package rpc has the interceptors.
package identity

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// The services, by the names they have as issuer and audience.
const (
	Dialog    = "dialog"
	Retriever = "retriever"
	Tools     = "tools"
	Gateway   = "llm-gateway"
	Eval      = "eval"
)

// Services returns the names of all services.
func Services() []string { return []string{Dialog, Retriever, Tools, Gateway, Eval} }

// Role is what a person or a key may do in a workspace. Each includes those before it. The zero value is none.
type Role uint8

// The roles.
const (
	// Viewer reads and asks.
	Viewer Role = iota + 1
	// Editor changes documents and runs tests too.
	Editor
	// Admin manages workspaces and keys too.
	Admin
)

var roleNames = [...]string{"", "viewer", "editor", "admin"}

// String returns the role's name, "" for none.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return ""
}

// ParseRole returns the role of a name. The empty name is no role.
func ParseRole(name string) (Role, error) {
	for r, known := range roleNames {
		if name == known {
			return Role(r), nil
		}
	}
	return 0, fmt.Errorf("parse role: %q is none of viewer, editor, admin", name)
}

// Principal is who a call is made for, and by which service.
type Principal struct {
	// Service that made the call: the token's issuer. Empty at the edge, where nobody has called on anyone's behalf yet.
	Service string
	// Subject is the person or API key behind the call; for work nobody asked for just now, the service's own name.
	Subject string
	// Workspace the call is about: a request for another one is answered as if that did not exist.
	Workspace string
	// Role of the subject in the workspace.
	Role Role
	// Scopes narrow down what a key may do; none means no narrowing.
	Scopes []string
	// Names are what else access lists call the subject: their groups ("group:finance") and their e-mail address
	// ("user:alice@example.com").
	Names []string
}

// Reads says whether the principal may read what is meant for readers alone. Administrators may read everything in their
// workspace.
func (p Principal) Reads(readers []string) bool {
	if p.Role >= Admin {
		return true
	}
	return slices.ContainsFunc(readers, func(r string) bool {
		r = Fold(r)
		is := func(name string) bool { return r == Fold(name) }
		return r != "" && (is(p.Subject) || slices.ContainsFunc(p.Names, is))
	})
}

// Fold makes equal what means the same in lists of members and readers: e-mail addresses are written in either case. Other
// names are as they are.
func Fold(name string) string {
	if strings.HasPrefix(name, "user:") && strings.Contains(name, "@") {
		return strings.ToLower(name)
	}
	return name
}

// Background returns the principal of work that a service does by itself in a workspace: indexing, tests.
func Background(service, workspace string) Principal {
	return Principal{Service: service, Subject: service, Workspace: workspace, Role: Editor}
}

type contextKey struct{}

// NewContext returns a context that carries p. Calls made with it are made for p.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns the principal a context carries.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(contextKey{}).(Principal)
	return p, ok
}

// cacheKey is equal for principals that may share a token.
func (p Principal) cacheKey(audience string) string {
	return strings.Join([]string{
		audience, p.Subject, p.Workspace, p.Role.String(), strings.Join(p.Scopes, "\x01"), strings.Join(p.Names, "\x01"),
	}, "\x00")
}

package access

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// Verifier checks the tokens of other services; *identity.Verifier is one.
type Verifier interface {
	Verify(token, audience string) (identity.Principal, error)
}

// Call is what is known of a call before its request is read.
type Call struct {
	Procedure     string // "/package.Service/Method"
	Authorization string // the header
	Host, Origin  string // the headers
}

// Authenticate says who is calling.
func (g *Guard) Authenticate(ctx context.Context, c Call) (Grant, error) {
	scheme, token, _ := strings.Cut(c.Authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	// A service's token is a JWT, with two dots; an API key has none.
	if g.verifier != nil && strings.Count(token, ".") == 2 {
		p, err := g.verifier.Verify(token, identity.Dialog)
		if err == nil {
			return serviceGrant(p, c.Procedure)
		}
		if g.cfg.Configured() {
			return Grant{}, err
		}
	}
	if !g.cfg.Configured() {
		// Whatever bearer token a client sends is ignored: OpenAI clients can't do without one.
		if err := g.checkLocal(c); err != nil {
			return Grant{}, err
		}
		return Grant{Subject: "local", Role: identity.Admin, Owner: true}, nil
	}
	switch {
	case token == "":
		return Grant{}, fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "this server wants an API key; send it as \"Authorization: Bearer rmk_...\"")
	case g.bootstrap.set() && g.bootstrap.equal(hash(token)):
		return Grant{Subject: "bootstrap", Role: identity.Admin, Owner: true}, nil
	default:
		return g.keys.Check(ctx, token)
	}
}

func serviceGrant(p identity.Principal, procedure string) (Grant, error) {
	if !identity.Allowed(p.Service, procedure) {
		return Grant{}, fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "%s may not call %s", p.Service, strings.TrimPrefix(procedure, "/"))
	}
	if p.Workspace == "" {
		return Grant{}, fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "the service's token names no workspace")
	}
	return Grant{Service: p.Service, Subject: p.Subject, Role: p.Role, Workspaces: []string{p.Workspace}}, nil
}

// checkLocal keeps other machines and other sites out while nobody has to show who they are: a page elsewhere could
// otherwise have its visitor's browser post here (Origin), also under a name of its own that it points to 127.0.0.1 (Host).
func (g *Guard) checkLocal(c Call) error {
	host := c.Host
	if h, _, err := net.SplitHostPort(c.Host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if !loopback(host) && !slices.ContainsFunc(g.cfg.AllowedHosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return fault.New(fault.Denied, fault.CrossSite, "without authentication this server answers only requests to localhost; use http://127.0.0.1, or configure auth")
	}
	if c.Origin == "" {
		return nil
	}
	_, origin, ok := strings.Cut(c.Origin, "://")
	if !ok || !strings.EqualFold(origin, c.Host) {
		return fault.New(fault.Denied, fault.CrossSite, "without authentication this server answers no pages of other sites")
	}
	return nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

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

// Tokens checks the tokens of identity providers.
type Tokens interface {
	// Verify returns the claims of a token that a provider made for this server and that counts now. Offline it asks nobody:
	// a token that can't be checked so is not good.
	Verify(ctx context.Context, issuer, token string, online bool) (map[string]any, error)
}

// Call is what is known of a call before its request is read.
type Call struct {
	Procedure     string   // "/package.Service/Method"
	Authorization []string // the headers of this name
	Host, Origin  string   // the headers
	FetchSite     string   // the header Sec-Fetch-Site: where a browser's page is from
	Login         string   // what the browser's cookie holds
	Address       string   // the client's, from [Guard.Address]
}

// Authenticate says who is calling.
func (g *Guard) Authenticate(ctx context.Context, c Call) (Grant, error) {
	token, err := bearer(c.Authorization)
	if !g.cfg.Configured() {
		return g.local(c, token)
	}
	switch {
	case err != nil:
		return Grant{}, err
	case token == "" && c.Login == "":
		return Grant{}, fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "this server wants to know who asks: send an API key or a token as \"Authorization: Bearer ...\"")
	case token == "":
		if err := g.checkBrowser(c); err != nil {
			return Grant{}, err
		}
	}
	check := func(online bool) (Grant, error) { return g.check(ctx, c, token, online) }
	who, err := check(false)
	if err == nil {
		return who, nil
	}
	// Neither memory nor a provider's keys know it to be good: from here on it is a guess, until it turns out to be none.
	forgive, err := g.guesses.try(named("address ", c.Address), named("key ", keyID(token)))
	if err != nil {
		return Grant{}, err
	}
	who, err = check(true)
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
	default: // it was good, or nobody could say
		forgive()
	}
	return who, err
}

// Try counts an attempt to show who one is from an address, until it is forgiven, or refuses it.
func (g *Guard) Try(address string) (forgive func(), err error) {
	return g.guesses.try(named("address ", address))
}

func named(what, name string) string {
	if name == "" {
		return ""
	}
	return what + name
}

// check says whose a token is, or a login when there is no token. Offline it looks only at what is in memory.
func (g *Guard) check(ctx context.Context, c Call, token string, online bool) (Grant, error) {
	switch {
	case token == "":
		s, err := g.logins.Check(ctx, c.Login, online)
		if err != nil {
			return Grant{}, err
		}
		return g.people.grant(s.Person)
	case g.bootstrap.set() && g.bootstrap.equal(hash(token)):
		return Grant{Subject: "bootstrap", Role: identity.Admin, Owner: true}, nil
	case isJWT(token):
		return g.checkJWT(ctx, c.Procedure, token, online)
	default:
		return g.keys.check(ctx, token, online)
	}
}

// checkJWT asks whom a token names as its maker. That only chooses who checks it: each knows their own name, keys and
// algorithms and takes nothing of these from the token.
func (g *Guard) checkJWT(ctx context.Context, procedure, token string, online bool) (Grant, error) {
	maker, ok := issuerOf(token)
	if !ok {
		return Grant{}, notOurs()
	}
	if g.verifier != nil && slices.Contains(identity.Services(), maker) {
		p, err := g.verifier.Verify(token, identity.Dialog)
		if err != nil {
			return Grant{}, err
		}
		return serviceGrant(p, procedure)
	}
	from, ok := g.people.byURL(maker)
	if !ok {
		return Grant{}, notOurs()
	}
	claims, err := g.tokens.Verify(ctx, from.Name, token, online)
	if err != nil {
		return Grant{}, err
	}
	who, err := g.people.person(from, claims)
	if err != nil {
		return Grant{}, err
	}
	return g.people.grant(who)
}

func notOurs() error {
	return fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "the token is not from an identity provider of this server")
}

// local lets in whoever asks from this machine. Whatever bearer token a client sends is ignored: OpenAI clients can't do
// without one.
func (g *Guard) local(c Call, token string) (Grant, error) {
	if g.verifier != nil && isJWT(token) {
		if p, err := g.verifier.Verify(token, identity.Dialog); err == nil {
			return serviceGrant(p, c.Procedure)
		}
	}
	if err := g.checkLocal(c); err != nil {
		return Grant{}, err
	}
	return Grant{Subject: "local", Role: identity.Admin, Owner: true}, nil
}

// Person returns who a provider's token shows somebody to be, for logging them in.
func (g *Guard) Person(issuer string, claims map[string]any) (Person, error) {
	from, ok := g.people.byName(issuer)
	if !ok {
		return Person{}, notOurs()
	}
	return g.people.person(from, claims)
}

// checkBrowser keeps pages of other sites from acting in the name of who is logged in: a browser sends its cookie along
// whoever makes it ask. Browsers say who does, in one of two headers; what sends neither is no browser.
func (g *Guard) checkBrowser(c Call) error {
	switch c.FetchSite {
	case "same-origin", "none": // one of our own pages, or the address bar
		return nil
	case "":
		if c.Origin == "" || g.ownOrigin(c) {
			return nil
		}
	}
	return fault.New(fault.Denied, fault.CrossSite, "a page of another site may not use this browser's login; it needs an API key or a token of its own")
}

// ownOrigin says whether a page of this server asks: one from its public address, or from where the request was sent.
func (g *Guard) ownOrigin(c Call) bool {
	if g.cfg.Login.PublicURL != "" && strings.EqualFold(c.Origin, g.cfg.Login.PublicURL) {
		return true
	}
	_, origin, ok := strings.Cut(c.Origin, "://")
	return ok && strings.EqualFold(origin, c.Host)
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

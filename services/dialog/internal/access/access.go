// Package access decides who may do what at the edge: API keys, service tokens and the unauthenticated laptop mode say who
// is calling, one table says which role each procedure needs, and each caller reaches only the workspaces that are theirs.
// What is not in the table is refused. The package knows no transport; package rpc's interceptor asks it.
package access

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// DefaultWorkspace always exists, and is meant where a request names none.
const DefaultWorkspace = "default"

// Config says how callers show who they are.
type Config struct {
	BootstrapKey config.Secret `yaml:"bootstrap_key" doc:"API key with all rights, for the first start and for emergencies. Giving one turns authentication on."`
	Required     bool          `yaml:"required" doc:"Refuse callers without a good API key even when no bootstrap key is given."`
	AllowedHosts []string      `yaml:"allowed_hosts" doc:"Names besides loopback that requests may be addressed to while no authentication is configured, without port."`
}

// Configured reports whether callers have to show who they are.
func (c Config) Configured() bool { return c.Required || !c.BootstrapKey.IsZero() }

// CheckBind refuses to serve anyone but this machine's own users while no authentication is configured.
func (c Config) CheckBind(addr string) error {
	if c.Configured() {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("check address %q: %w", addr, err)
	}
	if !loopback(host) {
		return fmt.Errorf("address %s can be reached from other machines, and no authentication is configured: bind 127.0.0.1, or give auth.bootstrap_key", addr)
	}
	return nil
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	for i, h := range c.AllowedHosts {
		if h == "" || strings.ContainsAny(h, ":/* ") {
			return config.Invalid(fmt.Sprintf("allowed_hosts[%d]", i), "must be a host name without scheme, port and wildcard, not %q", h)
		}
	}
	return nil
}

// Table is a bucket of keys and values; *bus.KV is one.
type Table interface {
	Get(ctx context.Context, key string) (bus.Entry, error)
	Create(ctx context.Context, key string, value []byte) (uint64, error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	List(ctx context.Context, filter string) ([]bus.Entry, error)
	Watch(ctx context.Context, filter string, fn func(bus.Entry)) error
}

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

// Grant is who is calling and where they may go.
type Grant struct {
	Service    string // the calling service; empty for people and programs outside
	Subject    string
	Names      []string // what else members and access lists call the subject, as in [identity.Principal]
	Role       identity.Role
	Workspaces []string // empty means all
	Scopes     []string // what of the role is allowed; empty means all of it
	// Owner is whoever runs the installation: the holder of the bootstrap key, or anybody where nobody is asked.
	Owner bool
}

func (g Grant) reaches(workspace string) bool {
	return len(g.Workspaces) == 0 || slices.Contains(g.Workspaces, workspace)
}

// Guard lets calls through or refuses them. It is safe for concurrent use.
type Guard struct {
	cfg        Config
	bootstrap  digest
	verifier   Verifier
	keys       *Keyring
	workspaces *Workspaces
}

// NewGuard returns a Guard. verifier may be nil: then no service is let in.
func NewGuard(cfg Config, verifier Verifier, keys *Keyring, workspaces *Workspaces) (*Guard, error) {
	g := &Guard{cfg: cfg, verifier: verifier, keys: keys, workspaces: workspaces}
	if !cfg.BootstrapKey.IsZero() {
		secret, err := cfg.BootstrapKey.Resolve()
		if err != nil {
			return nil, fmt.Errorf("read auth.bootstrap_key: %w", err)
		}
		if len(secret) < minBootstrap {
			return nil, fmt.Errorf("read auth.bootstrap_key: it has %d characters; use at least %d random ones, such as `ragmesh keys init` makes", len(secret), minBootstrap)
		}
		g.bootstrap = hash(secret)
	}
	return g, nil
}

// minBootstrap keeps passwords from being used as bootstrap key: it is stored and compared as a plain hash.
const minBootstrap = 32

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

// Authorize says whether a caller may make a call about a workspace, and for whom it is then made. workspace is empty for
// procedures that name none.
func (g *Guard) Authorize(ctx context.Context, who Grant, procedure, workspace string) (identity.Principal, error) {
	rule, ok := ruleOf(procedure)
	if !ok || rule.scope == closed {
		return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "%s is not served here", strings.TrimPrefix(procedure, "/"))
	}
	if who.Role < rule.role {
		return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "this needs the role %s; ask an administrator for a key that has it", rule.role)
	}
	p := identity.Principal{Subject: who.Subject, Names: who.Names, Scopes: who.Scopes, Role: who.Role, Workspace: workspace}
	switch rule.scope {
	case installation:
		if len(who.Workspaces) > 0 {
			return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "this needs a key for all workspaces")
		}
		p.Workspace = DefaultWorkspace
	case everything:
		if !who.Owner {
			return identity.Principal{}, fault.New(fault.Denied, fault.RoleTooLow, "this needs the bootstrap key, auth.bootstrap_key of dialog's configuration")
		}
		p.Workspace = DefaultWorkspace
	case anyWorkspace:
		p.Workspace = DefaultWorkspace
		if !who.reaches(DefaultWorkspace) {
			p.Workspace = who.Workspaces[0]
		}
	default:
		if !who.reaches(workspace) {
			return identity.Principal{}, noWorkspace(workspace)
		}
		if err := g.workspaces.Check(ctx, workspace); err != nil {
			return identity.Principal{}, err
		}
	}
	return p, nil
}

func noWorkspace(workspace string) error {
	if len(workspace) > 64 {
		workspace = workspace[:64]
	}
	return fault.New(fault.NotFound, fault.WorkspaceNotFound, "there is no workspace %q, or this key may not enter it", strings.ToValidUTF8(workspace, "")).
		WithField("workspace", "must be a workspace of the caller")
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

type contextKey struct{}

// NewContext returns a context that carries who is calling.
func NewContext(ctx context.Context, g Grant) context.Context {
	return context.WithValue(ctx, contextKey{}, g)
}

// FromContext returns who is calling; the zero Grant, which may do nothing, when that is not known.
func FromContext(ctx context.Context) Grant {
	g, _ := ctx.Value(contextKey{}).(Grant)
	return g
}

// Package access decides who may do what at the edge: API keys, service tokens and the unauthenticated laptop mode say who
// is calling, one table says which role each procedure needs, and each caller reaches only the workspaces that are theirs.
// What is not in the table is refused. The package knows no transport; package rpc's interceptor asks it.
package access

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// DefaultWorkspace always exists, and is meant where a request names none.
const DefaultWorkspace = "default"

// Table is a bucket of keys and values; *bus.KV is one.
type Table interface {
	Get(ctx context.Context, key string) (bus.Entry, error)
	Create(ctx context.Context, key string, value []byte) (uint64, error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, filter string) ([]bus.Entry, error)
	Watch(ctx context.Context, filter string, fn func(bus.Entry)) error
}

// Grant is who is calling and where they may go.
type Grant struct {
	Service string // the calling service; empty for people and programs outside
	Subject string
	Names   []string // what else members and access lists call the subject, as in [identity.Principal]
	// Role is what the credential itself allows wherever it reaches; none when membership and Roles decide alone.
	Role identity.Role
	// Roles are what the groups of an identity provider allow, by workspace; [AllWorkspaces] means in every one.
	Roles map[string]identity.Role
	// Workspaces are the only ones the credential reaches, whatever the roles; empty means all.
	Workspaces []string
	Scopes     []string // what of the role is allowed; empty means all of it
	// Owner is whoever runs the installation: the holder of the bootstrap key, or anybody where nobody is asked.
	Owner bool
	// Person is who an identity provider says the caller is; nil for others.
	Person *Person
}

// AllWorkspaces stands for every workspace in [Grant.Roles].
const AllWorkspaces = "*"

// reaches says whether the credential may be used for a workspace at all.
func (g Grant) reaches(workspace string) bool {
	return len(g.Workspaces) == 0 || slices.Contains(g.Workspaces, workspace)
}

// role returns what the caller may do in a workspace without being a member of it.
func (g Grant) role(workspace string) identity.Role {
	if !g.reaches(workspace) {
		return 0
	}
	return max(g.Role, g.Roles[AllWorkspaces], g.Roles[workspace])
}

// everywhere returns what the caller may do in every workspace there is.
func (g Grant) everywhere() identity.Role { return g.role(AllWorkspaces) }

// Guard lets calls through or refuses them. It is safe for concurrent use.
type Guard struct {
	cfg        Config
	bootstrap  digest
	verifier   Verifier
	tokens     Tokens
	people     people
	proxies    []netip.Prefix
	guesses    *guesses
	keys       *Keyring
	logins     *Logins
	workspaces *Workspaces
	members    *Members
}

// Known is where a Guard looks up who calls.
type Known struct {
	Verifier   Verifier // of services' tokens; nil lets no service in
	Tokens     Tokens   // of identity providers; nil where there are none
	Keys       *Keyring
	Logins     *Logins
	Workspaces *Workspaces
	Members    *Members // nil where nobody is one
	Clock      func() time.Time
}

// NewGuard returns a Guard.
func NewGuard(cfg Config, known Known) (*Guard, error) {
	g := &Guard{
		cfg: cfg, verifier: known.Verifier, tokens: known.Tokens, people: people{cfg.Issuers()}, keys: known.Keys, logins: known.Logins,
		workspaces: known.Workspaces, members: known.Members, guesses: newGuesses(cfg.Failures, known.Clock),
	}
	for _, p := range cfg.TrustedProxies {
		network, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("read auth.trusted_proxies: %w", err)
		}
		g.proxies = append(g.proxies, network)
	}
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

func noWorkspace(workspace string) error {
	if len(workspace) > 64 {
		workspace = workspace[:64]
	}
	return fault.New(fault.NotFound, fault.WorkspaceNotFound, "there is no workspace %q, or this key may not enter it", strings.ToValidUTF8(workspace, "")).
		WithField("workspace", "must be a workspace of the caller")
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

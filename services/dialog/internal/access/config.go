package access

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// Config says how callers show who they are.
type Config struct {
	BootstrapKey   config.Secret `yaml:"bootstrap_key" doc:"API key with all rights, for the first start and for emergencies. Giving one turns authentication on."`
	Required       bool          `yaml:"required" doc:"Refuse callers without a good API key even when no bootstrap key is given."`
	AllowedHosts   []string      `yaml:"allowed_hosts" doc:"Names besides loopback that requests may be addressed to while no authentication is configured, without port."`
	TrustedProxies []string      `yaml:"trusted_proxies" doc:"Networks (CIDR) of the proxies in front of this server. What they say in X-Forwarded-For is believed, nobody else's."`
	Failures       Failures      `yaml:"failures"`
	OIDC           []Issuer      `yaml:"oidc" doc:"Identity providers whose tokens are accepted, and where people log in with a browser. Giving one turns authentication on."`
	Login          Login         `yaml:"login"`
}

// Failures bound the guessing of keys and tokens.
type Failures struct {
	Burst     int `yaml:"burst" doc:"How often in a row one client address, or everybody for one key, may fail before further failures are refused without being looked at. Good keys go on. Count, 1 to 1000."`
	PerMinute int `yaml:"per_minute" doc:"How many failures a minute are allowed after that. Count, 1 to 1000."`
}

// Login is what browsers need.
type Login struct {
	PublicURL string        `yaml:"public_url" doc:"Address under which browsers reach this server, such as https://ragmesh.example.com. Without it there is no login with a browser. The redirect URI to register with providers is this with /auth/callback."`
	Lifetime  time.Duration `yaml:"lifetime" doc:"How long a browser stays logged in. Duration, 1m to 168h."`
}

// MaxLogin is the longest that a browser may stay logged in: the bucket that holds logins forgets them then.
const MaxLogin = 7 * 24 * time.Hour

// Issuer is an identity provider.
type Issuer struct {
	Name         string        `yaml:"name" doc:"Short name, for logs and for choosing a provider when logging in."`
	URL          string        `yaml:"issuer" doc:"The provider's issuer URL, exactly as its tokens have it."`
	Audiences    []string      `yaml:"audiences" doc:"Audiences (aud) of which a bearer token needs one. Default: client_id."`
	ClientID     string        `yaml:"client_id" doc:"This server's client id at the provider, for logging in with a browser. Without one the provider's tokens are accepted as bearer tokens only."`
	ClientSecret config.Secret `yaml:"client_secret" doc:"This server's client secret, if the provider gave it one."`
	Scopes       []string      `yaml:"scopes" doc:"Scopes asked for when logging in. Default: openid, profile, email."`
	Claims       Claims        `yaml:"claims"`
	Prefix       string        `yaml:"prefix" doc:"Put before the names of this provider's people and groups, such as partner/. All but one of several providers need one, so that they can't name each other's people."`
	EmailDomains []string      `yaml:"email_domains" doc:"Domains of the e-mail addresses that this provider may vouch for. Default: all, for the only provider; none, where there are several."`
	Algorithms   []string      `yaml:"algorithms" doc:"Signature algorithms accepted. Default: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA."`
	ClockSkew    time.Duration `yaml:"clock_skew" doc:"By how much the provider's clock may differ. Duration, 0s to 5m. Default: 30s."`
	Roles        []RoleMapping `yaml:"roles" doc:"What the provider's groups may do, beside what membership gives them. Default: nothing."`
}

// Claims name the claims that matter.
type Claims struct {
	Username string `yaml:"username" doc:"Claim that names a person for good, as user:NAME. Default: sub."`
	Email    string `yaml:"email" doc:"Claim with the e-mail address. It counts only while email_verified is true. Default: email."`
	Groups   string `yaml:"groups" doc:"Claim with the person's groups, a text or a list; dots lead into objects. Default: groups."`
}

// RoleMapping gives a group a role.
type RoleMapping struct {
	Group     string `yaml:"group" doc:"Group as the provider has it, without prefix; * is everybody whom the provider knows."`
	Workspace string `yaml:"workspace" doc:"Workspace in which the group has the role; * is every one."`
	Role      string `yaml:"role" oneof:"viewer,editor,admin" doc:"The role."`
}

// Defaults returns the configuration without any file.
func Defaults() Config {
	return Config{Failures: Failures{Burst: 20, PerMinute: 10}, Login: Login{Lifetime: 12 * time.Hour}}
}

// Configured reports whether callers have to show who they are.
func (c Config) Configured() bool { return c.Required || !c.BootstrapKey.IsZero() || len(c.OIDC) > 0 }

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
		return fmt.Errorf("address %s can be reached from other machines, and no authentication is configured: bind 127.0.0.1, or give auth.bootstrap_key or auth.oidc", addr)
	}
	return nil
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	for i, h := range c.AllowedHosts {
		if h == "" || strings.ContainsAny(h, ":/* ") {
			errs = append(errs, config.Invalid(fmt.Sprintf("allowed_hosts[%d]", i), "must be a host name without scheme, port and wildcard, not %q", h))
		}
	}
	for i, p := range c.TrustedProxies {
		if n, err := netip.ParsePrefix(p); err != nil || n.Masked() != n {
			errs = append(errs, config.Invalid(fmt.Sprintf("trusted_proxies[%d]", i), "must be a network such as 10.0.0.0/8 or 192.0.2.7/32, not %q", p))
		}
	}
	return errors.Join(append(errs, c.checkIssuers()...)...)
}

// Validate checks the bounds.
func (f Failures) Validate() error {
	var errs []error
	if f.Burst < 1 || f.Burst > 1000 {
		errs = append(errs, config.Invalid("burst", "must be 1 to 1000"))
	}
	if f.PerMinute < 1 || f.PerMinute > 1000 {
		errs = append(errs, config.Invalid("per_minute", "must be 1 to 1000"))
	}
	return errors.Join(errs...)
}

// Validate checks address and lifetime.
func (l Login) Validate() error {
	var errs []error
	if l.PublicURL != "" {
		u, err := url.Parse(l.PublicURL)
		if err != nil || !SafeURL(l.PublicURL) || u.Path != "" || u.RawQuery != "" {
			errs = append(errs, config.Invalid("public_url", "must be https://host, or http://localhost with a port, and nothing after it: cookies and codes must not be read on the way; not %q", l.PublicURL))
		}
	}
	if l.Lifetime < time.Minute || l.Lifetime > MaxLogin {
		errs = append(errs, config.Invalid("lifetime", "must be 1m to 168h"))
	}
	return errors.Join(errs...)
}

// checkIssuers checks what no issuer can tell alone: that they differ in everything that tells their people apart.
func (c Config) checkIssuers() []error {
	var errs []error
	for i, a := range c.OIDC {
		for j, b := range c.OIDC[:i] {
			at := fmt.Sprintf("oidc[%d].", i)
			if a.Name == b.Name {
				errs = append(errs, config.Invalid(at+"name", "is that of oidc[%d] already", j))
			}
			if a.URL == b.URL {
				errs = append(errs, config.Invalid(at+"issuer", "is that of oidc[%d] already", j))
			}
			if a.Prefix == b.Prefix || a.Prefix != "" && b.Prefix != "" && (strings.HasPrefix(a.Prefix, b.Prefix) || strings.HasPrefix(b.Prefix, a.Prefix)) {
				errs = append(errs, config.Invalid(at+"prefix", "must differ from that of oidc[%d], and neither may begin with the other: a name must say whose it is", j))
			}
		}
	}
	return errs
}

// Validate checks one provider.
func (i Issuer) Validate() error {
	var errs []error
	bad := func(key, format string, a ...any) { errs = append(errs, config.Invalid(key, format, a...)) }
	if !slug(i.Name) {
		bad("name", "must be made of letters, digits and -, not %q", i.Name)
	}
	if !SafeURL(i.URL) || strings.Contains(i.URL, "?") {
		bad("issuer", "must be an https URL without query (http only for localhost), not %q", i.URL)
	}
	if slices.Contains(identity.Services(), i.URL) {
		bad("issuer", "is the name of a service")
	}
	if len(i.Audiences) == 0 && i.ClientID == "" {
		bad("audiences", "is needed where there is no client_id: a token made for somebody else must not count here")
	}
	if i.Prefix != "" && (len(i.Prefix) > 32 || !strings.HasSuffix(i.Prefix, "/") || !slug(strings.TrimSuffix(i.Prefix, "/"))) {
		bad("prefix", "must be letters, digits and - with / at the end, such as partner/, not %q", i.Prefix)
	}
	for n, d := range i.EmailDomains {
		if d == "" || d != strings.ToLower(d) || strings.ContainsAny(d, "@* /") {
			bad(fmt.Sprintf("email_domains[%d]", n), "must be a domain in lower case, such as example.com, not %q", d)
		}
	}
	for n, a := range i.Algorithms {
		if !slices.Contains(asymmetric(), a) {
			bad(fmt.Sprintf("algorithms[%d]", n), "must be one of %s, not %q: with others whoever checks a token could make one", strings.Join(asymmetric(), ", "), a)
		}
	}
	if i.ClockSkew < 0 || i.ClockSkew > 5*time.Minute {
		bad("clock_skew", "must be 0s to 5m")
	}
	for n, r := range i.Roles {
		if r.Group == "" {
			bad(fmt.Sprintf("roles[%d].group", n), "is needed")
		}
		if r.Workspace != AllWorkspaces && (r.Workspace == "" || len(r.Workspace) > 64 || !workspaceName(r.Workspace)) {
			bad(fmt.Sprintf("roles[%d].workspace", n), "must be the id of a workspace or *, not %q", r.Workspace)
		}
		if role, err := identity.ParseRole(r.Role); err != nil || role == 0 {
			bad(fmt.Sprintf("roles[%d].role", n), "must be viewer, editor or admin")
		}
	}
	return errors.Join(errs...)
}

// asymmetric are the algorithms whose tokens can't be made by who only checks them.
func asymmetric() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// withDefaults fills in what a list's elements can't have as defaults.
func (i Issuer) withDefaults() Issuer {
	if len(i.Audiences) == 0 {
		i.Audiences = []string{i.ClientID}
	}
	if len(i.Scopes) == 0 {
		i.Scopes = []string{"openid", "profile", "email"}
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = asymmetric()
	}
	if i.ClockSkew == 0 {
		i.ClockSkew = 30 * time.Second
	}
	set := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	set(&i.Claims.Username, "sub")
	set(&i.Claims.Email, "email")
	set(&i.Claims.Groups, "groups")
	return i
}

// Issuers returns the providers with everything filled in.
func (c Config) Issuers() []Issuer {
	out := make([]Issuer, len(c.OIDC))
	for n, i := range c.OIDC {
		out[n] = i.withDefaults()
	}
	return out
}

func workspaceName(id string) bool {
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// SafeURL reports an address whose traffic nobody on the way can read or change: one with TLS, or of this machine.
func SafeURL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && u.User == nil && u.Fragment == "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}

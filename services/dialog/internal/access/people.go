package access

import (
	"slices"
	"strings"
	"unicode"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

const (
	// maxGroups and maxNames bound what goes along with every call between services: names, and their bytes.
	maxGroups = 200
	maxNames  = 6 << 10
	maxName   = 200
)

// Person is somebody an identity provider vouches for. Names have the provider's prefix already.
type Person struct {
	Issuer  string   `json:"issuer"` // the provider's name in the configuration
	Name    string   `json:"name"`
	Email   string   `json:"email,omitempty"` // in lower case, and only while the provider may vouch for it
	Groups  []string `json:"groups,omitempty"`
	Display string   `json:"display,omitempty"` // for people to read; nothing is decided by it
}

// Subject is what turns, members and access lists call the person.
func (p Person) Subject() string { return "user:" + p.Name }

// people says who people are and what their groups may do, by the providers' names.
type people struct {
	issuers []Issuer
}

func (p people) byName(name string) (Issuer, bool) {
	i := slices.IndexFunc(p.issuers, func(i Issuer) bool { return i.Name == name })
	if i < 0 {
		return Issuer{}, false
	}
	return p.issuers[i], true
}

func (p people) byURL(url string) (Issuer, bool) {
	i := slices.IndexFunc(p.issuers, func(i Issuer) bool { return i.URL == url })
	if i < 0 {
		return Issuer{}, false
	}
	return p.issuers[i], true
}

func badPerson(format string, a ...any) error {
	return fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, format, a...)
}

// person reads the claims of a token of a provider that was found good.
func (p people) person(from Issuer, claims map[string]any) (Person, error) {
	who := Person{Issuer: from.Name}
	who.Email = p.email(from, claims)
	name, _ := claim(claims, from.Claims.Username).(string)
	if !nameable(name) {
		return Person{}, badPerson("the token has no claim %q that can name anybody; see auth.oidc of dialog's configuration, claims.username", from.Claims.Username)
	}
	// Whoever can choose their own name at the provider must not be able to choose somebody's e-mail address.
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		if lower := strings.ToLower(name); lower == who.Email {
			name = lower
		} else if !slices.Contains(from.EmailDomains, strings.ToLower(name[at+1:])) {
			return Person{}, badPerson("the token's claim %q looks like an e-mail address that the provider has not verified, or may not vouch for; see auth.oidc of dialog's configuration, email_domains", from.Claims.Username)
		}
	}
	var ok bool
	if who.Name, ok = p.own(from, name); !ok {
		return Person{}, badPerson("the token's claim %q begins like the names of another provider's people", from.Claims.Username)
	}
	who.Display = display(claims)
	left := maxNames - len(who.Name) - len(who.Email)
	for _, g := range texts(claim(claims, from.Claims.Groups)) {
		group, ok := p.own(from, g)
		if !nameable(g) || !ok || slices.Contains(who.Groups, group) {
			continue
		}
		if left -= len(group) + len("group:"); left < 0 || len(who.Groups) == maxGroups {
			break // fewer groups are fewer rights
		}
		who.Groups = append(who.Groups, group)
	}
	return who, nil
}

// own returns a name with the provider's prefix; not ok is one that would be taken for another provider's.
func (p people) own(from Issuer, name string) (string, bool) {
	if from.Prefix == "" {
		for _, other := range p.issuers {
			if other.Prefix != "" && strings.HasPrefix(name, other.Prefix) {
				return "", false
			}
		}
	}
	return from.Prefix + name, true
}

// email returns the address that a provider vouches for, "" for none.
func (p people) email(from Issuer, claims map[string]any) string {
	address, _ := claim(claims, from.Claims.Email).(string)
	address = strings.ToLower(address)
	_, domain, ok := strings.Cut(address, "@")
	if !ok || domain == "" || strings.Contains(domain, "@") || !nameable(address) {
		return ""
	}
	if verified := claims["email_verified"]; verified != true && verified != "true" { // some providers write it as a text
		return ""
	}
	if len(from.EmailDomains) == 0 && len(p.issuers) > 1 || len(from.EmailDomains) > 0 && !slices.Contains(from.EmailDomains, domain) {
		return ""
	}
	return address
}

// nameable says whether members and access lists can name somebody so.
func nameable(name string) bool {
	return name != "" && len(name) <= maxName && strings.TrimSpace(name) == name && !strings.Contains(name, "  ") &&
		strings.IndexFunc(name, func(r rune) bool {
			return r == unicode.ReplacementChar || r != ' ' && (unicode.IsSpace(r) || !unicode.IsPrint(r))
		}) < 0
}

func display(claims map[string]any) string {
	for _, key := range []string{"name", "preferred_username"} {
		if s, _ := claims[key].(string); nameable(s) {
			return s
		}
	}
	return ""
}

// claim returns a claim by its name, or by the path to it.
func claim(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok { // some names are URLs, with dots
		return v
	}
	first, rest, nested := strings.Cut(name, ".")
	inner, ok := claims[first].(map[string]any)
	if !nested || !ok {
		return nil
	}
	return claim(inner, rest)
}

// texts returns a text, or the texts of a list.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// grant returns what a person may do by the provider's groups. It is asked anew for each request, so that a change of the
// configuration counts for who is logged in already.
func (p people) grant(who Person) (Grant, error) {
	from, ok := p.byName(who.Issuer)
	if !ok {
		return Grant{}, badPerson("the identity provider %s is not one of this server's any more; log in again", who.Issuer)
	}
	g := Grant{Subject: who.Subject(), Person: &who, Roles: map[string]identity.Role{}}
	if who.Email != "" {
		g.Names = append(g.Names, "user:"+who.Email)
	}
	for _, group := range who.Groups {
		g.Names = append(g.Names, "group:"+group)
	}
	for _, r := range from.Roles {
		if r.Group != "*" && !slices.Contains(who.Groups, from.Prefix+r.Group) {
			continue
		}
		if role, err := identity.ParseRole(r.Role); err == nil {
			g.Roles[r.Workspace] = max(g.Roles[r.Workspace], role)
		}
	}
	return g, nil
}

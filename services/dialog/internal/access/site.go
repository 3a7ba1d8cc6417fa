package access

import (
	"strings"

	"github.com/ragmesh/ragmesh/libs/identity"
)

// CheckSite refuses requests that only a page of another site makes a browser send, while nobody has to show who they are: it
// is for everything that is served, before any of it is looked at. A call of another service is none of these.
func (g *Guard) CheckSite(host, origin, authorization string) error {
	if g.cfg.Configured() {
		return nil
	}
	if scheme, token, _ := strings.Cut(authorization, " "); g.verifier != nil && strings.EqualFold(scheme, "Bearer") && strings.Count(token, ".") == 2 {
		if _, err := g.verifier.Verify(strings.TrimSpace(token), identity.Dialog); err == nil {
			return nil
		}
	}
	return g.checkLocal(Call{Host: host, Origin: origin})
}

// Served says whether a procedure is served at the edge, to whoever may call it.
func Served(procedure string) bool {
	r, ok := ruleOf(procedure)
	return ok && r.reach != closed
}

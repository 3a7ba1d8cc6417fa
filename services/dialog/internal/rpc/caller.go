package rpc

import (
	"context"
	"net/http"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
)

// identify says who sent a request, and tells the audit trail who could not say.
func (e *Edge) identify(ctx context.Context, procedure string, header http.Header) (access.Grant, error) {
	from := addressOf(ctx)
	who, err := e.guard.Authenticate(ctx, access.Call{
		Procedure: procedure, Authorization: header.Values("Authorization"),
		Host: from.host, Origin: e.origin(header), FetchSite: header.Get("Sec-Fetch-Site"),
		Login: e.cookies.Login(header), Address: e.client(ctx, header),
	})
	if err != nil {
		e.denied(ctx, header, who, procedure, "", err)
	}
	return who, err
}

// client returns the address of who sent a request, as [access.Guard.Address] has it.
func (e *Edge) client(ctx context.Context, header http.Header) string {
	return e.guard.Address(addressOf(ctx).remote, header.Values("X-Forwarded-For"))
}

// denied tells the audit trail who was refused what, and from where. Nothing of what they showed is in there.
func (e *Edge) denied(ctx context.Context, header http.Header, who access.Grant, procedure, workspace string, err error) {
	switch kind := fault.KindOf(err); {
	case kind == fault.Denied, kind == fault.Unauthenticated, kind == fault.NotFound, fault.ReasonOf(err) == fault.RateLimited:
		if len(workspace) > 64 || strings.ContainsAny(workspace, ".*> ") {
			workspace = ""
		}
		e.trail.Deny(audit.Event{
			Workspace: workspace, Actor: who.Subject, Action: strings.TrimPrefix(procedure, "/"), Reason: fault.ReasonName(fault.ReasonOf(err)),
			Address: e.client(ctx, header),
		})
	}
}

// address is where an HTTP request came from, and what it was addressed to.
type address struct{ host, remote string }

type addressKey struct{}

// withAddress keeps the request's addresses for the interceptor, which does not see them.
func withAddress(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), addressKey{}, address{host: r.Host, remote: r.RemoteAddr})))
	})
}

func addressOf(ctx context.Context) address {
	a, _ := ctx.Value(addressKey{}).(address)
	return a
}

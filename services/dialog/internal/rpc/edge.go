// Package rpc holds the edge's handlers: DialogService, WorkspaceService and KeyService, the pass-through to the other
// services' public procedures, and the interceptor that asks package access who is calling. Handlers translate; what
// happens is decided by the domain packages.
package rpc

import (
	"context"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	connectcors "connectrpc.com/cors"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	kit "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
	"github.com/ragmesh/ragmesh/services/dialog/internal/fair"
	"github.com/ragmesh/ragmesh/services/dialog/internal/login"
	"github.com/ragmesh/ragmesh/services/dialog/internal/web"
)

// unaryTimeout bounds calls whose caller sets no deadline.
const unaryTimeout = time.Minute

// Edge is the interceptor of everything served to people and programs outside: it says who is calling, fills in the
// default workspace, checks role and workspace, and leaves the principal in the context for the calls behind.
type Edge struct {
	guard   *access.Guard
	trail   *audit.Trail
	limiter *limiter
	web     web.Config
	door    *web.Door
	cookies login.Cookies
}

var _ connect.Interceptor = (*Edge)(nil)

// NewEdge returns the interceptor.
func NewEdge(guard *access.Guard, trail *audit.Trail, limits fair.Config, pages web.Config, cookies login.Cookies) *Edge {
	e := &Edge{guard: guard, trail: trail, limiter: newLimiter(limits.Calls), web: pages, cookies: cookies}
	e.door = web.New(pages, int64(limits.Request), web.Deps{
		Site: e.site, Refuse: kit.Refuse, Methods: append(connectcors.AllowedMethods(), http.MethodDelete),
		Exposed: append(connectcors.ExposedHeaders(), "Retry-After", "X-Request-Id", "WWW-Authenticate", "Mcp-Session-Id"),
	})
	return e
}

// site refuses what only pages of other sites send, on every route alike.
func (e *Edge) site(r *http.Request, origin string) error {
	err := e.guard.CheckSite(r.Host, origin, r.Header.Get("Authorization"))
	if err != nil {
		from := address{host: r.Host, remote: r.RemoteAddr}
		e.denied(context.WithValue(r.Context(), addressKey{}, from), r.Header, access.Grant{}, "edge.enter", "", err)
	}
	return err
}

// Limit bounds calls that come from now on.
func (e *Edge) Limit(limits fair.Config) {
	e.limiter.limits.Store(&limits.Calls)
	e.door.Bound(int64(limits.Request))
}

// Configure makes o the options of an edge's mux.
func (e *Edge) Configure(o *kit.MuxOptions) {
	o.Edge = true
	o.Door = e.door.Wrap
	o.Verifier = nil // service tokens are checked by the guard, beside API keys
	o.Extra = append([]connect.Interceptor{e}, o.Extra...)
}

// WrapUnary implements [connect.Interceptor].
func (e *Edge) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		message, _ := request.Any().(proto.Message)
		ctx, err := e.admit(ctx, request.Spec().Procedure, request.Header(), message)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, unaryTimeout) // an earlier deadline stays
		defer cancel()
		return next(ctx, request)
	}
}

// WrapStreamingHandler implements [connect.Interceptor]. All streams here have one request: it is read first, so that the
// handler's context has the principal for the workspace it names.
func (e *Edge) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		method, ok := conn.Spec().Schema.(protoreflect.MethodDescriptor)
		if !ok || method.IsStreamingClient() {
			return fault.New(fault.Denied, fault.RoleTooLow, "%s is not served here", strings.TrimPrefix(conn.Spec().Procedure, "/"))
		}
		kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
		if err != nil {
			return fault.Wrap(err, fault.Internal, fault.ReasonInternal, "the request's type is not known")
		}
		request := kind.New().Interface()
		if err := conn.Receive(request); err != nil {
			return err
		}
		ctx, err = e.admit(ctx, conn.Spec().Procedure, conn.RequestHeader(), request)
		if err != nil {
			return err
		}
		return next(ctx, &readConn{StreamingHandlerConn: conn, request: request})
	}
}

// WrapStreamingClient implements [connect.Interceptor]. It is for servers.
func (e *Edge) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// readConn hands out the request that was read already.
type readConn struct {
	connect.StreamingHandlerConn
	request proto.Message
}

// Receive implements [connect.StreamingHandlerConn].
func (c *readConn) Receive(message any) error {
	to, ok := message.(proto.Message)
	if c.request == nil || !ok {
		return c.StreamingHandlerConn.Receive(message)
	}
	proto.Merge(to, c.request)
	c.request = nil
	return nil
}

// origin returns the site that a request is from; a page of an allowed one counts as our own, unless it comes with a browser's
// login, which is for our own pages alone.
func (e *Edge) origin(header http.Header) string {
	origin := header.Get("Origin")
	if e.web.Allows(origin) && header.Get("Cookie") == "" {
		return ""
	}
	return origin
}

// admit lets a call through, with everything it needs in its context.
func (e *Edge) admit(ctx context.Context, procedure string, header http.Header, request proto.Message) (context.Context, error) {
	who, err := e.identify(ctx, procedure, header)
	if err != nil {
		return nil, err
	}
	workspace := ""
	if access.AboutWorkspace(procedure) {
		workspace = fillWorkspace(request, func() string {
			if strings.HasSuffix(procedure, "/DeleteWorkspace") { // which nobody means without saying so
				return ""
			}
			return e.guard.Home(ctx, who)
		})
	}
	p, err := e.guard.Authorize(ctx, who, procedure, workspace)
	if err != nil {
		e.denied(ctx, header, who, procedure, workspace, err)
		return nil, err
	}
	if workspace != "" {
		if ctx, err = e.guard.Enter(ctx, workspace); err != nil {
			return nil, err
		}
	}
	if err := e.limiter.begin(ctx, procedure, p.Subject); err != nil {
		return nil, err
	}
	kit.NoteCaller(ctx, identity.Principal{Service: who.Service, Subject: p.Subject, Workspace: p.Workspace, Role: p.Role})
	return access.NewContext(identity.NewContext(ctx, p), who), nil
}

// fillWorkspace returns the workspace a request is about, in its own field or that of the one message it wraps, and fills
// it in where it is empty: with the caller's home.
func fillWorkspace(request proto.Message, home func() string) string {
	if request == nil {
		return ""
	}
	m := request.ProtoReflect()
	field := workspaceField(m)
	if field == nil {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			if f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() && m.Has(f) {
				if inner := m.Mutable(f).Message(); workspaceField(inner) != nil {
					m, field = inner, workspaceField(inner)
					break
				}
			}
		}
	}
	if field == nil {
		return ""
	}
	if m.Get(field).String() == "" {
		m.Set(field, protoreflect.ValueOfString(home()))
	}
	return m.Get(field).String()
}

func workspaceField(m protoreflect.Message) protoreflect.FieldDescriptor {
	f := m.Descriptor().Fields().ByName("workspace")
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return nil
	}
	return f
}

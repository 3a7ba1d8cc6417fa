package rpc

import (
	"context"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

const bearer = "Bearer "

// authenticate checks the token of a call, whether its service may make it, and, once the request is read, its workspace.
// What it finds is in the handler's context.
type authenticate struct {
	verifier *identity.Verifier
	audience string
}

var _ connect.Interceptor = (*authenticate)(nil)

// WrapUnary implements [connect.Interceptor].
func (a *authenticate) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		p, err := a.check(ctx, request.Spec().Procedure, request.Header())
		if err != nil {
			return nil, err
		}
		if err := identity.CheckWorkspace(p, request.Any()); err != nil {
			return nil, err
		}
		return next(identity.NewContext(ctx, p), request)
	}
}

// WrapStreamingHandler implements [connect.Interceptor].
func (a *authenticate) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		p, err := a.check(ctx, conn.Spec().Procedure, conn.RequestHeader())
		if err != nil {
			return err
		}
		return next(identity.NewContext(ctx, p), &workspaceConn{StreamingHandlerConn: conn, principal: p})
	}
}

// WrapStreamingClient implements [connect.Interceptor]. Clients have sign instead.
func (a *authenticate) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (a *authenticate) check(ctx context.Context, procedure string, header http.Header) (identity.Principal, error) {
	if a.verifier == nil {
		return identity.Principal{}, fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "this service has no keys to check callers with; see its configuration, section identity")
	}
	token, ok := strings.CutPrefix(header.Get("Authorization"), bearer)
	if !ok {
		token = ""
	}
	p, err := a.verifier.Verify(token, a.audience)
	if err != nil {
		return identity.Principal{}, err
	}
	noteCaller(ctx, p)
	if !identity.Allowed(p.Service, procedure) {
		// Not permission_denied: the mesh counts that as a failure of this service.
		return identity.Principal{}, fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "%s may not call %s", p.Service, strings.TrimPrefix(procedure, "/"))
	}
	return p, nil
}

// workspaceConn checks each request message as it is received; the error ends the handler before it has seen one.
type workspaceConn struct {
	connect.StreamingHandlerConn
	principal identity.Principal
}

// Receive implements [connect.StreamingHandlerConn].
func (c *workspaceConn) Receive(message any) error {
	if err := c.StreamingHandlerConn.Receive(message); err != nil {
		return err
	}
	return identity.CheckWorkspace(c.principal, message)
}

// sign puts the token of the context's principal on each attempt of a call.
type sign struct {
	signer   *identity.Signer
	audience string
}

var _ connect.Interceptor = (*sign)(nil)

// WrapUnary implements [connect.Interceptor].
func (s *sign) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		token, err := s.token(ctx)
		if err != nil {
			return nil, err
		}
		request.Header().Set("Authorization", bearer+token)
		return next(ctx, request)
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (s *sign) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		token, err := s.token(ctx)
		if err != nil {
			return &failedConn{StreamingClientConn: conn, err: err}
		}
		conn.RequestHeader().Set("Authorization", bearer+token)
		return conn
	}
}

// WrapStreamingHandler implements [connect.Interceptor]. It is for clients.
func (s *sign) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (s *sign) token(ctx context.Context) (string, error) {
	p, ok := identity.FromContext(ctx)
	if !ok {
		return "", fault.New(fault.Internal, fault.ReasonInternal, "a call to %s was made for nobody; put a principal into its context", s.audience)
	}
	token, err := s.signer.Token(ctx, p, s.audience)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, fault.ReasonInternal, "the call to %s could not be signed", s.audience)
	}
	return token, nil
}

// failedConn is a stream that could not be made.
type failedConn struct {
	connect.StreamingClientConn
	err error
}

func (c *failedConn) Send(any) error    { return c.err }
func (c *failedConn) Receive(any) error { return c.err }

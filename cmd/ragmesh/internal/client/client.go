// Package client speaks to a ragmesh server's edge: the Connect protocol over HTTP/1.1, one address for every service. Its
// errors are *fault.Error, also when there is no server, or something else answers.
package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
)

const (
	dialTimeout = 5 * time.Second
	// callTimeout bounds a call that answers once; streams end by their own rules.
	callTimeout = 60 * time.Second
	// maxResponseBytes is above the largest message of the contract.
	maxResponseBytes = 32 << 20
	// connections is how many stay open to the server: what the busiest command uses at once.
	connections = 256
)

// Options says which server.
type Options struct {
	// Server is the edge's address, e.g. http://127.0.0.1:8080.
	Server string
	// APIKey is sent as bearer token; empty for none.
	APIKey string
	// UserAgent names this program in the server's log.
	UserAgent string
}

// Client holds a client for each of the edge's services.
type Client struct {
	Dialog     dialogv1connect.DialogServiceClient
	Workspaces dialogv1connect.WorkspaceServiceClient
	Keys       dialogv1connect.KeyServiceClient
	Operations dialogv1connect.OperationsServiceClient
	Retriever  retrieverv1connect.RetrieverServiceClient
	Models     llmv1connect.LLMServiceClient
	Eval       evalv1connect.EvalServiceClient

	transport *http.Transport
}

// New returns a client. It connects when it is used; Close it when done.
func New(o Options) (*Client, error) {
	server := strings.TrimRight(o.Server, "/")
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fault.New(fault.Invalid, fault.InvalidRequest, "%q is not a server's address; it looks like http://127.0.0.1:8080", o.Server)
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     time.Minute,
	}
	h := &http.Client{Transport: &headers{next: transport, key: o.APIKey, agent: o.UserAgent}, CheckRedirect: refuseRedirect}
	options := []connect.ClientOption{connect.WithInterceptors(&presenter{server: server}), connect.WithReadMaxBytes(maxResponseBytes)}
	if local(u.Hostname()) {
		// On one machine, bytes cost nothing and compressing them does.
		options = append(options, connect.WithAcceptCompression("gzip", nil, nil))
	}
	return &Client{
		Dialog:     dialogv1connect.NewDialogServiceClient(h, server, options...),
		Workspaces: dialogv1connect.NewWorkspaceServiceClient(h, server, options...),
		Keys:       dialogv1connect.NewKeyServiceClient(h, server, options...),
		Operations: dialogv1connect.NewOperationsServiceClient(h, server, options...),
		Retriever:  retrieverv1connect.NewRetrieverServiceClient(h, server, options...),
		Models:     llmv1connect.NewLLMServiceClient(h, server, options...),
		Eval:       evalv1connect.NewEvalServiceClient(h, server, options...),
		transport:  transport,
	}, nil
}

// local reports whether a host is this machine.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Close ends idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// A redirect would send the key elsewhere.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// headers adds what every request carries.
type headers struct {
	next       http.RoundTripper
	key, agent string
}

func (h *headers) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if h.key != "" {
		r.Header.Set("Authorization", "Bearer "+h.key)
	}
	if h.agent != "" {
		r.Header.Set("User-Agent", h.agent)
	}
	return h.next.RoundTrip(r)
}

// presenter bounds unary calls and turns every error into one that can be shown.
type presenter struct {
	server string
}

func (p *presenter) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		resp, err := next(ctx, req)
		return resp, p.present(ctx, err)
	}
}

func (p *presenter) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return &stream{StreamingClientConn: next(ctx, spec), presenter: p, ctx: ctx}
	}
}

func (p *presenter) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// stream presents the errors of a streaming call. The stream's end, io.EOF, passes as it is.
type stream struct {
	connect.StreamingClientConn
	presenter *presenter
	ctx       context.Context //nolint:containedctx // the call's, which lives as long
}

func (s *stream) Send(m any) error { return s.presenter.present(s.ctx, s.StreamingClientConn.Send(m)) }

func (s *stream) Receive(m any) error {
	return s.presenter.present(s.ctx, s.StreamingClientConn.Receive(m))
}

func (s *stream) CloseRequest() error {
	return s.presenter.present(s.ctx, s.StreamingClientConn.CloseRequest())
}

func (s *stream) CloseResponse() error {
	return s.presenter.present(s.ctx, s.StreamingClientConn.CloseResponse())
}

func (p *presenter) present(ctx context.Context, err error) error {
	remote, ok := errors.AsType[*connect.Error](err)
	if !ok || remote.Code() == connect.CodeUnknown && errors.Is(err, io.EOF) {
		return err // no error, or a stream's end
	}
	network, failed := errors.AsType[*net.OpError](err)
	switch {
	case failed && network.Op == "dial":
		return fault.Wrap(err, fault.Unavailable, fault.ServiceUnavailable,
			"nothing answers at %s: start it with `ragmesh up`, or set --server", p.server)
	case connect.IsWireError(err) && len(remote.Details()) > 0:
		return rpc.FromConnect(err)
	case ctx.Err() != nil, connect.IsWireError(err) && (remote.Code() == connect.CodeCanceled || remote.Code() == connect.CodeDeadlineExceeded):
		return rpc.FromConnect(err)
	// Connect also calls it canceled when a connection is reset, and a deadline when one can't be made in time.
	case failed, remote.Code() == connect.CodeCanceled, remote.Code() == connect.CodeDeadlineExceeded, remote.Code() == connect.CodeUnavailable, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Wrap(err, fault.Unavailable, fault.ServiceUnavailable, "the connection to %s broke; try again", p.server)
	default:
		return fault.Wrap(err, fault.Precondition, fault.ServiceUnavailable,
			"what answers at %s is not a ragmesh server (%s); check --server", p.server, remote.Code())
	}
}

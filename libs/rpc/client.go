package rpc

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

const (
	// dialTimeout leaves time for another attempt within a stage's budget: in a cluster, what takes longer is an address that
	// nobody has any more.
	dialTimeout = 800 * time.Millisecond
	// A connection without traffic is pinged after pingAfter and given up when no answer comes within pingTimeout, so that a
	// peer that hangs, or a firewall that forgot the connection, is noticed by streams too, and sooner than the 15 s in which a
	// model's first text has to come: there is time to ask another replica.
	pingAfter   = 7 * time.Second
	pingTimeout = 5 * time.Second
	// idleTimeout is above the server's, so that usually the server closes.
	idleTimeout = 150 * time.Second
	// maxResponseBytes bounds a response message after decompression.
	maxResponseBytes = 16 << 20
)

// Target is where a service is.
type Target struct {
	// URL is http://host:port for cleartext HTTP/2, or https://host[:port].
	URL string
	// Local is set when the service is in this process.
	Local *Local
}

// ClientOptions describe the calls to one service. Telemetry is needed.
type ClientOptions struct {
	// Telemetry is that of the calling service.
	Telemetry *telemetry.Telemetry
	// Signer makes the tokens of calls; the principal is the one in each call's context. Nil for clients outside, such as
	// the command line.
	Signer *identity.Signer
	// Audience is the called service's name.
	Audience string
	// APIKey is sent as bearer token by clients that have no Signer; empty for none.
	APIKey string
	// Retries is how often an idempotent unary call is repeated when the service is unavailable. 0 means 5, which spans the one
	// and a half seconds in which a load balancer still leads to a replica that is gone; negative means none.
	Retries int
	// MaxBytes bounds a response message after decompression. Default 16 MiB.
	MaxBytes int

	// For tests; zero means the defaults above.
	dialTimeout, pingAfter, pingTimeout time.Duration
}

// Conn is what a generated client constructor takes:
//
//	client := retrieverv1connect.NewRetrieverServiceClient(c.HTTP, c.URL, c.Options...)
//
// Any number of clients may share one. Errors of all calls are *fault.Error.
type Conn struct {
	HTTP    connect.HTTPClient
	URL     string
	Options []connect.ClientOption
}

// Close closes idle connections. Calls under way are not affected.
func (c Conn) Close() {
	if h, ok := c.HTTP.(*http.Client); ok {
		h.CloseIdleConnections()
	}
}

// Dial returns a Conn to a service: the gRPC protocol over HTTP/2, so that the mesh sees each call's outcome, or without a
// connection when the service is in this process. It connects when the first call is made.
func Dial(t Target, o ClientOptions) Conn {
	if o.Retries == 0 {
		o.Retries = 5
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = maxResponseBytes
	}
	if o.dialTimeout <= 0 {
		o.dialTimeout = dialTimeout
	}
	if o.pingAfter <= 0 {
		o.pingAfter = pingAfter
	}
	if o.pingTimeout <= 0 {
		o.pingTimeout = pingTimeout
	}
	return Conn{
		HTTP: doer(t, o),
		URL:  strings.TrimSuffix(t.URL, "/"),
		Options: []connect.ClientOption{
			connect.WithGRPC(),
			connect.WithInterceptors(clientInterceptors(t, o)...),
			connect.WithReadMaxBytes(o.MaxBytes),
			// Responses come uncompressed: between services, processor time is dearer than bytes.
			connect.WithAcceptCompression("gzip", nil, nil),
		},
	}
}

// clientInterceptors is the order in which a call passes through, outermost first:
//
//  1. faults: the caller sees *fault.Error only
//  2. trace: one span for the call with all its attempts, unless the service is in this process; W3C context to the service
//  3. retry: unary calls that may be repeated, unavailable only, within the deadline and a budget
//  4. sign, or the API key: a fresh token for each attempt
//  5. lost: a connection or a service that went away is unavailable, whatever Connect calls it
func clientInterceptors(t Target, o ClientOptions) []connect.Interceptor {
	order := []connect.Interceptor{faults{}}
	if t.Local != nil {
		order = append(order, carry{by: o.Telemetry.Propagator})
	} else {
		order = append(order, newTrace(o.Telemetry, true))
	}
	if o.Retries > 0 {
		order = append(order, newRetry(o.Telemetry, o.Audience, o.Retries))
	}
	switch {
	case o.Signer != nil:
		order = append(order, &sign{signer: o.Signer, audience: o.Audience})
	case o.APIKey != "":
		order = append(order, apiKey(o.APIKey))
	}
	return append(order, lost{})
}

// doer makes requests over several connections, or over none.
func doer(t Target, o ClientOptions) connect.HTTPClient {
	if t.Local != nil {
		return t.Local
	}
	return &http.Client{Transport: newPool(func() *http.Transport { return transport(t, o) })}
}

func transport(t Target, o ClientOptions) *http.Transport {
	protocols := new(http.Protocols)
	if strings.HasPrefix(t.URL, "https://") {
		protocols.SetHTTP2(true)
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: o.dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		Protocols:           protocols,
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     idleTimeout,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  o.pingAfter,
			PingTimeout:      o.pingTimeout,
			WriteByteTimeout: o.pingAfter + o.pingTimeout,
		},
	}
}

// faults turns what calls return into faults.
type faults struct{}

var _ connect.Interceptor = faults{}

// WrapUnary implements [connect.Interceptor].
func (faults) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		response, err := next(ctx, request)
		if err != nil {
			return nil, FromConnect(err)
		}
		return response, nil
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (faults) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return &faultConn{next(ctx, spec)}
	}
}

// WrapStreamingHandler implements [connect.Interceptor]. Servers have boundary instead.
func (faults) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

type faultConn struct{ connect.StreamingClientConn }

func (c *faultConn) Send(message any) error { return streamFault(c.StreamingClientConn.Send(message)) }
func (c *faultConn) Receive(message any) error {
	return streamFault(c.StreamingClientConn.Receive(message))
}

// apiKey is a bearer token that is the same on every call.
type apiKey string

var _ connect.Interceptor = apiKey("")

// WrapUnary implements [connect.Interceptor].
func (k apiKey) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		request.Header().Set("Authorization", bearer+string(k))
		return next(ctx, request)
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (k apiKey) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		conn.RequestHeader().Set("Authorization", bearer+string(k))
		return conn
	}
}

// WrapStreamingHandler implements [connect.Interceptor]. It is for clients.
func (k apiKey) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

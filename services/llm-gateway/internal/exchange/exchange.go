// Package exchange is what the adapters of providers share over HTTP: requests to one server, whose answers are read within
// bounds and whose failures become faults. It follows no redirects, tells keys to no log, and turns statuses, Retry-After and
// errors inside a stream into what routes decide by. What a provider's bytes mean is the adapters'.
package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
)

// Config is where a server is and how to reach it.
type Config struct {
	// BaseURL is the address before the paths.
	BaseURL string
	// Key refers to the API key; none for servers that want none.
	Key config.Secret
	// KeyHeader is the header that holds the key; empty for a bearer token.
	KeyHeader string
	// Header is sent with every request.
	Header map[string]string
	// MaxConnections bounds connections to the server; 0 for no bound.
	MaxConnections int
	// Dial connects to the server; nil for TCP.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Clock func() time.Time
}

// Server is one provider's server. Safe for concurrent use.
type Server struct {
	base   string
	cfg    Config
	client *http.Client
}

// New returns the server at cfg. It does not speak to it yet.
func New(cfg Config) (*Server, error) {
	if !Valid(cfg.BaseURL) {
		return nil, errors.New("base_url: not an http(s) address without user and query")
	}
	return &Server{base: strings.TrimSuffix(cfg.BaseURL, "/"), cfg: cfg, client: Client(cfg.MaxConnections, cfg.Dial)}, nil
}

// Valid says whether a server can be at an address.
func Valid(base string) bool {
	u, err := url.Parse(base)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
}

// Client returns a client for one provider. Dial is nil for the network.
func Client(connections int, dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Client{
		// A redirect would take the key and the prompt to an address nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dial,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxConnsPerHost:        connections,
			MaxIdleConnsPerHost:    max(16, connections), // one that is closed after each burst is made again for the next
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // a compressed stream arrives in lumps
		},
	}
}

// Close lets go of idle connections.
func (s *Server) Close() { s.client.CloseIdleConnections() }

// Answer is the answer to a request that the server took. Whoever has it closes it.
type Answer struct {
	Body   io.ReadCloser
	Header http.Header
	key    string
}

// Close ends the exchange.
func (a *Answer) Close() { _ = a.Body.Close() }

// Post sends body to path, which may have a query, and returns the answer once the server has said 200. Its errors are
// faults, or the context's.
func (s *Server) Post(ctx context.Context, path, accept string, body []byte) (*Answer, error) {
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "ragmesh-llm-gateway")
	for k, v := range s.cfg.Header {
		req.Header.Set(k, v)
	}
	s.authorize(req.Header, key)
	resp, err := s.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider does not answer")
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refused(resp, key, s.cfg.Clock())
	}
	return &Answer{Body: resp.Body, Header: resp.Header, key: key}, nil
}

// key is read at each request, so that a mounted one may change.
func (s *Server) key() (string, error) {
	if s.cfg.Key.IsZero() {
		return "", nil
	}
	key, err := s.cfg.Key.Resolve()
	if err != nil {
		return "", fault.Wrap(err, fault.Precondition, fault.ProviderRejected, "the provider's API key is not configured")
	}
	return key, nil
}

func (s *Server) authorize(h http.Header, key string) {
	switch {
	case key == "":
	case s.cfg.KeyHeader != "":
		h.Set(s.cfg.KeyHeader, key)
	default:
		h.Set("Authorization", "Bearer "+key)
	}
}

// maxWhole bounds an answer that comes as a whole: 256 vectors of 8,192 numbers as text are less.
const maxWhole = 64 << 20

// Call sends a request that is answered as a whole, and decodes the answer into out.
func (s *Server) Call(ctx context.Context, path string, request, out any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	a, err := s.Post(ctx, path, "application/json", body)
	if err != nil {
		return err
	}
	defer a.Close()
	whole, err := io.ReadAll(io.LimitReader(a.Body, maxWhole+1))
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return Cut(err)
	}
	if len(whole) > maxWhole {
		return Unreadable(fmt.Errorf("more than %d bytes", maxWhole))
	}
	var failed struct {
		Error json.RawMessage `json:"error"`
	}
	if len(whole) > 0 && whole[0] == '{' && bytes.Contains(whole[:min(len(whole), 4<<10)], []byte(`"error"`)) &&
		json.Unmarshal(whole, &failed) == nil && Some(failed.Error) {
		return a.Reported(failed.Error)
	}
	if err := json.Unmarshal(whole, out); err != nil {
		return Unreadable(err)
	}
	return nil
}

// Some says whether a JSON value is there and not null.
func Some(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

package httptool

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
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/tools/internal/registry"
)

const (
	maxRedirects = 3
	maxTextBytes = 2 * registry.MaxResultBytes // of a rendered template; the registry cuts to its own bound
)

// New makes a tool of spec. Its errors name the key that is wrong.
func New(name string, spec Spec) (registry.Tool, error) {
	p, err := compile(name, spec)
	if err != nil {
		return registry.Tool{}, err
	}
	timeout := spec.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return registry.Tool{
		Name: name, Description: spec.Description, InputSchema: spec.InputSchema, SideEffects: spec.SideEffects,
		Kind: registry.HTTP, Timeout: timeout, Runner: &runner{plugin: p, client: p.client()},
	}, nil
}

// client returns an HTTP client that goes only where the plugin may. It takes no proxy from the environment, because a proxy
// would resolve names out of the dialer's sight.
func (p *plugin) client() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: p.egress.control}
	return &http.Client{
		CheckRedirect: p.redirect,
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxConnsPerHost:        16,
			MaxIdleConns:           4,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

var errRedirect = errors.New("the redirect is not allowed")

// redirect lets a GET follow a redirect to a host on the list, never from https to http, and takes the secrets out of it when
// it leads to another host.
func (p *plugin) redirect(r *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects, first.Method != http.MethodGet:
		return errRedirect
	case r.URL.Scheme != "https" && (r.URL.Scheme != "http" || via[len(via)-1].URL.Scheme == "https"):
		return errRedirect
	case !p.egress.allows(r.URL):
		return errBlocked
	}
	r.Header.Del("Referer") // it would carry the arguments
	if r.URL.Host != first.URL.Host {
		r.Header.Del("Authorization")
		for name, h := range p.headers {
			if !h.Secret.IsZero() {
				r.Header.Del(name)
			}
		}
	}
	return nil
}

type runner struct {
	plugin *plugin
	client *http.Client
}

var _ registry.Runner = (*runner)(nil)

// Run calls the endpoint.
func (r *runner) Run(ctx context.Context, args map[string]any) (registry.Output, error) {
	req, err := r.plugin.request(ctx, args)
	if err != nil {
		return registry.Output{}, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return registry.Output{}, unreachable(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, r.plugin.maxBytes+1))
	if err != nil {
		return registry.Output{}, unreachable(ctx, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return registry.Output{}, refused(resp)
	}
	if int64(len(body)) > r.plugin.maxBytes {
		return registry.Output{}, fault.New(fault.Precondition, fault.ToolFailed, "the service's response is larger than %d bytes", r.plugin.maxBytes)
	}
	return r.plugin.output(body)
}

func (p *plugin) request(ctx context.Context, args map[string]any) (*http.Request, error) {
	path, _, err := p.path.fill(args, escapeSegment)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(p.base.String() + path)
	if err != nil || target.Host != p.base.Host {
		return nil, fault.New(fault.Invalid, fault.ToolArgumentsInvalid, "the arguments make no valid address")
	}
	query := make(url.Values)
	for _, q := range p.query {
		v, ok, err := q.value.fill(args, verbatim)
		if err != nil {
			return nil, err
		}
		if ok {
			query.Set(q.name, v)
		}
	}
	target.RawQuery = query.Encode()
	body, err := p.requestBody(args)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, p.method, target.String(), body)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.ToolArgumentsInvalid, "the arguments make no valid address")
	}
	return req, p.setRequestHeaders(req)
}

func (p *plugin) requestBody(args map[string]any) (io.Reader, error) {
	if len(p.body) == 0 {
		return http.NoBody, nil
	}
	fields := make(map[string]any, len(p.body))
	for _, b := range p.body {
		if name, ok := b.value.whole(); ok {
			if v, ok := args[name]; ok {
				fields[b.name] = v
			}
			continue
		}
		v, ok, err := b.value.fill(args, verbatim)
		if err != nil {
			return nil, err
		}
		if ok {
			fields[b.name] = v
		}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	return bytes.NewReader(raw), nil
}

// setRequestHeaders resolves secrets at each call, so that a mounted file may change.
func (p *plugin) setRequestHeaders(req *http.Request) error {
	req.Header.Set("User-Agent", "ragmesh-tools")
	req.Header.Set("Accept", "application/json, text/plain;q=0.5")
	if len(p.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, h := range p.headers {
		value := h.Value
		if !h.Secret.IsZero() {
			secret, err := h.Secret.Resolve()
			if err != nil {
				return unconfigured(err)
			}
			value = secret
		}
		req.Header.Set(name, value)
	}
	if p.bearer.IsZero() {
		return nil
	}
	token, err := p.bearer.Resolve()
	if err != nil {
		return unconfigured(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

func unconfigured(err error) error {
	return fault.Wrap(err, fault.Precondition, fault.ConfigInvalid, "the tool's credentials are not configured")
}

// unreachable says why there was no whole response. The library's errors carry the address with its arguments, so only the
// innermost cause is kept.
func unreachable(ctx context.Context, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errBlocked), errors.Is(err, errRedirect):
		return fault.Wrap(err, fault.Precondition, fault.ToolFailed, "the service's address is not on the tool's egress list")
	default:
		return fault.Wrap(err, fault.Unavailable, fault.ToolFailed, "the service does not answer")
	}
}

// refused says what a status other than 2xx means. The body is not shown: it is someone else's internals.
func refused(resp *http.Response) error {
	kind := fault.Precondition
	switch {
	case resp.StatusCode >= 500:
		kind = fault.Unavailable
	case resp.StatusCode == http.StatusTooManyRequests:
		kind = fault.Exhausted
	case resp.StatusCode == http.StatusNotFound:
		kind = fault.NotFound
	}
	return fault.New(kind, fault.ToolFailed, "the service answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// output selects from the response and renders it.
func (p *plugin) output(body []byte) (registry.Output, error) {
	data, err := decode(body)
	if err != nil && p.selectOf == nil && p.text == nil && utf8.Valid(body) {
		return registry.Output{Text: strings.TrimSpace(string(body))}, nil
	}
	if err != nil {
		return registry.Output{}, fault.Wrap(err, fault.Precondition, fault.ToolFailed, "the service's response is not JSON")
	}
	if p.selectOf != nil {
		switch found := p.selectOf.Get(data); len(found) {
		case 0:
			return registry.Output{}, fault.New(fault.Precondition, fault.ToolFailed, "the service's response has nothing at %s", p.selectOf)
		case 1:
			data = found[0]
		default:
			data = found
		}
	}
	text, err := p.render(data)
	return registry.Output{Text: text, Data: plain(data)}, err
}

// decode reads one JSON value. Numbers stay as they are written, so that 1234567.8 is not shown as 1.2345678e+06.
func decode(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var data any
	if err := d.Decode(&data); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return data, nil
}

// plain makes numbers float64, as the registry's outputs have them.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = plain(v[k])
		}
		return out
	default:
		return v
	}
}

func (p *plugin) render(data any) (string, error) {
	if p.text != nil {
		b := &boundedBuffer{limit: maxTextBytes}
		if err := p.text.Execute(b, data); err != nil && !errors.Is(err, errFull) {
			return "", fault.Wrap(err, fault.Precondition, fault.ToolFailed, "the service's response does not have what the tool's text needs")
		}
		return strings.TrimSpace(b.String()), nil
	}
	if s, ok := data.(string); ok {
		return s, nil
	}
	raw, err := json.Marshal(data)
	return string(raw), err
}

var errFull = errors.New("the text is full")

// boundedBuffer stops a template that writes without end.
type boundedBuffer struct {
	bytes.Buffer
	limit int
}

// Write fails once the buffer is full.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, errFull
	}
	return b.Buffer.Write(p)
}

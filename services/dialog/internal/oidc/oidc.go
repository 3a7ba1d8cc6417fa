// Package oidc asks OpenID Connect providers: it finds their endpoints and keys, checks the tokens they made, and logs people
// in with authorization code and PKCE. Package access decides what follows from a good token. A provider that is away keeps
// nobody but its own people out: it is asked again until it answers.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	upstream "github.com/coreos/go-oidc/v3/oidc"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
)

const (
	// requestTimeout bounds one request to a provider, maxResponse what is read of its answer.
	requestTimeout = 10 * time.Second
	maxResponse    = 1 << 20
	// patience is how long a caller waits for a provider's keys.
	patience = 5 * time.Second
	// refreshEvery is how old keys get while the provider answers: that long one that it took back still counts.
	refreshEvery = 5 * time.Minute
	// maxKeyAge is how long keys count while the provider does not answer.
	maxKeyAge = 24 * time.Hour
	// between is the least time between two requests for keys, so that tokens with made-up key ids don't make us bother the
	// provider; betweenFirst that while there are none.
	between      = 10 * time.Second
	betweenFirst = time.Second
	// maxBackoff bounds the time between attempts to reach a provider that is away.
	maxBackoff = 30 * time.Second
	// maxProblem bounds what is said about one.
	maxProblem = 300
)

// Options are what Providers need.
type Options struct {
	// Redirect is where providers send browsers back to; empty where nobody logs in with one.
	Redirect string
	Clock    func() time.Time
	Log      zerolog.Logger
	// Transport for requests to providers. Default: [http.DefaultTransport].
	Transport http.RoundTripper
}

// Providers are the identity providers of the configuration. They are safe for concurrent use.
type Providers struct {
	list []*provider
}

var _ access.Tokens = (*Providers)(nil)

// New returns the providers. It asks none of them yet.
func New(issuers []access.Issuer, o Options) (*Providers, error) {
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	client := &http.Client{
		Transport: bounded{o.Transport}, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("identity providers may not redirect") },
	}
	all := &Providers{}
	for _, i := range issuers {
		p := &provider{
			cfg: i, redirect: o.Redirect, now: o.Clock, client: client,
			log: o.Log.With().Str("issuer", i.Name).Logger(), problem: "has not been asked yet",
		}
		if !i.ClientSecret.IsZero() {
			var err error
			if p.secret, err = i.ClientSecret.Resolve(); err != nil {
				return nil, fmt.Errorf("read client_secret of auth.oidc %s: %w", i.Name, err)
			}
		}
		all.list = append(all.list, p)
	}
	return all, nil
}

// bounded reads no endless answers.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxResponse), response.Body}
	return response, nil
}

func (a *Providers) named(name string) (*provider, error) {
	for _, p := range a.list {
		if p.cfg.Name == name {
			return p, nil
		}
	}
	return nil, notGood(fmt.Errorf("no provider %q", name))
}

// Run keeps endpoints and keys up to date until ctx ends.
func (a *Providers) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, p := range a.list {
		all.Go(func() { p.run(ctx) })
	}
	all.Wait()
	return nil
}

// State is how it is with a provider.
type State struct {
	Name    string
	Ready   bool
	Problem string
}

// States returns how it is with each provider.
func (a *Providers) States() []State {
	states := make([]State, len(a.list))
	for i, p := range a.list {
		p.mu.Lock()
		states[i] = State{Name: p.cfg.Name, Ready: p.problem == "", Problem: p.problem}
		p.mu.Unlock()
	}
	return states
}

// provider is one of them.
type provider struct {
	cfg      access.Issuer
	secret   string
	redirect string
	client   *http.Client
	now      func() time.Time
	log      zerolog.Logger

	mu       sync.Mutex
	found    endpoints
	foundAt  time.Time
	keys     []key
	keysAt   time.Time     // when the provider last said these are its keys
	triedAt  time.Time     // when it was last asked
	problem  string        // why its keys are not up to date; empty when they are
	fetching chan struct{} // closed when the request under way ends; nil when there is none
}

// run asks the provider now and then, more often while it does not answer.
func (p *provider) run(ctx context.Context) {
	for failures := 0; ; {
		if err := p.refresh(ctx); err != nil && ctx.Err() == nil {
			failures++
			p.log.WithLevel(level(failures)).Err(err).Int("attempt", failures).Msg("identity provider can't be asked")
		} else {
			failures = 0
		}
		wait := refreshEvery
		if failures > 0 {
			wait = min(time.Second<<min(failures-1, 6), maxBackoff)
			wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // spreading load, not a secret
		}
		if repeat.Pause(ctx, wait) != nil {
			return
		}
	}
}

// level makes the first failures a warning and later ones debug lines; readiness goes on saying it.
func level(failures int) zerolog.Level {
	if failures > 3 {
		return zerolog.DebugLevel
	}
	return zerolog.WarnLevel
}

// refresh asks for endpoints and keys, or waits for the request that is under way.
func (p *provider) refresh(ctx context.Context) error {
	p.mu.Lock()
	if under := p.fetching; under != nil {
		p.mu.Unlock()
		select {
		case <-under:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.problem != "" {
			return errors.New(p.problem)
		}
		return nil
	}
	done := make(chan struct{})
	p.fetching, p.triedAt = done, p.now()
	found, foundAt := p.found, p.foundAt
	p.mu.Unlock()

	var err error
	now := p.now()
	if foundAt.IsZero() || now.Sub(foundAt) > refreshEvery {
		found, err = p.discover(ctx)
		foundAt = now
	}
	var keys []key
	if err == nil {
		keys, err = p.fetchKeys(ctx, found.keys)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetching = nil
	close(done)
	if err != nil {
		p.problem = err.Error()
		p.problem = p.problem[:min(len(p.problem), maxProblem)] // it may quote the answer
		return err
	}
	p.found, p.foundAt, p.keys, p.keysAt, p.problem = found, foundAt, keys, now, ""
	return nil
}

// endpoints is where a provider answers what.
type endpoints struct {
	auth, token, keys string
	post              bool // the client's secret goes into the body
}

func (p *provider) discover(ctx context.Context) (endpoints, error) {
	found, err := upstream.NewProvider(upstream.ClientContext(ctx, p.client), p.cfg.URL)
	if err != nil {
		return endpoints{}, fmt.Errorf("discover %s: %w", p.cfg.URL, err)
	}
	var more struct {
		Keys    string   `json:"jwks_uri"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return endpoints{}, fmt.Errorf("discover %s: %w", p.cfg.URL, err)
	}
	e := endpoints{auth: found.Endpoint().AuthURL, token: found.Endpoint().TokenURL, keys: more.Keys, post: p.secret == "" || postOnly(more.Methods)}
	need := []string{e.keys}
	if p.cfg.ClientID != "" {
		need = append(need, e.auth, e.token)
	}
	for _, address := range need {
		if !access.SafeURL(address) {
			return endpoints{}, fmt.Errorf("discover %s: %q can't be used: it must be an https address", p.cfg.URL, address)
		}
	}
	return e, nil
}

// postOnly says whether a provider does not take the client's secret in a header, as it should by default.
func postOnly(methods []string) bool {
	post := false
	for _, m := range methods {
		if m == "client_secret_basic" {
			return false
		}
		post = post || m == "client_secret_post"
	}
	return post
}

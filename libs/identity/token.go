package identity

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/ragmesh/ragmesh/libs/fault"
)

const (
	// lifetime of a token. It is checked at a call's start only, so streams may be longer.
	lifetime = 60 * time.Second
	// reuse is how long a token is handed out again: what is left of its life outlasts any queue on the way.
	reuse = lifetime / 2
	// skew is by how much two machines' clocks may differ.
	skew = 5 * time.Second
	// maxCached bounds a signer's cache, and a verifier's.
	maxCached = 256
	// maxToken bounds what a verifier looks at; ours have about 400 bytes, and up to 9 KiB for members of many groups.
	maxToken = 16 << 10
)

// claims are a token's content beside the registered ones.
type claims struct {
	Workspace string   `json:"ws,omitempty"`
	Role      string   `json:"role,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	Names     []string `json:"names,omitempty"`
}

// Signer makes a service's tokens. It is safe for concurrent use.
type Signer struct {
	service string
	signer  jose.Signer
	clock   func() time.Time

	mu    sync.Mutex
	cache map[string]cachedToken
}

type cachedToken struct {
	token string
	until time.Time
}

// NewSigner returns a signer for a service. A nil clock is the system's.
func NewSigner(service string, key ed25519.PrivateKey, clock func() time.Time) (*Signer, error) {
	if !slices.Contains(Services(), service) {
		return nil, fmt.Errorf("make signer: %q is none of %s", service, strings.Join(Services(), ", "))
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("make signer for %s: not an Ed25519 private key", service)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: KeyID(service, key.Public().(ed25519.PublicKey))}},
		(&jose.SignerOptions{}).WithType("JWT"),
	)
	if err != nil {
		return nil, fmt.Errorf("make signer for %s: %w", service, err)
	}
	return &Signer{service: service, signer: signer, clock: orSystem(clock), cache: map[string]cachedToken{}}, nil
}

// Service returns whose tokens these are.
func (s *Signer) Service() string { return s.service }

// Token returns a token that shows p to audience, in the name of the signer's service whatever p.Service says. It may be one
// that was made up to 30 s ago.
func (s *Signer) Token(_ context.Context, p Principal, audience string) (string, error) {
	now := s.clock()
	key := p.cacheKey(audience)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.cache[key]; ok && now.Before(c.until) {
		return c.token, nil
	}
	token, err := jwt.Signed(s.signer).Claims(jwt.Claims{
		Issuer: s.service, Subject: p.Subject, Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(lifetime)),
	}).Claims(claims{Workspace: p.Workspace, Role: p.Role.String(), Scopes: p.Scopes, Names: p.Names}).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign token for %s: %w", audience, err)
	}
	if len(s.cache) >= maxCached {
		s.evict(now)
	}
	s.cache[key] = cachedToken{token: token, until: now.Add(reuse)}
	return token, nil
}

// evict makes room: what is over first, otherwise everything, which costs each caller one signature.
func (s *Signer) evict(now time.Time) {
	for key, c := range s.cache {
		if !now.Before(c.until) {
			delete(s.cache, key)
		}
	}
	if len(s.cache) >= maxCached {
		clear(s.cache)
	}
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	keys  KeySet
	clock func() time.Time

	// known are tokens whose signature was good. A signer hands the same one out for half a minute, and checking a signature
	// costs more than all the rest of a call's start. Everything that may change is looked at each time: whether the key is
	// still trusted, the time, the audience.
	mu    sync.Mutex
	known map[string]signed
}

// signed is what a token says, and whose signature proved it.
type signed struct {
	kid        string
	key        PublicKey
	registered jwt.Claims
	own        claims
}

// NewVerifier returns a verifier that trusts keys. A nil clock is the system's.
func NewVerifier(keys KeySet, clock func() time.Time) *Verifier {
	return &Verifier{keys: keys, clock: orSystem(clock), known: map[string]signed{}}
}

// Verify returns who a token shows, if it was made for audience by a service whose key is trusted. What is wrong with one
// that isn't good is in the error's cause, for the log; the caller is told only that it isn't.
func (v *Verifier) Verify(token, audience string) (Principal, error) {
	p, err := v.verify(token, audience)
	if err != nil {
		return Principal{}, fault.Wrap(err, fault.Unauthenticated, fault.ReasonUnauthenticated, "the call's token is not good; services need tokens made for them within the last minute")
	}
	return p, nil
}

func (v *Verifier) verify(token, audience string) (Principal, error) {
	switch {
	case token == "":
		return Principal{}, errors.New("verify token: there is none")
	case len(token) > maxToken:
		return Principal{}, fmt.Errorf("verify token: longer than %d bytes", maxToken)
	}
	said, err := v.read(token)
	if err != nil {
		return Principal{}, err
	}
	registered, own := said.registered, said.own
	if registered.Issuer != said.key.Service {
		return Principal{}, fmt.Errorf("verify token: issued by %q with the key of %s", registered.Issuer, said.key.Service)
	}
	if err := v.checkTimes(registered); err != nil {
		return Principal{}, err
	}
	// One audience, exactly ours: a token for several services could be passed on from one to the next.
	if len(registered.Audience) != 1 || registered.Audience[0] != audience {
		return Principal{}, fmt.Errorf("verify token: made for %q, not for %s", registered.Audience, audience)
	}
	role, err := ParseRole(own.Role)
	if err != nil {
		return Principal{}, fmt.Errorf("verify token: %w", err)
	}
	return Principal{Service: registered.Issuer, Subject: registered.Subject, Workspace: own.Workspace, Role: role, Scopes: slices.Clone(own.Scopes), Names: slices.Clone(own.Names)}, nil
}

// read returns what a token with a good signature says.
func (v *Verifier) read(token string) (signed, error) {
	v.mu.Lock()
	said, ok := v.known[token]
	v.mu.Unlock()
	if ok {
		if key, trusted := v.keys.Key(said.kid); trusted && key.Service == said.key.Service && key.Key.Equal(said.key.Key) {
			return said, nil
		}
	}
	said, err := v.check(token)
	if err != nil {
		return signed{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxCached {
		clear(v.known) // costs each caller one more check
	}
	v.known[strings.Clone(token)] = said
	return said, nil
}

// check checks a token's signature.
func (v *Verifier) check(token string) (signed, error) {
	// EdDSA only: the header's alg never chooses how the signature is checked.
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return signed{}, fmt.Errorf("verify token: %w", err)
	}
	if len(parsed.Headers) != 1 {
		return signed{}, fmt.Errorf("verify token: %d signatures", len(parsed.Headers))
	}
	said := signed{kid: parsed.Headers[0].KeyID}
	var ok bool
	if said.key, ok = v.keys.Key(said.kid); !ok {
		return signed{}, fmt.Errorf("verify token: unknown key %q", said.kid)
	}
	if err := parsed.Claims(said.key.Key, &said.registered, &said.own); err != nil {
		return signed{}, fmt.Errorf("verify token: %w", err)
	}
	return said, nil
}

func (v *Verifier) checkTimes(c jwt.Claims) error {
	if c.Expiry == nil || c.NotBefore == nil || c.IssuedAt == nil {
		return errors.New("verify token: exp, nbf and iat are needed")
	}
	now := v.clock()
	switch issued, expires := c.IssuedAt.Time(), c.Expiry.Time(); {
	case !now.Before(expires.Add(skew)):
		return fmt.Errorf("verify token: expired at %s", expires.UTC().Format(time.RFC3339))
	case now.Add(skew).Before(c.NotBefore.Time()), now.Add(skew).Before(issued):
		return fmt.Errorf("verify token: from the future, issued at %s", issued.UTC().Format(time.RFC3339))
	case expires.Sub(issued) > lifetime:
		return fmt.Errorf("verify token: lives for %s, allowed are %s", expires.Sub(issued), lifetime)
	}
	return nil
}

func orSystem(clock func() time.Time) func() time.Time {
	if clock == nil {
		return time.Now
	}
	return clock
}

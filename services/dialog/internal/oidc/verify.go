package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	upstream "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	strict "github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// maxKeyID bounds the name of a key.
const maxKeyID = 256

// notGood hides what is wrong with a token: that goes to the log.
func notGood(cause error) error {
	return fault.Wrap(cause, fault.Unauthenticated, fault.ReasonUnauthenticated, "the token is not good; it may have expired, or be for another server")
}

// Verify implements [access.Tokens]: it checks a token that somebody sent as who they are.
func (a *Providers) Verify(ctx context.Context, issuer, token string, online bool) (map[string]any, error) {
	p, err := a.named(issuer)
	if err != nil {
		return nil, err
	}
	said, err := p.verify(ctx, token, online, "", "jwt", "at+jwt")
	if err != nil {
		return nil, asFault(err)
	}
	if !slices.ContainsFunc(p.cfg.Audiences, said.registered.Audience.Contains) {
		return nil, notGood(fmt.Errorf("verify token: made for %q, not for any of %q", said.registered.Audience, p.cfg.Audiences))
	}
	return said.claims, nil
}

func asFault(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	return notGood(err)
}

// said is what a token with a good signature says.
type said struct {
	registered jwt.Claims
	claims     map[string]any
}

// verify checks everything about a token but whom it is for. kinds are the types (typ) that will do, "" for none given.
func (p *provider) verify(ctx context.Context, token string, online bool, kinds ...string) (said, error) {
	jws, err := jose.ParseSignedCompact(token, p.algorithms())
	if err != nil {
		return said{}, fmt.Errorf("verify token: %w", err)
	}
	if err := checkHeader(jws.Signatures[0].Protected, kinds); err != nil {
		return said{}, fmt.Errorf("verify token: %w", err)
	}
	// Times and audience are checked below: the configuration bounds the skew, and there may be several audiences.
	keys := &keySet{p: p, online: online}
	verifier := upstream.NewVerifier(p.cfg.URL, keys, &upstream.Config{
		SkipClientIDCheck: true, SkipExpiryCheck: true, SupportedSigningAlgs: p.cfg.Algorithms,
	})
	good, err := verifier.Verify(ctx, token)
	if keys.problem != nil { // the library leaves only its text
		return said{}, keys.problem
	}
	if err != nil {
		return said{}, fmt.Errorf("verify token: %w", err)
	}
	var payload json.RawMessage
	if err := good.Claims(&payload); err != nil {
		return said{}, fmt.Errorf("verify token: %w", err)
	}
	// A claim that is there twice, or in another case, could be read one way here and another way elsewhere.
	var s said
	if err := errors.Join(strict.Unmarshal(payload, &s.claims), strict.Unmarshal(payload, &s.registered)); err != nil {
		return said{}, fmt.Errorf("verify token: read claims: %w", err)
	}
	if err := p.check(s); err != nil {
		return said{}, fmt.Errorf("verify token: %w", err)
	}
	return s, nil
}

func (p *provider) algorithms() []jose.SignatureAlgorithm {
	algs := make([]jose.SignatureAlgorithm, len(p.cfg.Algorithms))
	for i, a := range p.cfg.Algorithms {
		algs[i] = jose.SignatureAlgorithm(a)
	}
	return algs
}

// checkHeader refuses kinds of tokens that say nothing about who calls.
func checkHeader(h jose.Header, kinds []string) error {
	typ, _ := h.ExtraHeaders[jose.HeaderType].(string)
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if !slices.Contains(kinds, typ) {
		return fmt.Errorf("its type is %q", typ)
	}
	if len(h.KeyID) > maxKeyID {
		return errors.New("its key id is too long")
	}
	return nil
}

// check looks at what every token must have. Issuer and signature have been checked.
func (p *provider) check(s said) error {
	now, skew, r := p.now(), p.cfg.ClockSkew, s.registered
	switch {
	case r.Issuer != p.cfg.URL:
		return fmt.Errorf("issued by %q", r.Issuer)
	case r.Subject == "":
		return errors.New("it is about nobody")
	case r.Expiry == nil:
		return errors.New("it never expires")
	case !now.Add(-skew).Before(r.Expiry.Time()):
		return fmt.Errorf("expired at %s", r.Expiry.Time().UTC().Format(time.RFC3339))
	case r.NotBefore != nil && now.Add(skew).Before(r.NotBefore.Time()):
		return fmt.Errorf("not good before %s", r.NotBefore.Time().UTC().Format(time.RFC3339))
	case r.IssuedAt != nil && now.Add(skew).Before(r.IssuedAt.Time()):
		return fmt.Errorf("made in the future, at %s", r.IssuedAt.Time().UTC().Format(time.RFC3339))
	case s.claims["cnf"] != nil:
		return errors.New("it counts only together with a key that was not shown")
	case s.claims["events"] != nil:
		return errors.New("it is a notice of something, such as a logout")
	}
	return nil
}

// keySet checks the signature of one token with a provider's keys.
type keySet struct {
	p       *provider
	online  bool
	problem error // why no key was found
}

var _ upstream.KeySet = (*keySet)(nil)

// VerifySignature implements [upstream.KeySet]. Of the token's header only key id and algorithm are used: keys and addresses
// of keys in it are anybody's.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, k.p.algorithms())
	if err != nil {
		return nil, err
	}
	h := jws.Signatures[0].Protected
	keys, err := k.p.keysFor(ctx, h.KeyID, h.Algorithm, k.online)
	if err != nil {
		k.problem = err
		return nil, err
	}
	for _, key := range keys[:min(len(keys), 4)] {
		if payload, err := jws.Verify(key.public); err == nil {
			return payload, nil
		}
	}
	return nil, fmt.Errorf("the signature is not by %s", k.p.cfg.Name)
}

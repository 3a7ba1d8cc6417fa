package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-jose/go-jose/v4"

	"github.com/ragmesh/ragmesh/libs/fault"
)

const (
	// maxKeys bounds the keys of a provider, minRSA the size of theirs that count.
	maxKeys = 100
	minRSA  = 2048
)

// key is a public key of a provider.
type key struct {
	id, alg string
	public  any
}

// fits says whether tokens of an algorithm may be signed with the key: a key of another kind never is, nor one that is for
// another algorithm.
func (k key) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		switch alg {
		case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
			return true
		}
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return public.Curve == elliptic.P256()
		case "ES384":
			return public.Curve == elliptic.P384()
		case "ES512":
			return public.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// fetchKeys reads the provider's keys. Those that nothing of ours can be signed with are left out: symmetric ones, those for
// encryption, short ones, unknown kinds.
func (p *provider) fetchKeys(ctx context.Context, url string) ([]key, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	response, err := p.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetch keys: %w", err)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("fetch keys: %s answers %s", url, response.Status)
	}
	keys, err := readKeys(body)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %s: %w", url, err)
	}
	return keys, nil
}

func readKeys(body []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, err
	}
	var keys []key
	for _, raw := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
			continue
		}
		if r, ok := k.Key.(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			continue
		}
		keys = append(keys, key{id: k.KeyID, alg: k.Algorithm, public: k.Key})
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key to check signatures with")
	}
	return keys, nil
}

// keysFor returns the keys that a token may be signed with: those that have its key id, or the only one of its kind when it
// has none. A key id nobody has heard of may be new, so the provider is asked, unless that was just done.
func (p *provider) keysFor(ctx context.Context, id, alg string, online bool) ([]key, error) {
	found, asked, have := p.cached(id, alg)
	if len(found) > 0 {
		return found, nil
	}
	if online && !asked {
		wait, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := p.refreshFor(wait); err != nil && ctx.Err() == nil {
			p.log.Debug().Err(err).Msg("identity provider can't be asked for keys")
		}
		found, _, have = p.cached(id, alg)
	}
	switch {
	case len(found) > 0:
		return found, nil
	case !have:
		return nil, p.away()
	}
	return nil, fmt.Errorf("no key %q for %s", id, alg)
}

// refreshFor refreshes for a caller who may go away or lose patience while others go on waiting.
func (p *provider) refreshFor(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*requestTimeout)
		defer cancel()
		done <- p.refresh(own)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// away is what callers are told while the provider's keys are not known.
func (p *provider) away() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fault.Wrap(errors.New(p.problem), fault.Unavailable, fault.ServiceUnavailable,
		"the identity provider %s can't be reached just now; try again shortly", p.cfg.Name).WithRetryAfter(patience)
}

// cached looks for keys in memory; asked says whether the provider was asked just now, have whether its keys are known and
// not too old, or those it has now can be.
func (p *provider) cached(id, alg string) (found []key, asked, have bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	have = !p.keysAt.IsZero() && now.Sub(p.keysAt) < maxKeyAge
	pause := between
	if !have {
		pause = betweenFirst
	}
	asked = !p.triedAt.IsZero() && now.Sub(p.triedAt) < pause && p.fetching == nil
	if !have {
		return nil, asked, false
	}
	for _, k := range p.keys {
		if (id == "" || k.id == id) && k.fits(alg) {
			found = append(found, k)
		}
	}
	if id == "" && len(found) > 1 {
		found = nil // which one is not said
	}
	// A key that is not there may be new, and the provider could not be asked since: nobody can say then.
	return found, asked, len(found) > 0 || p.problem == ""
}

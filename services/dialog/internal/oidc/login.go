package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	upstream "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// Attempt is what ties the two halves of a login together: the browser keeps it, the provider is shown parts of it.
type Attempt struct {
	State    string `json:"state"`    // comes back with the code
	Nonce    string `json:"nonce"`    // comes back in the token
	Verifier string `json:"verifier"` // of PKCE: who redeems the code must know it
}

// LoginNames returns the providers that people can log in with.
func (a *Providers) LoginNames() []string {
	var names []string
	for _, p := range a.list {
		if p.cfg.ClientID != "" && p.redirect != "" {
			names = append(names, p.cfg.Name)
		}
	}
	return names
}

func (a *Providers) forLogin(name string) (*provider, error) {
	if !slices.Contains(a.LoginNames(), name) {
		return nil, fault.New(fault.NotFound, fault.InvalidRequest, "there is no identity provider of this name to log in with")
	}
	return a.named(name)
}

// AuthURL returns where a browser goes to log in.
func (a *Providers) AuthURL(ctx context.Context, name string, t Attempt) (string, error) {
	p, err := a.forLogin(name)
	if err != nil {
		return "", err
	}
	client, err := p.oauth(ctx)
	if err != nil {
		return "", err
	}
	return client.AuthCodeURL(t.State, upstream.Nonce(t.Nonce), oauth2.S256ChallengeOption(t.Verifier)), nil
}

// Redeem trades a code for the claims of whom it is for.
func (a *Providers) Redeem(ctx context.Context, name, code string, t Attempt) (map[string]any, error) {
	p, err := a.forLogin(name)
	if err != nil {
		return nil, err
	}
	client, err := p.oauth(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := client.Exchange(upstream.ClientContext(ctx, p.client), code, oauth2.VerifierOption(t.Verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response.StatusCode < 500 {
		return nil, fault.Wrap(fmt.Errorf("redeem code: %s", refused.ErrorCode), fault.Unauthenticated, fault.ReasonUnauthenticated, "the identity provider refused the login; log in again")
	}
	if err != nil {
		p.log.Warn().Err(err).Msg("identity provider can't redeem a code")
		return nil, fault.Wrap(err, fault.Unavailable, fault.ServiceUnavailable, "the identity provider %s can't be reached just now; log in again shortly", name).WithRetryAfter(patience)
	}
	token, _ := tokens.Extra("id_token").(string)
	if token == "" || len(token) > maxIDToken {
		return nil, notGood(errors.New("the provider sent no ID token, or an endless one"))
	}
	good, err := p.verify(ctx, token, true, "", "jwt")
	if err != nil {
		return nil, asFault(err)
	}
	if err := p.checkLogin(good, t); err != nil {
		return nil, notGood(fmt.Errorf("verify ID token: %w", err))
	}
	return good.claims, nil
}

// maxIDToken bounds an ID token.
const maxIDToken = 64 << 10

// checkLogin checks that an ID token was made for this server and this attempt.
func (p *provider) checkLogin(s said, t Attempt) error {
	aud := s.registered.Audience
	azp, named := s.claims["azp"]
	nonce, _ := s.claims["nonce"].(string)
	switch {
	case !aud.Contains(p.cfg.ClientID):
		return fmt.Errorf("made for %q", aud)
	case (named || len(aud) > 1) && azp != p.cfg.ClientID:
		return fmt.Errorf("made for several, and not on behalf of this server but of %q", azp)
	case t.Nonce == "" || subtle.ConstantTimeCompare([]byte(nonce), []byte(t.Nonce)) != 1:
		return errors.New("it is from another attempt")
	}
	return nil
}

// oauth returns the provider as the OAuth library knows it.
func (p *provider) oauth(ctx context.Context) (*oauth2.Config, error) {
	p.mu.Lock()
	found, known := p.found, !p.foundAt.IsZero()
	asked := !p.triedAt.IsZero() && p.now().Sub(p.triedAt) < betweenFirst && p.fetching == nil
	p.mu.Unlock()
	if !known && !asked {
		wait, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := p.refreshFor(wait); err == nil {
			p.mu.Lock()
			found, known = p.found, true
			p.mu.Unlock()
		}
	}
	if !known {
		return nil, p.away()
	}
	style := oauth2.AuthStyleInHeader
	if found.post {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.secret, RedirectURL: p.redirect, Scopes: p.cfg.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: found.auth, TokenURL: found.token, AuthStyle: style},
	}, nil
}

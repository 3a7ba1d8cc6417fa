package kube

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/ragmesh/ragmesh/libs/identity"
)

// Installed says what [Client.Install] found and made, by the Secrets' names.
type Installed struct {
	Namespace string   `json:"namespace"`
	Created   []string `json:"created"`
	Kept      []string `json:"kept"`
}

// Install creates those of an instance's Secrets that are missing and overwrites none. It may be called again at any time, by several
// at once too, and goes on where a call before was cut short: the public keys are written last, so until they are there nobody relies on
// a private key. When the public keys are there, but not each private key that belongs to them, no new key would be believed: then it
// changes nothing and says what to do.
func (c *Client) Install(ctx context.Context, instance string) (Installed, error) {
	in := &installation{client: c, instance: instance, result: Installed{Namespace: c.Namespace}}
	keys, err := identity.GenerateKeys()
	if err != nil {
		return in.result, err
	}
	fresh, err := Secrets(instance, keys)
	if err != nil {
		return in.result, err
	}
	services := len(identity.Services())
	if err := in.identity(ctx, keys, fresh[:services]); err != nil {
		return in.result, err
	}
	for _, s := range fresh[services+1:] { // what is not the services' keys stands for itself
		if _, err := in.ensure(ctx, s); err != nil {
			return in.result, err
		}
	}
	return in.result, nil
}

type installation struct {
	client   *Client
	instance string
	result   Installed
}

// ensure creates a Secret unless one of its name is there, and returns what is there then.
func (in *installation) ensure(ctx context.Context, s Secret) (Secret, error) {
	for range 3 { // between looking and creating, another may create or remove it
		found, err := in.client.get(ctx, s.Name)
		if err == nil && found.Key != s.Key {
			return s, fmt.Errorf("Secret %s has %q instead of %q; it is not one of ours", s.Name, found.Key, s.Key)
		}
		if err == nil {
			in.result.Kept = append(in.result.Kept, s.Name)
			return found, nil
		}
		if !errors.Is(err, errNotFound) {
			return s, err
		}
		err = in.client.create(ctx, in.instance, s)
		if err == nil {
			in.result.Created = append(in.result.Created, s.Name)
			return s, nil
		}
		if !errors.Is(err, errExists) {
			return s, err
		}
	}
	return s, fmt.Errorf("Secret %s comes and goes; is another installation of %s under way?", s.Name, in.instance)
}

// identity sees to the services' keys: fresh ones, or those that are there.
func (in *installation) identity(ctx context.Context, keys *identity.Keys, fresh []Secret) error {
	n := names(in.instance)
	public, err := in.client.get(ctx, n.jwks())
	if err == nil {
		return in.check(ctx, public)
	}
	if !errors.Is(err, errNotFound) {
		return err
	}
	for i, service := range identity.Services() {
		s, err := in.ensure(ctx, fresh[i])
		if err != nil {
			return err
		}
		if keys.Private[service], err = identity.ParsePrivateKey(s.Value); err != nil {
			return fmt.Errorf("Secret %s: %w", s.Name, err)
		}
	}
	jwks, err := keys.JWKS()
	if err != nil {
		return err
	}
	err = in.client.create(ctx, in.instance, Secret{n.jwks(), jwksKey, jwks})
	if errors.Is(err, errExists) { // another was faster, with the private keys that we have found too
		if public, err = in.client.get(ctx, n.jwks()); err == nil {
			return in.check(ctx, public)
		}
	}
	if err != nil {
		return err
	}
	in.result.Created = append(in.result.Created, n.jwks())
	return nil
}

// check compares the public keys that are there with the private ones.
func (in *installation) check(ctx context.Context, public Secret) error {
	n := names(in.instance)
	known, err := identity.ParseJWKS(public.Value)
	if err != nil {
		return fmt.Errorf("Secret %s: %w", public.Name, err)
	}
	var kept, wrong []string
	for _, service := range identity.Services() {
		s, err := in.client.get(ctx, n.identity(service))
		if errors.Is(err, errNotFound) {
			wrong = append(wrong, n.identity(service)+" is missing")
			continue
		}
		if err != nil {
			return err
		}
		private, err := identity.ParsePrivateKey(s.Value)
		if err != nil {
			return fmt.Errorf("Secret %s: %w", s.Name, err)
		}
		if _, ok := known.Key(identity.KeyID(service, private.Public().(ed25519.PublicKey))); !ok {
			wrong = append(wrong, s.Name+" is not among them")
			continue
		}
		kept = append(kept, s.Name)
	}
	if len(wrong) > 0 {
		return fmt.Errorf(`the services' keys do not belong together: of the keys in Secret %s, %s. Nothing was changed.
Either restore the Secrets from a backup, or make all keys anew, which fails calls between services until all have restarted:
  kubectl -n %s delete secret %s %s
then run this again (with the umbrella chart: helm upgrade), and
  kubectl -n %[3]s rollout restart deployment,statefulset -l app.kubernetes.io/instance=%[6]s`,
			public.Name, strings.Join(wrong, ", "), in.client.Namespace, public.Name, strings.Join(in.privateNames(), " "), in.instance)
	}
	in.result.Kept = append(in.result.Kept, append(kept, public.Name)...)
	return nil
}

func (in *installation) privateNames() []string {
	var all []string
	for _, service := range identity.Services() {
		all = append(all, names(in.instance).identity(service))
	}
	return all
}

// Package kube keeps an installation's keys in Secrets of a Kubernetes namespace: as a manifest to apply, or made by a Job inside
// the cluster through the API server. The charts in deploy/helm mount the Secrets by the names given here. Package cli uses it.
package kube

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ragmesh/ragmesh/libs/identity"
)

// The keys inside the Secrets.
const (
	signingKey   = "signing-key.pem"
	jwksKey      = "jwks.json"
	bootstrapKey = "key"
	natsKey      = "token"
)

// DefaultInstance is the prefix of all objects' names where none is given, here and in the charts (global.instance).
const DefaultInstance = "ragmesh"

// Secret is one Secret with its only entry.
type Secret struct {
	Name, Key string
	Value     []byte
}

// names of an instance's Secrets.
type names string

func (n names) identity(service string) string { return string(n) + "-identity-" + service }
func (n names) jwks() string                   { return string(n) + "-identity-jwks" }
func (n names) bootstrap() string              { return string(n) + "-bootstrap" }
func (n names) nats() string                   { return string(n) + "-nats" }

// Secrets returns what an installation with these keys needs: a private key per service, everyone's public keys, the bootstrap API
// key, and a token for NATS. The same keys make the same Secrets.
func Secrets(instance string, keys *identity.Keys) ([]Secret, error) {
	n := names(instance)
	var all []Secret
	for _, service := range identity.Services() {
		private, ok := keys.Private[service]
		if !ok {
			return nil, fmt.Errorf("the key of %s is missing", service)
		}
		pem, err := identity.EncodePrivateKey(private)
		if err != nil {
			return nil, err
		}
		all = append(all, Secret{n.identity(service), signingKey, pem})
	}
	jwks, err := keys.JWKS()
	if err != nil {
		return nil, err
	}
	if keys.Bootstrap == "" {
		return nil, errors.New("the bootstrap key is missing")
	}
	// A token of its own would have to be kept beside the keys. Who has dialog's key needs none.
	token, err := hkdf.Key(sha256.New, keys.Private[identity.Dialog].Seed(), nil, "ragmesh NATS token", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive NATS token: %w", err)
	}
	return append(all,
		Secret{n.jwks(), jwksKey, jwks},
		Secret{n.bootstrap(), bootstrapKey, []byte(keys.Bootstrap)},
		Secret{n.nats(), natsKey, []byte(base64.RawURLEncoding.EncodeToString(token))}), nil
}

// object is a Secret as the API server takes it.
type object struct {
	APIVersion string            `json:"apiVersion" yaml:"apiVersion"`
	Kind       string            `json:"kind" yaml:"kind"`
	Metadata   metadata          `json:"metadata" yaml:"metadata"`
	Type       string            `json:"type,omitempty" yaml:"type,omitempty"`
	Data       map[string]string `json:"data,omitempty" yaml:"data,omitempty"` // base64
}

type metadata struct {
	Name      string            `json:"name" yaml:"name"`
	Namespace string            `json:"namespace,omitempty" yaml:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty" yaml:"labels,omitempty"`
}

func labels(instance string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name": "keys", "app.kubernetes.io/instance": instance, "app.kubernetes.io/part-of": "ragmesh",
		"app.kubernetes.io/managed-by": "ragmesh-keys",
	}
}

func (s Secret) object(namespace, instance string) object {
	return object{
		APIVersion: "v1", Kind: "Secret", Metadata: metadata{Name: s.Name, Namespace: namespace, Labels: labels(instance)},
		Type: "Opaque", Data: map[string]string{s.Key: base64.StdEncoding.EncodeToString(s.Value)},
	}
}

// secret is the way back.
func (o object) secret() (Secret, error) {
	if len(o.Data) != 1 {
		return Secret{}, fmt.Errorf("Secret %s has the entries %q, not one", o.Metadata.Name, slices.Sorted(maps.Keys(o.Data)))
	}
	for key, value := range o.Data {
		decoded, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return Secret{}, fmt.Errorf("Secret %s: %w", o.Metadata.Name, err)
		}
		return Secret{o.Metadata.Name, key, bytes.TrimSpace(decoded)}, nil
	}
	return Secret{}, nil
}

// WriteManifest writes Secrets for `kubectl apply`. An empty namespace is the one of whoever applies them.
func WriteManifest(w io.Writer, namespace, instance string, secrets []Secret) error {
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	for _, s := range secrets {
		if err := encoder.Encode(s.object(namespace, instance)); err != nil {
			return fmt.Errorf("write manifest: %w", err)
		}
	}
	return encoder.Close()
}

// WriteManifestJSON writes the same as one List.
func WriteManifestJSON(w io.Writer, namespace, instance string, secrets []Secret) error {
	list := struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Items      []object `json:"items"`
	}{"v1", "List", nil}
	for _, s := range secrets {
		list.Items = append(list.Items, s.object(namespace, instance))
	}
	return json.NewEncoder(w).Encode(list)
}

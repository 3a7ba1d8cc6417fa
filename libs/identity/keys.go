package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The files [WriteKeys] makes beside one <service>.pem per service.
const (
	// JWKSFile holds the public keys of all services.
	JWKSFile = "jwks.json"
	// BootstrapFile holds the API key that may do everything, for the first start.
	BootstrapFile = "bootstrap.key"
)

// BootstrapPrefix starts a bootstrap key, so that one that got out can be recognised, also by scanners.
const BootstrapPrefix = "rmb_"

// Keys are the private keys of all services and the bootstrap API key: what an installation starts with.
type Keys struct {
	// Bootstrap is the API key with all rights.
	Bootstrap string
	// Private maps each service to its key.
	Private map[string]ed25519.PrivateKey
}

// GenerateKeys makes new keys.
func GenerateKeys() (*Keys, error) {
	k := &Keys{Private: make(map[string]ed25519.PrivateKey, len(Services()))}
	for _, service := range Services() {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate key of %s: %w", service, err)
		}
		k.Private[service] = private
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("generate bootstrap key: %w", err)
	}
	k.Bootstrap = BootstrapPrefix + base64.RawURLEncoding.EncodeToString(secret)
	return k, nil
}

// Signer returns the signer of a service. A nil clock is the system's.
func (k *Keys) Signer(service string, clock func() time.Time) (*Signer, error) {
	return NewSigner(service, k.Private[service], clock)
}

// Set returns the public keys, in memory.
func (k *Keys) Set() KeySet {
	set := make(memorySet, len(k.Private))
	for service, private := range k.Private {
		public := private.Public().(ed25519.PublicKey)
		set[KeyID(service, public)] = PublicKey{Service: service, Key: public}
	}
	return set
}

// JWKS returns the public keys as a JSON Web Key Set.
func (k *Keys) JWKS() ([]byte, error) {
	var set jose.JSONWebKeySet
	for _, service := range Services() {
		private, ok := k.Private[service]
		if !ok {
			continue
		}
		public := private.Public().(ed25519.PublicKey)
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: public, KeyID: KeyID(service, public), Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	data, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write JWKS: %w", err)
	}
	return append(data, '\n'), nil
}

// WriteKeys writes k into dir, which it makes when needed: jwks.json (readable by all), <service>.pem and bootstrap.key (by
// the owner only). It never overwrites: when one of the files is there, it writes none.
func WriteKeys(dir string, k *Keys) (err error) {
	files := map[string][]byte{BootstrapFile: []byte(k.Bootstrap + "\n")}
	jwks, err := k.JWKS()
	if err != nil {
		return err
	}
	files[JWKSFile] = jwks
	for service, private := range k.Private {
		if files[service+".pem"], err = EncodePrivateKey(private); err != nil {
			return fmt.Errorf("write key of %s: %w", service, err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var written []string
	defer func() {
		if err != nil { // half a set would look like a whole one
			for _, path := range written {
				_ = os.Remove(path)
			}
		}
	}()
	for _, name := range names {
		mode := fs.FileMode(0o600)
		if name == JWKSFile {
			mode = 0o644
		}
		path := filepath.Join(dir, name)
		if err := create(path, files[name], mode, &written); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("write keys: %s is there already; move it away to replace the keys of a running installation: %w", path, err)
			}
			return fmt.Errorf("write keys: %w", err)
		}
	}
	return nil
}

// create writes a file that must not be there, and only then lists it in written.
func create(path string, data []byte, mode fs.FileMode, written *[]string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	*written = append(*written, path)
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// LoadKeys reads what [WriteKeys] wrote. Keys of services that are not in dir are left out: a service's own machine holds
// only its own. So is the bootstrap key.
func LoadKeys(dir string) (*Keys, error) {
	k := &Keys{Private: map[string]ed25519.PrivateKey{}}
	for _, service := range Services() {
		path := filepath.Join(dir, service+".pem")
		data, err := readBounded(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("load keys: %w", err)
		}
		if k.Private[service], err = ParsePrivateKey(data); err != nil {
			return nil, fmt.Errorf("load keys: %s: %w", path, err)
		}
	}
	if len(k.Private) == 0 {
		return nil, fmt.Errorf("load keys: none in %s: %w", dir, fs.ErrNotExist)
	}
	bootstrap, err := readBounded(filepath.Join(dir, BootstrapFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load keys: %w", err)
	}
	k.Bootstrap = strings.TrimSpace(string(bootstrap))
	return k, nil
}

// ParsePrivateKey reads an Ed25519 private key in PEM (PKCS #8).
func ParsePrivateKey(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("parse private key: no PEM block PRIVATE KEY")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse private key: %w", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("parse private key: %T is not Ed25519", key)
	}
	return private, nil
}

// EncodePrivateKey writes what [ParsePrivateKey] reads.
func EncodePrivateKey(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// KeyID is the name of a key in tokens and key sets, <service>.<hash of the key>: it says whose key it is, and nobody can claim it for another key.
func KeyID(service string, key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return service + "." + hex.EncodeToString(sum[:8])
}

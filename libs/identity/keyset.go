package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxKeyFile bounds a key file; five keys have about 1 KiB.
	maxKeyFile = 64 << 10
	// pollEvery bounds how often a key file is looked at for changes.
	pollEvery = 2 * time.Second
)

// PublicKey is a key and the service that signs with it.
type PublicKey struct {
	Service string
	Key     ed25519.PublicKey
}

// KeySet finds the public key of a key id.
type KeySet interface {
	Key(kid string) (PublicKey, bool)
}

type memorySet map[string]PublicKey

func (s memorySet) Key(kid string) (PublicKey, bool) {
	k, ok := s[kid]
	return k, ok
}

// ParseJWKS reads a JSON Web Key Set as [Keys.JWKS] writes it. All keys must be Ed25519, and each key id must be the one of
// its key.
func ParseJWKS(data []byte) (KeySet, error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("parse JWKS: larger than %d bytes", maxKeyFile)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("parse JWKS: %w", err)
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("parse JWKS: no keys")
	}
	keys := make(memorySet, len(set.Keys))
	for _, jwk := range set.Keys {
		public, ok := jwk.Key.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("parse JWKS: key %q is not an Ed25519 public key", jwk.KeyID)
		}
		service, _, _ := strings.Cut(jwk.KeyID, ".")
		if !slices.Contains(Services(), service) || jwk.KeyID != KeyID(service, public) {
			return nil, fmt.Errorf("parse JWKS: key id %q is not <service>.<hash of the key>", jwk.KeyID)
		}
		keys[jwk.KeyID] = PublicKey{Service: service, Key: public}
	}
	return keys, nil
}

// FileSet is a key set in a JWKS file that is read again when it changes, as a mounted secret does at a rotation. A version
// that can't be read is skipped: the last good one stays. It is safe for concurrent use.
type FileSet struct {
	path  string
	clock func() time.Time

	mu      sync.Mutex
	keys    KeySet
	stamp   stamp
	checked time.Time
	err     error
}

// stamp tells versions of a file apart without reading them.
type stamp struct {
	modified time.Time
	size     int64
}

var (
	_ KeySet = (*FileSet)(nil)
	_ KeySet = memorySet(nil)
)

// OpenKeySet reads the JWKS file at path. A nil clock is the system's.
func OpenKeySet(path string, clock func() time.Time) (*FileSet, error) {
	s := &FileSet{path: path, clock: orSystem(clock)}
	s.checked = s.clock()
	s.reload()
	if s.err != nil {
		return nil, s.err
	}
	return s, nil
}

// Key returns the key of an id. It looks at the file at most every 2 s.
func (s *FileSet) Key(kid string) (PublicKey, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.clock(); now.Sub(s.checked) >= pollEvery {
		s.checked = now
		s.reload()
	}
	return s.keys.Key(kid)
}

// Err says why the file's newest version is not in use; nil when it is.
func (s *FileSet) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *FileSet) reload() {
	info, err := os.Stat(s.path)
	if err != nil {
		s.err = fmt.Errorf("read key set: %w", err)
		return
	}
	now := stamp{info.ModTime(), info.Size()}
	if now == s.stamp {
		return
	}
	data, err := readBounded(s.path)
	if err != nil {
		s.err = fmt.Errorf("read key set: %w", err)
		return
	}
	keys, err := ParseJWKS(data)
	if err != nil {
		s.err = fmt.Errorf("read key set %s: %w", s.path, err)
		return
	}
	s.keys, s.stamp, s.err = keys, now, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeyFile {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", maxKeyFile)}
	}
	return bytes.TrimSpace(data), nil
}

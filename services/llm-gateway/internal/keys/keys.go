// Package keys knows the API keys with which other applications come, by what the configuration says of them. The keys
// themselves stay where they are: here there are hashes of them, made with a salt that no other process has.
package keys

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
)

// Key is what the configuration says of a key.
type Key struct {
	Name      string
	Secret    config.Secret
	Workspace string
	// Models are those that it may ask; empty for all.
	Models []string
}

// May says whether the key may ask a model.
func (k *Key) May(model string) bool { return len(k.Models) == 0 || slices.Contains(k.Models, model) }

const (
	// minBytes is the length from which on a key can't be guessed, where it is random.
	minBytes = 16
	// maxBytes bounds what a caller may send as one.
	maxBytes = 512
	// readAgain is how often keys in files are read again: a mounted secret changes without the configuration's doing so.
	readAgain = 5 * time.Second
)

// Ring is all the keys. Safe for concurrent use.
type Ring struct {
	keys  []Key
	clock func() time.Time
	files bool // some are in files

	now     atomic.Pointer[table]
	read    atomic.Int64 // when, in nanoseconds
	reading sync.Mutex
}

// table is the keys as they were read.
type table struct {
	salt [16]byte
	keys map[[sha256.Size]byte]entry
}

type entry struct {
	sum [sha256.Size]byte
	key *Key
}

// New reads the keys. An error names the key, and never says what it is.
func New(keys []Key, clock func() time.Time) (*Ring, error) {
	r := &Ring{keys: slices.Clone(keys), clock: clock}
	t, err := r.load()
	if err != nil {
		return nil, err
	}
	for _, k := range r.keys {
		r.files = r.files || k.Secret.File != ""
	}
	r.now.Store(t)
	r.read.Store(clock().UnixNano())
	return r, nil
}

func (r *Ring) load() (*table, error) {
	t := &table{keys: make(map[[sha256.Size]byte]entry, len(r.keys))}
	if _, err := rand.Read(t.salt[:]); err != nil {
		return nil, fmt.Errorf("salt keys: %w", err)
	}
	var errs []error
	for i := range r.keys {
		k := &r.keys[i]
		secret, err := k.Secret.Resolve()
		if err != nil {
			errs = append(errs, fmt.Errorf("keys: %s: %w", k.Name, err))
			continue
		}
		if len(secret) < minBytes || len(secret) > maxBytes {
			errs = append(errs, fmt.Errorf("keys: %s: a key has %d to %d bytes; `openssl rand -hex 24` makes one", k.Name, minBytes, maxBytes))
			continue
		}
		sum := t.sum(secret)
		if other, taken := t.keys[sum]; taken {
			errs = append(errs, fmt.Errorf("keys: %s and %s are the same key", other.key.Name, k.Name))
			continue
		}
		t.keys[sum] = entry{sum: sum, key: k}
	}
	return t, errors.Join(errs...)
}

func (t *table) sum(secret string) [sha256.Size]byte {
	salted := make([]byte, 0, len(t.salt)+128)
	return sha256.Sum256(append(append(salted, t.salt[:]...), secret...))
}

// Find returns what is known of a key that a caller sends, or a fault that says what to do.
func (r *Ring) Find(secret string) (*Key, error) {
	if len(r.keys) == 0 {
		return nil, refused("No API keys are configured here: name one under keys in llm-gateway.yaml.")
	}
	if secret == "" {
		return nil, refused("You didn't provide an API key. Send one that llm-gateway.yaml names as \"Authorization: Bearer KEY\".")
	}
	if r.files && r.clock().UnixNano()-r.read.Load() > int64(readAgain) {
		r.refresh()
	}
	if len(secret) <= maxBytes {
		t := r.now.Load()
		sum := t.sum(secret)
		if e, ok := t.keys[sum]; ok && subtle.ConstantTimeCompare(sum[:], e.sum[:]) == 1 {
			return e.key, nil
		}
	}
	return nil, refused("Incorrect API key provided. It may have been revoked; keys in llm-gateway.yaml names those there are.")
}

func refused(message string) error {
	return fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "%s", message)
}

// refresh reads the keys again. Of those who find it due, one does it and the others go on with what there is. A key that can't
// be read is revoked.
func (r *Ring) refresh() {
	if !r.reading.TryLock() {
		return
	}
	defer r.reading.Unlock()
	if t, _ := r.load(); t != nil {
		r.now.Store(t)
	}
	r.read.Store(r.clock().UnixNano())
}

package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
)

const (
	// prefix starts an API key: rmk_<id>_<secret>. Scanners find keys that got out by it.
	prefix = "rmk_"
	// maxAge is how old what is known of the keys may be while NATS is away; then nobody is let in by key any more, since
	// it might have been revoked.
	maxAge     = 10 * time.Minute
	probeEvery = 30 * time.Second
	lookup     = 500 * time.Millisecond
	maxKeys    = 10_000
)

// digest is the SHA-256 of a secret. A plain hash is right here and would be wrong for passwords: a slow one makes guessing
// dear where there are few guesses to make, and of 256 random bits there is no guessing. What it has to do is to keep a
// leaked bucket from being a leaked key, and to cost nothing on each call.
type digest []byte

func hash(secret string) digest {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func (d digest) set() bool { return len(d) == sha256.Size }

// equal takes the same time whatever the other one is.
func (d digest) equal(other digest) bool { return subtle.ConstantTimeCompare(d, other) == 1 }

// Key is an API key without its secret.
type Key struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Role       identity.Role `json:"role"`
	Workspaces []string      `json:"workspaces,omitempty"`
	CreatedAt  time.Time     `json:"created_at"`
	ExpiresAt  time.Time     `json:"expires_at,omitzero"`
	RevokedAt  time.Time     `json:"revoked_at,omitzero"`
	// Hash is the SHA-256 of the secret, in hex.
	Hash string `json:"hash"`
}

// Keyring knows the API keys. Keys are checked from memory, which a watch keeps up to date. It is safe for concurrent use.
type Keyring struct {
	table Table
	now   func() time.Time
	log   zerolog.Logger

	mu   sync.RWMutex
	keys map[string]Key
	seen time.Time // when the store last answered
}

// NewKeyring returns a Keyring over a table. Watch keeps it up to date.
func NewKeyring(table Table, now func() time.Time, log zerolog.Logger) *Keyring {
	return &Keyring{table: table, now: now, log: log, keys: map[string]Key{}}
}

// Watch keeps the keys up to date until ctx ends.
func (k *Keyring) Watch(ctx context.Context) error {
	var probes sync.WaitGroup
	defer probes.Wait()
	probes.Go(func() { k.probe(ctx) })
	return k.table.Watch(ctx, "", func(e bus.Entry) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.seen = k.now()
		if e.Key != "" {
			k.take(e)
		}
	})
}

// probe notices that the store is there although nothing changes.
func (k *Keyring) probe(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, err := k.fetch(ctx, "probe"); err == nil || fault.KindOf(err) == fault.Unauthenticated {
			k.mu.Lock()
			k.seen = k.now()
			k.mu.Unlock()
		}
	}
}

// take puts an entry into memory; k.mu is held.
func (k *Keyring) take(e bus.Entry) {
	if e.Deleted {
		delete(k.keys, e.Key)
		return
	}
	var key Key
	if err := json.Unmarshal(e.Value, &key); err != nil || key.ID != e.Key {
		k.log.Error().Err(err).Str("key_id", e.Key).Msg("API key can't be read")
		delete(k.keys, e.Key)
		return
	}
	k.keys[e.Key] = key
}

func notGood() error {
	return fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "the API key is not good; it may have been revoked or have expired")
}

// Check says what a key allows.
func (k *Keyring) Check(ctx context.Context, token string) (Grant, error) {
	rest, ok := strings.CutPrefix(token, prefix)
	if !ok || len(token) > 256 {
		return Grant{}, notGood()
	}
	id, secret, ok := strings.Cut(rest, "_")
	if !ok || !slug(id) {
		return Grant{}, notGood()
	}
	k.mu.RLock()
	key, known := k.keys[id]
	stale := k.now().Sub(k.seen) > maxAge
	k.mu.RUnlock()
	if !known || stale {
		// Perhaps another replica made it just now, or the watch has not come back yet.
		var err error
		if key, err = k.fetch(ctx, id); err != nil {
			return Grant{}, err
		}
	}
	want, err := hex.DecodeString(key.Hash)
	now := k.now()
	switch {
	case err != nil || !digest(want).set() || !digest(want).equal(hash(secret)):
		return Grant{}, notGood()
	case !key.RevokedAt.IsZero() || !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt):
		return Grant{}, notGood()
	}
	return Grant{Subject: "key:" + key.ID, Role: key.Role, Workspaces: key.Workspaces}, nil
}

func slug(id string) bool {
	return id != "" && len(id) <= 64 && strings.IndexFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
	}) < 0
}

// fetch reads one key from the store.
func (k *Keyring) fetch(ctx context.Context, id string) (Key, error) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	e, err := k.table.Get(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return Key{}, notGood()
	}
	if err != nil {
		return Key{}, fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "API keys can't be checked just now; try again shortly").WithRetryAfter(2 * time.Second)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.take(e)
	key, ok := k.keys[id]
	if !ok {
		return Key{}, notGood()
	}
	return key, nil
}

// Create makes a key and returns the whole of it, which is not kept.
func (k *Keyring) Create(ctx context.Context, key Key) (Key, string, error) {
	k.mu.RLock()
	full := len(k.keys) >= maxKeys
	k.mu.RUnlock()
	if full {
		return Key{}, "", fault.New(fault.Exhausted, fault.Overloaded, "there are %d keys, as many as can be", maxKeys)
	}
	random := make([]byte, 40)
	if _, err := rand.Read(random); err != nil {
		return Key{}, "", fmt.Errorf("create key: %w", err)
	}
	key.ID = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random[:8]))
	secret := base64.RawURLEncoding.EncodeToString(random[8:])
	key.Hash = hex.EncodeToString(hash(secret))
	slices.Sort(key.Workspaces)
	key.Workspaces = slices.Compact(key.Workspaces)
	value, err := json.Marshal(key)
	if err != nil {
		return Key{}, "", fmt.Errorf("create key: %w", err)
	}
	if _, err := k.table.Create(ctx, key.ID, value); err != nil {
		return Key{}, "", err
	}
	k.mu.Lock()
	k.keys[key.ID] = key
	k.mu.Unlock()
	return key, prefix + key.ID + "_" + secret, nil
}

// List returns the keys, ordered by id.
func (k *Keyring) List(ctx context.Context) ([]Key, error) {
	entries, err := k.table.List(ctx, "")
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(entries))
	for _, e := range entries {
		var key Key
		if err := json.Unmarshal(e.Value, &key); err != nil {
			k.log.Error().Err(err).Str("key_id", e.Key).Msg("API key can't be read")
			continue
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
	return keys, nil
}

// Revoke ends a key. One that is revoked already stays as it is.
func (k *Keyring) Revoke(ctx context.Context, id string) (Key, error) {
	for range 5 {
		e, err := k.table.Get(ctx, id)
		if errors.Is(err, bus.ErrNotFound) {
			return Key{}, fault.New(fault.NotFound, fault.KeyNotFound, "there is no key %s", id)
		}
		if err != nil {
			return Key{}, err
		}
		var key Key
		if err := json.Unmarshal(e.Value, &key); err != nil {
			return Key{}, fmt.Errorf("read key %s: %w", id, err)
		}
		if key.RevokedAt.IsZero() {
			key.RevokedAt = k.now()
			value, err := json.Marshal(key)
			if err != nil {
				return Key{}, fmt.Errorf("revoke key: %w", err)
			}
			if _, err := k.table.Update(ctx, id, value, e.Revision); errors.Is(err, bus.ErrConflict) {
				continue
			} else if err != nil {
				return Key{}, err
			}
		}
		k.mu.Lock()
		k.keys[id] = key
		k.mu.Unlock()
		return key, nil
	}
	return Key{}, fault.New(fault.Conflict, fault.ReasonConflict, "the key is being changed by others; try again")
}

// Healthy says whether what is known of the keys is recent.
func (k *Keyring) Healthy() (bool, string) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.seen.IsZero() {
		return false, "the keys have not been read yet"
	}
	if age := k.now().Sub(k.seen); age > 2*probeEvery {
		return false, fmt.Sprintf("the keys were last read %s ago; they count for %s", age.Round(time.Second), maxAge)
	}
	return true, ""
}

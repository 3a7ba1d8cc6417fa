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
	Scopes     []string      `json:"scopes,omitempty"` // what of the role it allows; empty means all of it
	// ServiceAccount is whom the key acts as, without "service:"; it then has exactly one workspace.
	ServiceAccount string `json:"service_account,omitempty"`
	// ReplacedBy is the key that took its place.
	ReplacedBy string `json:"replaced_by,omitempty"`
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
	return follow(ctx, k.table, k.heard, func(e bus.Entry) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.seen = k.now()
		if e.Key != "" {
			k.take(e)
		}
	})
}

// heard notes that the store is there although nothing changed.
func (k *Keyring) heard() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = k.now()
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

// keyID returns the public part of what looks like a key, "" of what doesn't.
func keyID(token string) string {
	id, _, _ := cutKey(token)
	return id
}

func cutKey(token string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(token, prefix)
	if !ok || len(token) > 256 {
		return "", "", false
	}
	id, secret, ok = strings.Cut(rest, "_")
	if !ok || !slug(id) {
		return "", "", false
	}
	return id, secret, true
}

// Check says what a key allows.
func (k *Keyring) Check(ctx context.Context, token string) (Grant, error) {
	return k.check(ctx, token, true)
}

// check says what a key allows; offline it looks in memory only.
func (k *Keyring) check(ctx context.Context, token string, online bool) (Grant, error) {
	id, secret, ok := cutKey(token)
	if !ok {
		return Grant{}, notGood()
	}
	k.mu.RLock()
	key, known := k.keys[id]
	stale := k.now().Sub(k.seen) > maxAge
	k.mu.RUnlock()
	if !known || stale {
		if !online {
			return Grant{}, notGood()
		}
		// Perhaps another replica made it just now, or the watch has not come back yet.
		var err error
		if key, err = k.fetch(ctx, id); err != nil {
			return Grant{}, err
		}
	}
	want, err := hex.DecodeString(key.Hash)
	switch {
	case err != nil || !digest(want).set() || !digest(want).equal(hash(secret)):
		return Grant{}, notGood()
	case !key.good(k.now()):
		return Grant{}, notGood()
	}
	return key.grant(), nil
}

// good says whether the key has neither been revoked nor expired.
func (k Key) good(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// grant returns what the key allows. The role of a service account's key is the account's, which membership says.
func (k Key) grant() Grant {
	g := Grant{Subject: "key:" + k.ID, Role: k.Role, Workspaces: k.Workspaces, Scopes: k.Scopes}
	if k.ServiceAccount != "" {
		g.Subject, g.Role = "service:"+k.ServiceAccount, 0
	}
	return g
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

// Get returns a key as the store has it.
func (k *Keyring) Get(ctx context.Context, id string) (Key, error) {
	key, _, err := k.read(ctx, id)
	return key, err
}

func (k *Keyring) read(ctx context.Context, id string) (Key, uint64, error) {
	e, err := k.table.Get(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return Key{}, 0, noKey(id)
	}
	if err != nil {
		return Key{}, 0, err
	}
	var key Key
	if err := json.Unmarshal(e.Value, &key); err != nil {
		return Key{}, 0, fmt.Errorf("read key %s: %w", id, err)
	}
	return key, e.Revision, nil
}

func noKey(id string) error {
	return fault.New(fault.NotFound, fault.KeyNotFound, "there is no key %s", id)
}

// change lets fn change a key, again when others did meanwhile. fn reports whether there is anything to change.
func (k *Keyring) change(ctx context.Context, id string, fn func(*Key) (bool, error)) (Key, error) {
	for range 5 {
		key, revision, err := k.read(ctx, id)
		if err != nil {
			return Key{}, err
		}
		changed, err := fn(&key)
		if err != nil {
			return Key{}, err
		}
		if changed {
			value, err := json.Marshal(key)
			if err != nil {
				return Key{}, fmt.Errorf("change key %s: %w", id, err)
			}
			if _, err := k.table.Update(ctx, id, value, revision); errors.Is(err, bus.ErrConflict) {
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

// Revoke ends a key. One that is revoked already stays as it is.
func (k *Keyring) Revoke(ctx context.Context, id string) (Key, error) {
	return k.change(ctx, id, func(key *Key) (bool, error) {
		if !key.RevokedAt.IsZero() {
			return false, nil
		}
		key.RevokedAt = k.now()
		return true, nil
	})
}

// RevokeWhere ends all keys that which is true of and returns those it ended, also when one could not be.
func (k *Keyring) RevokeWhere(ctx context.Context, which func(Key) bool) ([]Key, error) {
	all, err := k.List(ctx)
	if err != nil {
		return nil, err
	}
	var revoked []Key
	var errs []error
	for _, key := range all {
		if !key.RevokedAt.IsZero() || !which(key) {
			continue
		}
		if key, err = k.Revoke(ctx, key.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		revoked = append(revoked, key)
	}
	return revoked, errors.Join(errs...)
}

// Rotate makes a key that may do the same as an old one, which goes on for overlap. A key has one successor: of several who
// rotate it at once, one gets it, and the others are told that there is one.
func (k *Keyring) Rotate(ctx context.Context, id string, overlap time.Duration) (made Key, secret string, old Key, err error) {
	old, err = k.Get(ctx, id)
	if err != nil {
		return Key{}, "", Key{}, err
	}
	if err := old.rotatable(k.now()); err != nil {
		return Key{}, "", Key{}, err
	}
	next := Key{
		Name: old.Name, Role: old.Role, Workspaces: old.Workspaces, Scopes: old.Scopes, ServiceAccount: old.ServiceAccount, CreatedAt: k.now(),
	}
	if !old.ExpiresAt.IsZero() {
		next.ExpiresAt = next.CreatedAt.Add(old.ExpiresAt.Sub(old.CreatedAt)) // it lives as long as the old one was to
	}
	made, secret, err = k.Create(ctx, next)
	if err != nil {
		return Key{}, "", Key{}, err
	}
	old, err = k.change(ctx, id, func(key *Key) (bool, error) {
		if err := key.rotatable(k.now()); err != nil {
			return false, err
		}
		key.ReplacedBy = made.ID
		if end := k.now().Add(overlap); key.ExpiresAt.IsZero() || end.Before(key.ExpiresAt) {
			key.ExpiresAt = end
		}
		return true, nil
	})
	if err != nil {
		// Nobody knows the new one's secret. It goes, also when the caller does.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookup)
		defer cancel()
		if gone := k.remove(end, made.ID); gone != nil {
			k.log.Warn().Err(gone).Str("key_id", made.ID).Msg("API key that nobody has can't be removed")
		}
		return Key{}, "", Key{}, err
	}
	return made, secret, old, nil
}

// rotatable says why a key can't have a successor.
func (k Key) rotatable(now time.Time) error {
	switch {
	case k.ReplacedBy != "":
		return fault.New(fault.Conflict, fault.ReasonConflict, "key %s was rotated already, its successor is %s; rotate that one", k.ID, k.ReplacedBy)
	case !k.good(now):
		return fault.New(fault.Precondition, fault.ReasonConflict, "key %s has been revoked or has expired; create a new one", k.ID)
	}
	return nil
}

func (k *Keyring) remove(ctx context.Context, id string) error {
	k.mu.Lock()
	delete(k.keys, id)
	k.mu.Unlock()
	return k.table.Delete(ctx, id)
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

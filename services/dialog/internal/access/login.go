package access

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
)

const (
	// maxLogins bounds the logins in memory; others are read from the store when they are used.
	maxLogins = 10_000
	// loginBytes is how random a login's id is.
	loginBytes = 32
)

// Session is a browser that somebody has logged in with.
type Session struct {
	Person  Person    `json:"person"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// Logins knows the browsers that are logged in. The store has them by the hash of what the browser's cookie holds, so that
// reading it lets nobody in. What was used lately is in memory, kept up to date by a watch. It is safe for concurrent use.
type Logins struct {
	table Table
	now   func() time.Time
	log   zerolog.Logger

	mu    sync.Mutex
	known *lru.Cache[string, Session]
	seen  time.Time // when the store last answered
	gone  uint64    // logouts seen: what was read before one may be out of date after it
}

// NewLogins returns the logins of a table. Watch keeps them up to date.
func NewLogins(table Table, now func() time.Time, log zerolog.Logger) *Logins {
	known, err := lru.New[string, Session](maxLogins)
	if err != nil {
		panic("access: make logins: " + err.Error()) // the size is not positive
	}
	return &Logins{table: table, now: now, log: log, known: known}
}

// Watch notices logouts on other replicas until ctx ends.
func (l *Logins) Watch(ctx context.Context) error {
	return follow(ctx, l.table, l.heard, func(e bus.Entry) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = l.now()
		if e.Deleted {
			l.forget(e.Key)
		}
	})
}

// heard notes that the store is there although nothing changed.
func (l *Logins) heard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = l.now()
}

// forget drops a login from memory; l.mu is held.
func (l *Logins) forget(key string) {
	l.known.Remove(key)
	l.gone++
}

func loggedOut() error {
	return fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "you are not logged in any more; log in again")
}

// Create logs somebody in for a while and returns what their browser shows from now on.
func (l *Logins) Create(ctx context.Context, who Person, lifetime time.Duration) (string, Session, error) {
	random := make([]byte, loginBytes)
	if _, err := rand.Read(random); err != nil {
		return "", Session{}, fmt.Errorf("create login: %w", err)
	}
	id := base64.RawURLEncoding.EncodeToString(random)
	s := Session{Person: who, Created: l.now(), Expires: l.now().Add(min(lifetime, MaxLogin))}
	value, err := json.Marshal(s)
	if err != nil {
		return "", Session{}, fmt.Errorf("create login: %w", err)
	}
	if _, err := l.table.Create(ctx, loginKey(id), value); err != nil {
		return "", Session{}, fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "nobody can log in just now; try again shortly").WithRetryAfter(2 * time.Second)
	}
	l.mu.Lock()
	l.known.Add(loginKey(id), s)
	l.mu.Unlock()
	return id, s, nil
}

// loginKey is where the store has a login.
func loginKey(id string) string { return hex.EncodeToString(hash(id)) }

// Check returns the login that a browser shows. Offline it looks in memory only.
func (l *Logins) Check(ctx context.Context, id string, online bool) (Session, error) {
	if len(id) != base64.RawURLEncoding.EncodedLen(loginBytes) {
		return Session{}, loggedOut()
	}
	key := loginKey(id)
	l.mu.Lock()
	s, known := l.known.Get(key)
	stale := l.now().Sub(l.seen) > maxAge
	l.mu.Unlock()
	if !known || stale {
		if !online {
			return Session{}, loggedOut()
		}
		var err error
		if s, err = l.fetch(ctx, key); err != nil {
			return Session{}, err
		}
	}
	if !l.now().Before(s.Expires) {
		return Session{}, loggedOut()
	}
	return s, nil
}

func (l *Logins) fetch(ctx context.Context, key string) (Session, error) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	l.mu.Lock()
	gone := l.gone
	l.mu.Unlock()
	e, err := l.table.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return Session{}, loggedOut()
	}
	if err != nil {
		return Session{}, fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "logins can't be checked just now; try again shortly").WithRetryAfter(2 * time.Second)
	}
	var s Session
	if err := json.Unmarshal(e.Value, &s); err != nil {
		l.log.Error().Err(err).Msg("login can't be read")
		return Session{}, loggedOut()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if gone == l.gone {
		l.known.Add(key, s)
	}
	return s, nil
}

// Delete logs a browser out, everywhere.
func (l *Logins) Delete(ctx context.Context, id string) error {
	if len(id) != base64.RawURLEncoding.EncodedLen(loginBytes) {
		return nil
	}
	key := loginKey(id)
	if err := l.table.Delete(ctx, key); err != nil {
		return fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "you could not be logged out just now; try again shortly").WithRetryAfter(2 * time.Second)
	}
	l.mu.Lock()
	l.forget(key)
	l.mu.Unlock()
	return nil
}

// Package store keeps turns and sessions. A turn is written once, synchronously, to the turns stream; while NATS is away it
// goes to a spool on disk instead, synced before it counts as stored, and is moved to the stream later. Everything else
// about a session (title, count, request ids) is a view that the turns can bring back.
package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/services/dialog/internal/title"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Codec turns turns into payloads and back.
type Codec interface {
	Encode(turn.Turn) ([]byte, error)
	Decode([]byte) (turn.Turn, error)
}

// Deps are what a Store works with.
type Deps struct {
	Bus   *bus.Bus
	Codec Codec
	// Dir is the spool's folder; it is made when it is not there.
	Dir string
	Now func() time.Time
	// SaveFor is how long the turns stream gets to take a turn; then it goes to the spool. The session's view gets as long
	// again. 0 means half a second.
	SaveFor time.Duration
	// Keeps says whether a turn that began in a workspace at a time may be written there: not into one that is deleted meanwhile.
	// nil means that it always may.
	Keeps func(workspace string, began time.Time) bool
	// TurnFor is the longest a turn may run: a request id whose turn has not ended by then is free again.
	TurnFor  time.Duration
	Registry prometheus.Registerer
	Log      zerolog.Logger
}

// Store keeps turns and sessions. It is safe for concurrent use.
type Store struct {
	bus      *bus.Bus
	codec    Codec
	sessions *bus.KV
	requests *bus.KV
	spool    *spool
	now      func() time.Time
	keeps    func(workspace string, began time.Time) bool
	turnFor  atomic.Int64 // a time.Duration, as is saveFor
	saveFor  atomic.Int64
	log      zerolog.Logger
	// home names the folder, life this process: only one process at a time has the folder.
	home, life string

	mu      sync.Mutex
	pending []turn.Turn          // whose sessions are not up to date; only what a session shows of them
	silent  map[string]time.Time // since when a process has not said that it is there, by its life
}

// maxPending bounds the sessions that wait to be brought up to date.
const maxPending = 10_000

var _ turn.Store = (*Store)(nil)

// Open returns a Store. It works while NATS is away.
func Open(ctx context.Context, deps Deps) (*Store, error) {
	sessions, err := deps.Bus.KV(ctx, bus.Sessions)
	if err != nil {
		return nil, fmt.Errorf("open sessions: %w", err)
	}
	requests, err := deps.Bus.KV(ctx, bus.Requests)
	if err != nil {
		return nil, fmt.Errorf("open requests: %w", err)
	}
	s := &Store{
		bus: deps.Bus, codec: deps.Codec, sessions: sessions, requests: requests,
		now: deps.Now, keeps: deps.Keeps, log: deps.Log, silent: map[string]time.Time{},
	}
	if s.keeps == nil {
		s.keeps = func(string, time.Time) bool { return true }
	}
	s.Bound(deps.SaveFor, deps.TurnFor)
	if s.spool, err = openSpool(deps.Dir, deps.Registry); err != nil {
		return nil, err
	}
	s.life = rand.Text()
	if s.home, err = home(deps.Dir); err != nil {
		return nil, err
	}
	if err := s.bus.Announce(s.life); err != nil {
		return nil, err
	}
	return s, nil
}

// Bound sets SaveFor and TurnFor of [Deps] anew.
func (s *Store) Bound(saveFor, turnFor time.Duration) {
	if saveFor <= 0 {
		saveFor = 500 * time.Millisecond
	}
	s.saveFor.Store(int64(saveFor))
	s.turnFor.Store(int64(turnFor))
}

// home returns the name of a folder, which is in it and made when it is first used.
func home(dir string) (string, error) {
	path := filepath.Join(dir, "home")
	if name, err := os.ReadFile(path); err == nil && len(name) > 0 && len(name) <= 64 {
		return string(name), nil
	}
	name := rand.Text()
	if err := replace(dir, path, []byte(name)); err != nil {
		return "", fmt.Errorf("name spool: %w", err)
	}
	return name, nil
}

// Save implements [turn.Store]. A turn that is there already counts as stored. The stream's time is bounded; that of the
// disk is not: a turn that was said has to be somewhere.
func (s *Store) Save(ctx context.Context, t turn.Turn) (turn.Stored, error) {
	payload, err := s.codec.Encode(t)
	if err != nil {
		return turn.NotStored, err
	}
	if len(payload) > turn.MaxRecord {
		return turn.NotStored, fmt.Errorf("save turn: the record has %d bytes, at most %d are allowed", len(payload), turn.MaxRecord)
	}
	if !s.keeps(t.Workspace, t.StartedAt) {
		return turn.NotStored, errGone
	}
	if s.taken(ctx, t) {
		return turn.NotStored, errTaken
	}
	if err := s.publish(ctx, t, payload); err != nil {
		s.log.Warn().Err(err).Str("turn", t.ID).Msg("turn goes to the spool")
		if spoolErr := s.spool.put(name(t), payload); spoolErr != nil {
			return turn.NotStored, errors.Join(err, spoolErr)
		}
		return turn.StoredSpooled, nil
	}
	// The turn is safe; what follows is a view of it.
	if err := s.noteSession(ctx, t, time.Duration(s.saveFor.Load())); err != nil {
		s.log.Debug().Err(err).Str("session", t.Session).Msg("session list is updated later")
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.pending) < maxPending {
			s.pending = append(s.pending, turn.Turn{
				ID: t.ID, Workspace: t.Workspace, Session: t.Session, User: t.User, Replaces: t.Replaces, Question: title.Of(t.Question),
				StartedAt: t.StartedAt, CompletedAt: t.CompletedAt,
			})
		}
	}
	return turn.StoredStream, nil
}

func (s *Store) publish(ctx context.Context, t turn.Turn, payload []byte) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.saveFor.Load()))
	defer cancel()
	err := s.bus.Publish(ctx, bus.TurnSubject(t.Workspace, t.Session, t.ID), t.ID, payload)
	if errors.Is(err, bus.ErrExists) {
		return nil
	}
	return err
}

// Publish sends an event about a workspace. Events with the same id within minutes count once.
func (s *Store) Publish(ctx context.Context, what, workspace, id string, payload []byte) error {
	return s.bus.Publish(ctx, bus.EventSubject(what, workspace), id, payload)
}

// SaveFeedback keeps what a user thinks of a turn, in place of what they thought before.
func (s *Store) SaveFeedback(ctx context.Context, t turn.Turn, user string, payload []byte) error {
	who := sha256.Sum256([]byte(user))
	return s.bus.Replace(ctx, bus.Events, bus.FeedbackSubject(t.Workspace, t.Session, t.ID, hex.EncodeToString(who[:8])), "", payload)
}

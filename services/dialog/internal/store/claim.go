package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// claim is the value behind a request id.
type claim struct {
	Turn     string    `json:"turn"`
	Session  string    `json:"session"`
	Question string    `json:"question"` // SHA-256
	Until    time.Time `json:"until"`    // by when the turn has ended, or its process has
	// Home and Life say whose it is. Another life of the same home has ended: a home has one process at a time. Any life says
	// that it is there when it is asked over NATS.
	Home string `json:"home,omitempty"`
	Life string `json:"life,omitempty"`
}

// requestKey is where the claim of a request is. Another user's request with the same id is another request.
func requestKey(workspace, request, user string) string {
	who := sha256.Sum256([]byte(user))
	return workspace + "." + request + "." + hex.EncodeToString(who[:6])
}

// Claim implements [turn.Store]. A request whose turn has ended is that turn's for good. One whose process is gone, or whose
// caller went away before its end, is free for who asks again.
func (s *Store) Claim(ctx context.Context, q turn.Question, turnID, session string) (*turn.Turn, error) {
	asked := q.Text + "\x00" + q.Session
	if q.Replaces != "" {
		asked += "\x00" + q.Replaces
	}
	sum := sha256.Sum256([]byte(asked))
	mine := claim{Turn: turnID, Session: session, Question: hex.EncodeToString(sum[:]), Until: s.now().Add(time.Duration(s.turnFor.Load())), Home: s.home, Life: s.life}
	value, err := json.Marshal(mine)
	if err != nil {
		return nil, fmt.Errorf("claim request: %w", err)
	}
	key := requestKey(q.Workspace, q.RequestID, q.User)
	if _, err = s.requests.Create(ctx, key, value); !errors.Is(err, bus.ErrExists) {
		return nil, err
	}
	entry, err := s.requests.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	var theirs claim
	if err := json.Unmarshal(entry.Value, &theirs); err != nil {
		return nil, fmt.Errorf("read request %s: %w", q.RequestID, err)
	}
	if theirs.Question != mine.Question {
		return nil, fault.New(fault.Invalid, fault.RequestIDReused, "this request_id was used for another question; take a new one for each question").
			WithField("request_id", "must not have been used for another question within 24 hours")
	}
	found, err := s.turn(ctx, q.Workspace, theirs.Turn)
	if fault.KindOf(err) == fault.NotFound && s.over(ctx, theirs) {
		found, err = s.turn(ctx, q.Workspace, theirs.Turn) // it may have been its last deed
		if fault.KindOf(err) == fault.NotFound {
			return nil, s.takeOver(ctx, key, value, entry.Revision)
		}
	}
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return nil, inProgress()
	case err != nil:
		return nil, err
	case found.Outcome == turn.Interrupted:
		return nil, s.takeOver(ctx, key, value, entry.Revision)
	default:
		return &found, nil
	}
}

// takeOver makes the request ours, unless somebody was faster.
func (s *Store) takeOver(ctx context.Context, key string, value []byte, revision uint64) error {
	_, err := s.requests.Update(ctx, key, value, revision)
	if errors.Is(err, bus.ErrConflict) {
		return inProgress()
	}
	return err
}

func inProgress() error {
	return fault.New(fault.Conflict, fault.RequestInProgress, "this request is being answered; send it again later to get its turn").WithRetryAfter(time.Second)
}

const (
	// maxSilence is for how long a process that NATS knows of may leave questions unanswered until it counts as gone.
	maxSilence = 3 * time.Second
	// maxSilent bounds how many processes are remembered for that.
	maxSilent = 100
)

// over says whether the process that made a claim is gone, or its turn's time is.
func (s *Store) over(ctx context.Context, c claim) bool {
	switch {
	case !s.now().Before(c.Until):
		return true
	case c.Life == "" || c.Life == s.life:
		return false
	case c.Home == s.home:
		return true
	}
	lives, err := s.bus.Lives(ctx, c.Life)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.silent, c.Life)
		return !lives
	}
	if len(s.silent) > maxSilent {
		clear(s.silent)
	}
	since, known := s.silent[c.Life]
	if !known {
		s.silent[c.Life] = s.now()
	}
	return known && s.now().Sub(since) >= maxSilence
}

var errTaken = errors.New("save turn: another replica has taken the request over, and answers it")

// taken says whether a turn's request has become another turn's meanwhile, because this process seemed to be gone. Such a
// turn is not written: its request is answered once. When that can't be told, it is not.
func (s *Store) taken(ctx context.Context, t turn.Turn) bool {
	if t.RequestID == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.saveFor.Load())/2)
	defer cancel()
	entry, err := s.requests.Get(ctx, requestKey(t.Workspace, t.RequestID, t.User))
	var c claim
	return err == nil && json.Unmarshal(entry.Value, &c) == nil && c.Turn != t.ID
}

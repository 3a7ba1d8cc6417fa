package trace_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
	"github.com/ragmesh/ragmesh/services/eval/internal/trace"
)

// shelf is a store in memory.
type shelf struct {
	mu      sync.Mutex
	turns   map[string]store.Turn
	spans   []store.Span
	err     error
	changed chan struct{}

	newest   string // what the stream holds
	recorded time.Time
	headErr  error
}

func newShelf() *shelf {
	return &shelf{turns: map[string]store.Turn{}, changed: make(chan struct{})}
}

func (s *shelf) put(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shelf) Turn(_ context.Context, workspace, id string) (store.Turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.turns[workspace+"/"+id]; ok {
		return t, s.err
	}
	return store.Turn{}, errors.Join(store.ErrNotFound, s.err)
}

func (s *shelf) Turns(context.Context, string, string, store.Position, int) ([]store.Turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.turns)), s.err
}

func (s *shelf) Spans(context.Context, string, string, int) ([]store.Span, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spans, nil
}

func (s *shelf) Newest(context.Context, string) (string, time.Time, error) {
	return s.newest, s.recorded, s.headErr
}

func (s *shelf) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

const wait = 2 * time.Second

var errDisk = errors.New("disk is gone")

// Time in these tests is synctest's: it stands still while anything runs, and what took how long is exact.
func TestGetWaitsForWhatCanStillCome(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := map[string]struct {
		age      time.Duration // of the turn's id when it is asked for
		here     bool          // the turn is there from the start
		ended    time.Duration // how long ago the turn ended
		noTrace  bool          // the turn was not traced
		turnAt   time.Duration // when the turn comes; 0 for never
		spansAt  time.Duration // when its spans come; 0 for never
		deadline time.Duration // the caller's; 0 for none
		broken   bool          // the store fails
		want     fault.Reason
		took     time.Duration
		spans    int
	}{
		"new turn, spans come later":        {here: true, spansAt: 600 * ms, took: time.Second, spans: 1},
		"turn comes later":                  {turnAt: 300 * ms, spansAt: 700 * ms, took: time.Second, spans: 1},
		"turn comes late, short deadline":   {turnAt: 300 * ms, spansAt: 700 * ms, deadline: 500 * ms, took: 450 * ms},
		"turn never comes":                  {want: fault.TurnNotFound, took: wait},
		"turn never comes, short deadline":  {deadline: time.Second, want: fault.TurnNotFound, took: 900 * ms},
		"old id that is not here":           {age: time.Hour, want: fault.TurnNotFound},
		"turn of a second ago":              {here: true, ended: time.Second},
		"turn of just now":                  {here: true, ended: 900 * ms, spansAt: 50 * ms, took: 100 * ms, spans: 1},
		"new turn whose spans never come":   {here: true, took: time.Second},
		"untraced turn":                     {here: true, noTrace: true},
		"broken store":                      {here: true, broken: true, want: fault.StoreUnavailable},
		"turn that ends after it was asked": {here: true, ended: -time.Hour, took: wait},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShelf()
				id := ulid.MustNew(ulid.Timestamp(time.Now().Add(-tt.age)), ulid.DefaultEntropy()).String()
				turn := store.Turn{Workspace: "w", ID: id, TraceID: "t", Started: time.Now().Add(-tt.ended)}
				if tt.noTrace {
					turn.TraceID = ""
				}
				if tt.here {
					s.turns["w/"+id] = turn
				}
				if tt.broken {
					s.err = errDisk
				}
				if tt.turnAt > 0 {
					time.AfterFunc(tt.turnAt, func() { s.put(func() { s.turns["w/"+id] = turn }) })
				}
				if tt.spansAt > 0 {
					time.AfterFunc(tt.spansAt, func() { s.put(func() { s.spans = append(s.spans, store.Span{ID: "a"}) }) })
				}
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				begin := time.Now()
				got, err := trace.New(s, s, wait, time.Now).Get(ctx, "w", id)
				if reason := fault.ReasonOf(err); reason != tt.want {
					t.Errorf("reason = %v, want %v (%v)", reason, tt.want, err)
				}
				if took := time.Since(begin); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if err == nil && (got.Turn.ID != id || len(got.Spans) != tt.spans) {
					t.Errorf("got turn %q with %d spans, want %q with %d", got.Turn.ID, len(got.Spans), id, tt.spans)
				}
				time.Sleep(wait) // let the timers end
			})
		})
	}
}

func TestGetEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := trace.New(newShelf(), newShelf(), wait, time.Now).Get(ctx, "w", "no-ulid")
		if fault.KindOf(err) != fault.Canceled {
			t.Errorf("Get = %v; want canceled", err)
		}
	})
}

func TestGetDoesNotShowAnotherWorkspacesTurn(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.turns["theirs/01JC00000000000000000000AA"] = store.Turn{}
	_, err := trace.New(s, s, wait, time.Now).Get(t.Context(), "mine", "01JC00000000000000000000AA")
	if fault.KindOf(err) != fault.NotFound || fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("Get = %v; want not found", err)
	}
}

func TestListHidesWhatTheStoreSays(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.err = errDisk
	_, err := trace.New(s, s, wait, time.Now).List(t.Context(), "w", "", store.Position{}, 10)
	if got := fault.As(err); got == nil || got.Reason != fault.StoreUnavailable || got.Message == errDisk.Error() {
		t.Errorf("List = %v", err)
	}
}

func TestListWaitsForATurnThatWasRecordedJustNow(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		recorded time.Duration // how long ago
		turnAt   time.Duration // when it is consumed; 0 for never
		page     store.Position
		headErr  error
		took     time.Duration
		turns    int
	}{
		"just now":              {turnAt: 200 * time.Millisecond, took: 200 * time.Millisecond, turns: 1},
		"never consumed":        {took: wait},
		"a while ago":           {recorded: 3 * time.Second},
		"a later page":          {page: store.Position{ID: "x"}},
		"a stream that is away": {headErr: errDisk},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShelf()
				s.newest, s.recorded, s.headErr = "n", time.Now().Add(-tt.recorded), tt.headErr
				if tt.turnAt > 0 {
					time.AfterFunc(tt.turnAt, func() { s.put(func() { s.turns["w/n"] = store.Turn{ID: "n"} }) })
				}
				begin := time.Now()
				got, err := trace.New(s, s, wait, time.Now).List(t.Context(), "w", "", tt.page, 10)
				if took := time.Since(begin); err != nil || len(got) != tt.turns || took != tt.took {
					t.Errorf("List = %d turns, %v after %v; want %d after %v", len(got), err, took, tt.turns, tt.took)
				}
			})
		})
	}
}

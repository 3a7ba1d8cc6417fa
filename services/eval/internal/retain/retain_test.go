package retain_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/eval/internal/retain"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

// shelf is a store whose writer can hang or fail.
type shelf struct {
	mu     sync.Mutex
	passes []time.Time
	hangs  bool
	err    error
}

func (s *shelf) Prune(_ context.Context, l store.Limits, now time.Time) (store.Pruned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passes = append(s.passes, now)
	return store.Pruned{Turns: l.Turns}, s.err
}

func (s *shelf) Used(context.Context) (int64, error) { return 1, s.err }

func (s *shelf) Ping(ctx context.Context) error {
	s.mu.Lock()
	hangs := s.hangs
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
	}
	return s.err
}

func run(t *testing.T, s *shelf, f func(*health.Liveness)) {
	t.Helper()
	live := health.NewLiveness(nil)
	k, err := retain.New(s, store.Limits{Turns: 1}, 10*time.Minute, time.Now, live, telemetry.Nop("eval"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	f(live)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if silent := live.Silent(); silent != nil {
		t.Errorf("after the end it is still watched: %v", silent)
	}
}

func TestKeeperPrunesAtOnceAndThenInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		run(t, s, func(*health.Liveness) { time.Sleep(25 * time.Minute) })
		if len(s.passes) != 3 || s.passes[1].Sub(s.passes[0]) != 10*time.Minute {
			t.Errorf("passes at %v; want at 0, 10 and 20 minutes", s.passes)
		}
	})
}

func TestKeeperGoesOnAndIsAliveWhenTheDiskFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{err: errors.New("disk is full")}
		run(t, s, func(live *health.Liveness) {
			time.Sleep(25 * time.Minute)
			if silent := live.Silent(); silent != nil {
				t.Errorf("wedged: %v", silent)
			}
		})
		if len(s.passes) != 3 {
			t.Errorf("%d passes, want 3", len(s.passes))
		}
	})
}

func TestHangingWriterShowsInLiveness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		run(t, s, func(live *health.Liveness) {
			time.Sleep(5 * time.Minute)
			if silent := live.Silent(); silent != nil {
				t.Errorf("wedged before it hangs: %v", silent)
			}
			s.mu.Lock()
			s.hangs = true
			s.mu.Unlock()
			time.Sleep(5 * time.Minute)
			if silent := live.Silent(); len(silent) != 1 || silent[0].Name != "store" {
				t.Errorf("silent = %v; want the store", silent)
			}
		})
	})
}

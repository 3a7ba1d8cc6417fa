package removal_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/services/dialog/internal/removal"
)

// ledger is one workspace that is to go.
type ledger struct {
	mu     sync.Mutex
	holder string
	until  time.Time
	buried int
}

func (l *ledger) Condemned(context.Context) ([]removal.Condemned, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buried > 0 {
		return nil, nil
	}
	return []removal.Condemned{{Workspace: "w"}}, nil
}

func (l *ledger) Lease(_ context.Context, _, holder string, d time.Duration) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buried > 0 || l.holder != holder && time.Now().Before(l.until) {
		return false, nil
	}
	l.holder, l.until = holder, time.Now().Add(d)
	return true, nil
}

func (l *ledger) Bury(context.Context, string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buried++
	return nil
}

// parts is what is in the workspace. Removing each may fail so many times first.
type parts struct {
	mu    sync.Mutex
	there map[string]bool
	fails map[string]int
	done  []string
}

func (p *parts) steps(names ...string) []removal.Step {
	var out []removal.Step
	for _, name := range names {
		out = append(out, removal.Step{Name: name, Do: func(context.Context, removal.Condemned) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.fails[name] > 0 {
				p.fails[name]--
				return errors.New("away")
			}
			p.done = append(p.done, name)
			delete(p.there, name)
			return nil
		}})
	}
	return out
}

func remover(l removal.Ledger, holder string, steps []removal.Step) *removal.Remover {
	return removal.New(removal.Deps{Ledger: l, Steps: steps, Holder: holder, Settle: time.Millisecond, Now: time.Now, Log: zerolog.Nop()})
}

// Whatever step ends a removal early, the next attempt, of this process or of one that comes after it, goes on.
func TestRemovalGoesOn(t *testing.T) {
	t.Parallel()
	names := []string{"documents", "conversations", "members"}
	for _, name := range names {
		for _, times := range []int{1, 2} {
			l, p := &ledger{}, &parts{there: map[string]bool{"documents": true, "conversations": true, "members": true}, fails: map[string]int{name: times}}
			c := removal.Condemned{Workspace: "w", Since: time.Now()}
			for attempt := range times {
				if err := remover(l, "a", p.steps(names...)).Remove(t.Context(), c); err == nil {
					t.Fatalf("%s fails, attempt %d does not", name, attempt)
				}
				if l.buried > 0 {
					t.Fatalf("buried although %s is there", name)
				}
			}
			l.until = time.Time{} // its holder has died, and its lease ran out
			if err := remover(l, "b", p.steps(names...)).Remove(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if len(p.there) > 0 || l.buried != 1 {
				t.Errorf("%s failed %d times: %v left, buried %d times", name, times, p.there, l.buried)
			}
		}
	}
}

// What calls that were under way wrote until they settled is removed too.
func TestLateWritesGo(t *testing.T) {
	t.Parallel()
	l, p := &ledger{}, &parts{there: map[string]bool{}}
	first := true
	steps := append(p.steps("documents"), removal.Step{Name: "late", Do: func(context.Context, removal.Condemned) error {
		if first {
			p.there["documents"] = true
		}
		first = false
		return nil
	}})
	if err := remover(l, "a", steps).Remove(t.Context(), removal.Condemned{Workspace: "w", Since: time.Now()}); err != nil || len(p.there) > 0 {
		t.Errorf("%v left, %v", p.there, err)
	}
	if diff := cmp.Diff([]string{"documents", "documents"}, p.done); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// While one process is at a removal, others leave it alone: it may end, and the workspace be made anew, before they are done.
func TestOneRemovesAtATime(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	begun, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	a := remover(l, "a", []removal.Step{{Name: "x", Do: func(context.Context, removal.Condemned) error {
		once.Do(func() { close(begun); <-end })
		return nil
	}}})
	c := removal.Condemned{Workspace: "w", Since: time.Now()}
	ended := make(chan error, 2)
	go func() { ended <- a.Remove(t.Context(), c) }()
	<-begun
	p := &parts{}
	if err := remover(l, "b", p.steps("x")).Remove(t.Context(), c); err != nil || len(p.done) > 0 {
		t.Errorf("another process removed %v: %v", p.done, err)
	}
	go func() { ended <- a.Remove(t.Context(), c) }() // the same process, asked twice
	close(end)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if l.buried != 1 {
		t.Errorf("buried %d times", l.buried)
	}
	late := &parts{}
	if err := remover(l, "b", late.steps("x")).Remove(t.Context(), c); err != nil || len(late.done) > 0 {
		t.Errorf("removed %v once it was buried: %v", late.done, err)
	}
}

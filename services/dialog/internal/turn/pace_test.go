package turn

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/services/dialog/internal/fair"
)

func TestPace(t *testing.T) {
	t.Parallel()
	a, b := line.Party{Workspace: "a", User: "x"}, line.Party{Workspace: "b", User: "y"}
	const hold = time.Minute // longer than anybody waits
	t.Run("nobody waits for a processor that is free", func(t *testing.T) {
		t.Parallel()
		p := newPace(func() bool { return false })
		p.use(1, fair.Config{})
		for range 10 {
			defer p.enter(t.Context(), a, hold)()
		}
	})
	t.Run("turns take turns", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := newPace(func() bool { return true })
			p.use(1, fair.Config{})
			first := p.enter(t.Context(), a, hold)
			var second func()
			go func() { second = p.enter(t.Context(), b, hold) }()
			synctest.Wait()
			if second != nil {
				t.Fatal("two compute where one may")
			}
			first()
			synctest.Wait()
			if second == nil {
				t.Fatal("the place was not given on")
			}
			second()
		})
	})
	t.Run("who takes long waits for something else", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := newPace(func() bool { return true })
			p.use(1, fair.Config{})
			began := time.Now()
			first := p.enter(t.Context(), a, searchFor)
			p.enter(t.Context(), b, hold)()
			if took := time.Since(began); took != searchFor {
				t.Errorf("it waited for %s", took)
			}
			first()
		})
	})
	t.Run("nobody waits for ever", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p := newPace(func() bool { return true })
			p.use(1, fair.Config{})
			defer p.enter(t.Context(), a, hold)()
			began := time.Now()
			p.enter(t.Context(), b, hold)()
			if took := time.Since(began); took != paceFor {
				t.Errorf("it waited for %s", took)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			p.enter(gone, b, hold)()
			if took := time.Since(began); took != paceFor {
				t.Error("who has gone away waits")
			}
		})
	})
	if crowded() && !crowded() { // it can be asked
		t.Log("the processors are as busy as they are")
	}
}

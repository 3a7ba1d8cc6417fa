package line_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
)

// deaf is an observer that listens to nothing.
func deaf() line.Observer {
	return line.Observer{Waiting: func(int) {}, Refused: func(fault.Reason) {}}
}

func bounds(places int, change ...func(*line.Bounds)) line.Bounds {
	b := line.Bounds{Places: places, Waiting: 1000, WaitingOfWorkspace: 1000, Patience: time.Minute, What: "questions"}
	for _, c := range change {
		c(&b)
	}
	return b
}

// queue has parties wait in the order in which they are named, and tells in which order they got their places.
type queue struct {
	t    *testing.T
	line *line.Line
	mu   sync.Mutex
	got  []string
	errs map[string]error
	wg   sync.WaitGroup
	gone map[string]func() // gives the place back
}

func newQueue(t *testing.T, b line.Bounds) *queue {
	t.Helper()
	return &queue{t: t, line: line.New(b, deaf()), errs: map[string]error{}, gone: map[string]func(){}}
}

// join joins the line as name, and returns when the party has a place or waits.
func (q *queue) join(ctx context.Context, name string, p line.Party) {
	q.wg.Go(func() {
		leave, err := q.line.Enter(ctx, p, nil, nil)
		q.mu.Lock()
		defer q.mu.Unlock()
		if err != nil {
			q.errs[name] = err
			return
		}
		q.got = append(q.got, name)
		q.gone[name] = leave
	})
	synctest.Wait()
}

// finish gives back the place of whoever got one first of those who still have one, until nobody has.
func (q *queue) finish() []string {
	for i := 0; ; i++ {
		q.mu.Lock()
		if i == len(q.got) {
			q.mu.Unlock()
			break
		}
		leave := q.gone[q.got[i]]
		q.mu.Unlock()
		leave()
		synctest.Wait()
	}
	q.wg.Wait()
	if taken, _, waiting := q.line.Load(); taken != 0 || waiting != 0 {
		q.t.Errorf("%d places are taken and %d wait when all have gone", taken, waiting)
	}
	return q.got
}

func TestOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		places int
		change func(*line.Bounds)
		come   []string // WORKSPACE/USER, in the order in which they come
		want   []string // as places are given; each ends before the next is given
	}{
		"first come": {
			"one user is served in order", 1, nil,
			[]string{"a/x", "a/x", "a/x"}, []string{"a/x 0", "a/x 1", "a/x 2"},
		},
		"two workspaces": {
			"a burst does not stand before another workspace's question", 1, nil,
			[]string{"a/x", "a/x", "a/x", "a/x", "b/y", "b/y"}, []string{"a/x 0", "a/x 1", "b/y 4", "a/x 2", "b/y 5", "a/x 3"},
		},
		"users within": {
			"within a workspace users share as workspaces do", 1, nil,
			[]string{"a/x", "a/x", "a/x", "a/y", "b/z"}, []string{"a/x 0", "a/x 1", "b/z 4", "a/y 3", "a/x 2"},
		},
		"least taken": {
			"who holds places waits for who holds none", 3, nil,
			[]string{"a/x", "a/x", "a/x", "a/x", "b/y", "c/z"}, []string{"a/x 0", "a/x 1", "a/x 2", "b/y 4", "c/z 5", "a/x 3"},
		},
		"weights": {
			"a weight of two is twice the places", 3, func(b *line.Bounds) { b.Weights = map[string]int{"a": 2} },
			[]string{"c/w", "c/w", "c/w", "a/x", "a/x", "a/x", "a/x", "b/y", "b/y"},
			[]string{"c/w 0", "c/w 1", "c/w 2", "a/x 3", "b/y 7", "a/x 4", "a/x 5", "b/y 8", "a/x 6"},
		},
		"own bound": {
			"a user's own bound leaves the place to others", 2, func(b *line.Bounds) { b.OfUser = 1 },
			[]string{"a/x", "a/x", "a/y", "a/x"}, []string{"a/x 0", "a/y 2", "a/x 1", "a/x 3"},
		},
		"workspace's bound": {
			"a workspace's bound leaves the place to others", 2, func(b *line.Bounds) { b.OfWorkspace = 1 },
			[]string{"a/x", "a/y", "b/z"}, []string{"a/x 0", "b/z 2", "a/y 1"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := bounds(tc.places)
				if tc.change != nil {
					tc.change(&b)
				}
				q := newQueue(t, b)
				for i, who := range tc.come {
					q.join(t.Context(), fmt.Sprintf("%s %d", who, i), line.Party{Workspace: who[:1], User: who[2:]})
				}
				if diff := cmp.Diff(tc.want, q.finish()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	a, b, c := line.Party{Workspace: "a", User: "x"}, line.Party{Workspace: "b", User: "y"}, line.Party{Workspace: "c", User: "z"}
	refused := func(t *testing.T, what string, err error, reason fault.Reason) {
		t.Helper()
		if fault.ReasonOf(err) != reason || fault.As(err).RetryAfter <= 0 {
			t.Errorf("%s: %v, want %s and when to come back", what, err, fault.ReasonName(reason))
		}
	}
	t.Run("a workspace's part of the line", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, bounds(1, func(b *line.Bounds) { b.WaitingOfWorkspace = 2 }))
			for i := range 4 {
				q.join(t.Context(), fmt.Sprint("a", i), a)
			}
			q.join(t.Context(), "b", b)
			refused(t, "the third that waits", q.errs["a3"], fault.RateLimited)
			if diff := cmp.Diff([]string{"a0", "a1", "b", "a2"}, q.finish()); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("a full line makes room for who has less in it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, bounds(1, func(b *line.Bounds) { b.Waiting, b.WaitingOfWorkspace = 3, 0 }))
			for i := range 4 {
				q.join(t.Context(), fmt.Sprint("a", i), a)
			}
			q.join(t.Context(), "b0", b)
			refused(t, "the last of the longest queue", q.errs["a3"], fault.RateLimited)
			q.join(t.Context(), "b1", b)
			refused(t, "who would make theirs as long as the longest", q.errs["b1"], fault.Overloaded)
			q.join(t.Context(), "c0", c)
			refused(t, "the next of the longest queue", q.errs["a2"], fault.RateLimited)
			if diff := cmp.Diff([]string{"a0", "a1", "b0", "c0"}, q.finish()); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("nobody may wait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, bounds(1, func(b *line.Bounds) { b.Waiting = 0 }))
			q.join(t.Context(), "a", a)
			q.join(t.Context(), "b", b)
			refused(t, "the second", q.errs["b"], fault.Overloaded)
			q.finish()
		})
	})
	t.Run("patience ends", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, bounds(1, func(b *line.Bounds) { b.Patience, b.OfUser = 5*time.Second, 1 }))
			q.join(t.Context(), "a0", a)
			q.join(t.Context(), "a1", a)
			q.join(t.Context(), "b", b)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			refused(t, "who waits for others", q.errs["b"], fault.Overloaded)
			refused(t, "who waits for their own", q.errs["a1"], fault.RateLimited)
			q.finish()
		})
	})
	t.Run("who has less patience", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, bounds(1))
			q.join(t.Context(), "a", a)
			began := time.Now()
			_, err := q.line.EnterWithin(t.Context(), b, 2*time.Second)
			refused(t, "who waits for two seconds", err, fault.Overloaded)
			if took := time.Since(began); took != 2*time.Second {
				t.Errorf("it took %s", took)
			}
			q.finish()
			leave, err := q.line.EnterWithin(t.Context(), b, 0)
			if err != nil {
				t.Fatalf("a free place for who can't wait: %v", err)
			}
			leave()
		})
	})
	t.Run("who goes away leaves at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, bounds(1, func(b *line.Bounds) { b.Waiting = 1 }))
			ctx, cancel := context.WithCancel(t.Context())
			q.join(t.Context(), "a", a)
			q.join(ctx, "b", b)
			cancel()
			synctest.Wait()
			if q.errs["b"] != context.Canceled { //nolint:errorlint // it is that very error
				t.Errorf("who went away got %v", q.errs["b"])
			}
			q.join(t.Context(), "c", c) // the one that may wait
			if diff := cmp.Diff([]string{"a", "c"}, q.finish()); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("an end is no failure", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, bounds(1))
			q.join(t.Context(), "a", a)
			q.join(t.Context(), "b", b)
			ending := make(chan struct{})
			var err error
			go func() { _, err = q.line.Enter(t.Context(), c, ending, nil) }()
			synctest.Wait()
			close(ending)
			synctest.Wait()
			refused(t, "who is told of the end", err, fault.Draining)
			q.line.Close()
			synctest.Wait()
			refused(t, "who waits at the end", q.errs["b"], fault.Draining)
			q.join(t.Context(), "c", c)
			refused(t, "who comes after the end", q.errs["c"], fault.Draining)
			q.finish()
		})
	})
	t.Run("more places", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, bounds(1))
			q.join(t.Context(), "a", a)
			q.join(t.Context(), "b", b)
			q.line.Use(bounds(2))
			synctest.Wait()
			if diff := cmp.Diff([]string{"a", "b"}, q.got); diff != "" {
				t.Error(diff)
			}
			q.finish()
		})
	})
}

// TestQuietWorkspaceIsLeftAlone is the claim in a world whose clock is the test's: two workspaces, one with fifty times the
// other's load, on too few places for both. The quiet one's slow questions take at most twice as long as when it is alone.
func TestQuietWorkspaceIsLeftAlone(t *testing.T) {
	t.Parallel()
	const places, noisy, each = 8, 50, 200
	run := func(t *testing.T, others int) time.Duration {
		t.Helper()
		var took []time.Duration
		synctest.Test(t, func(t *testing.T) {
			l := line.New(bounds(places), deaf())
			ask := func(p line.Party, chance *rand.Rand) time.Duration {
				began := time.Now()
				leave, err := l.Enter(t.Context(), p, nil, nil)
				if err != nil {
					t.Error(err)
					return 0
				}
				defer leave()
				time.Sleep(80*time.Millisecond + time.Duration(chance.IntN(40_000))*time.Microsecond)
				return time.Since(began)
			}
			done := make(chan struct{})
			var group sync.WaitGroup
			for i := range others {
				group.Go(func() {
					chance := rand.New(rand.NewPCG(1, uint64(i)))
					for {
						select {
						case <-done:
							return
						default:
							ask(line.Party{Workspace: "noisy", User: fmt.Sprint(i % 7)}, chance)
						}
					}
				})
			}
			chance := rand.New(rand.NewPCG(2, 0))
			for range each {
				time.Sleep(time.Duration(chance.IntN(50_000)) * time.Microsecond)
				took = append(took, ask(line.Party{Workspace: "quiet", User: "one"}, chance))
			}
			close(done)
			group.Wait()
		})
		slices.Sort(took)
		return took[len(took)*95/100]
	}
	alone, beside := run(t, 0), run(t, noisy)
	t.Logf("p95 alone %s, beside %d times its load %s: %.2f times", alone, noisy, beside, float64(beside)/float64(alone))
	if beside > 2*alone {
		t.Errorf("p95 is %s beside a noisy workspace, %s alone", beside, alone)
	}
}

// TestNobodyStarves has many parties come and go at random, and looks whether all of them are served.
func TestNobodyStarves(t *testing.T) {
	t.Parallel()
	l := line.New(bounds(3, func(b *line.Bounds) { b.Weights = map[string]int{"w0": 5}; b.OfUser = 2 }), deaf())
	var group sync.WaitGroup
	served := make([]int, 40)
	for i := range served {
		group.Go(func() {
			p := line.Party{Workspace: fmt.Sprint("w", i%5), User: fmt.Sprint("u", i%13)}
			for n := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if n%9 == 0 {
					cancel() // before, or while it waits
				}
				leave, err := l.Enter(ctx, p, nil, func() {
					if n%7 == 0 {
						go cancel()
					}
				})
				if err == nil {
					served[i]++
					leave()
					leave() // does no harm
				}
				cancel()
			}
		})
	}
	group.Wait()
	for i, n := range served {
		if n == 0 {
			t.Errorf("party %d was never served", i)
		}
	}
	if taken, _, waiting := l.Load(); taken != 0 || waiting != 0 {
		t.Errorf("%d places are taken and %d wait at the end", taken, waiting)
	}
}

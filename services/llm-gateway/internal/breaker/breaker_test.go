package breaker_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
)

// TestBreaker plays scripts: g, b and n are uses that end well, badly and neutrally at once; p takes a permit and keeps it, a
// shows that it is alive, G, B and N end it; r has it rest for 10 s; a number lets so many seconds pass; x is a use that must be
// refused. After the script the states it went through are compared.
func TestBreaker(t *testing.T) {
	t.Parallel()
	cfg := breaker.Config{Failures: 3, Of: 5, Rest: 15 * time.Second}
	tests := map[string]struct {
		script string
		want   string // the changes, then how it is
	}{
		"works":                                   {"g g g g g g", "closed"},
		"three of the latest five":                {"b g b g b x", "open: open 15s"},
		"three of more are too few":               {"b g b g g b", "closed"},
		"failures of long ago":                    {"b b 61 b", "closed"},
		"neutral ones say nothing":                {"b b n n n n n n b x", "open: open 15s"},
		"rests, then one probe":                   {"b b b 14 x 1 p x", "open half_open: half_open busy"},
		"a good probe":                            {"b b b 15 g g", "open half_open closed: closed"},
		"a bad probe":                             {"b b b 15 b x", "open half_open open: open 15s"},
		"a probe nobody waited for":               {"b b b 15 n p", "open half_open: half_open busy"},
		"a sign of life of a probe is enough":     {"b b b 15 p a g g", "open half_open closed: closed"},
		"its end counts as any other":             {"b b b 15 p a b b B x", "open half_open closed open: open 15s"},
		"one that began earlier doesn't close it": {"p b b b G x", "open: open 15s"},
		"nor is it counted as a failure":          {"p b b b 15 g B b b", "open half_open closed: closed"},
		"asked to rest":                           {"r x 10 g", "closed"},
		"asked to rest while it is open":          {"b b b r 10 x", "open: open 5s"},
		"asked to rest for longer":                {"b b b 10 r x", "open: limited 10s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var changes []string
			b := breaker.New(cfg, func(s breaker.State) { changes = append(changes, s.String()) })
			now := time.Unix(1_000_000, 0)
			var kept *breaker.Permit
			verdicts := map[string]breaker.Verdict{"g": breaker.Good, "b": breaker.Bad, "n": breaker.Neutral}
			take := func(step string) *breaker.Permit {
				p, r := b.Take(now)
				if (p == nil) == r.Free || b.Look(now).State != r.State {
					t.Fatalf("%s: Take = %v, %+v, then %+v", step, p, r, b.Look(now))
				}
				return p
			}
			for i, s := range strings.Fields(tt.script) {
				step := fmt.Sprintf("step %d, %s", i, s)
				switch s {
				case "g", "b", "n":
					p := take(step)
					if p == nil {
						t.Fatalf("%s was refused", step)
					}
					p.Done(verdicts[s], now)
					p.Done(breaker.Bad, now) // counts once
				case "p":
					if kept = take(step); kept == nil {
						t.Fatalf("%s was refused", step)
					}
				case "a":
					kept.Alive()
				case "G", "B", "N":
					kept.Done(verdicts[strings.ToLower(s)], now)
				case "r":
					b.RestUntil(now.Add(10 * time.Second))
					b.RestUntil(now.Add(time.Second)) // it isn't less because another answer said so
				case "x":
					if take(step) != nil {
						t.Fatalf("%s was allowed", step)
					}
				default:
					var n int
					_, _ = fmt.Sscan(s, &n)
					now = now.Add(time.Duration(n) * time.Second)
				}
			}
			r := b.Look(now)
			got := r.State.String()
			switch {
			case r.Limited:
				got = "limited"
			case r.State != breaker.Open && !r.Free:
				got += " busy"
			}
			if r.Wait > 0 {
				got += " " + r.Wait.String()
			}
			if len(changes) > 0 {
				got = strings.Join(changes, " ") + ": " + got
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUse(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	b := breaker.New(breaker.Config{Failures: 1, Of: 1, Rest: time.Hour}, nil)
	p, _ := b.Take(now)
	p.Done(breaker.Bad, now)
	b.Use(breaker.Config{Failures: 5, Of: 10, Rest: time.Hour})
	if r := b.Look(now); r.State != breaker.Open {
		t.Errorf("after other bounds: %+v, want it as it was", r)
	}
	b.Use(breaker.Config{})
	for range 20 {
		p, r := b.Take(now)
		if p == nil {
			t.Fatalf("without bounds: %+v", r)
		}
		p.Done(breaker.Bad, now)
	}
}

// Whatever callers do, a half open breaker lets one probe at a time through, and never none for ever.
func TestOneProbeAtATime(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	b := breaker.New(breaker.Config{Failures: 1, Of: 1, Rest: 0}, nil)
	p, _ := b.Take(now)
	p.Done(breaker.Bad, now)
	var group sync.WaitGroup
	var mu sync.Mutex
	under, most, done := 0, 0, 0
	for i := range 8 {
		group.Go(func() {
			chance := rand.New(rand.NewPCG(1, uint64(i)))
			for range 2000 {
				p, _ := b.Take(now)
				if p == nil {
					continue
				}
				mu.Lock()
				under++
				most = max(most, under)
				mu.Unlock()
				v := breaker.Neutral
				if chance.IntN(2) == 0 {
					v = breaker.Bad
				}
				mu.Lock()
				under--
				done++
				mu.Unlock()
				p.Done(v, now)
			}
		})
	}
	group.Wait()
	if most != 1 || done == 0 || !b.Look(now).Free {
		t.Errorf("%d probes at once, %d in all, then %+v", most, done, b.Look(now))
	}
}

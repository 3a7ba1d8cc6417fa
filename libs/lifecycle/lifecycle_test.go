package lifecycle_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/lifecycle"
)

var errBroken = errors.New("broken")

// journal records what happens in which order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) read() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// component returns a well-behaved component that records its life.
func (j *journal) component(name string) lifecycle.Component {
	return lifecycle.Component{
		Name:  name,
		Start: func(context.Context) error { j.add("start " + name); return nil },
		Run: func(ctx context.Context) error {
			<-ctx.Done()
			j.add("ended " + name)
			return ctx.Err()
		},
		Stop: func(context.Context) error { j.add("stop " + name); return nil },
	}
}

func group(j *journal, stop time.Duration) *lifecycle.Group {
	return lifecycle.New(lifecycle.Options{
		Log: zerolog.Nop(), StopTimeout: stop,
		OnStarted: func() { j.add("started") }, OnDrain: func() { j.add("drain") },
	})
}

func TestStopsInReverseOrderAfterDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
		var j journal
		g := group(&j, time.Second)
		for _, name := range []string{"a", "b", "c"} {
			g.Add(j.component(name))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		want := []string{
			"start a", "start b", "start c", "started", "drain",
			"stop c", "ended c", "stop b", "ended b", "stop a", "ended a",
		}
		if diff := cmp.Diff(want, j.read()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestFailures(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		harm func(*lifecycle.Component)
		want []string
		text string
	}{
		"start fails: what has started is stopped": {
			harm: func(c *lifecycle.Component) { c.Start = func(context.Context) error { return errBroken } },
			want: []string{"start a", "drain", "stop a", "ended a"},
			text: "start b: broken",
		},
		"run fails: everything is stopped": {
			harm: func(c *lifecycle.Component) {
				c.Run = func(context.Context) error { time.Sleep(time.Second); return errBroken }
			},
			want: []string{"start a", "start b", "start c", "started", "drain", "stop c", "ended c", "stop b", "stop a", "ended a"},
			text: "run b: broken",
		},
		"stop fails: the others are stopped all the same": {
			harm: func(c *lifecycle.Component) { c.Stop = func(context.Context) error { return errBroken } },
			want: []string{"start a", "start b", "start c", "started", "drain", "stop c", "ended c", "ended b", "stop a", "ended a"},
			text: "stop b: broken",
		},
		"run fails while it ends: that is not taken for the cancellation": {
			harm: func(c *lifecycle.Component) {
				c.Run = func(ctx context.Context) error { <-ctx.Done(); return errors.Join(ctx.Err(), errBroken) }
			},
			want: []string{"start a", "start b", "start c", "started", "drain", "stop c", "ended c", "stop b", "stop a", "ended a"},
			text: "run b: context canceled\nbroken",
		},
		"run ends early without an error: the others go on": {
			harm: func(c *lifecycle.Component) { c.Run = func(context.Context) error { return nil } },
			want: []string{"start a", "start b", "start c", "started", "drain", "stop c", "ended c", "stop b", "stop a", "ended a"},
		},
		"nothing to run": {
			harm: func(c *lifecycle.Component) { *c = lifecycle.Component{Name: "b"} },
			want: []string{"start a", "start c", "started", "drain", "stop c", "ended c", "stop a", "ended a"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var j journal
				b := j.component("b")
				test.harm(&b)
				g := group(&j, time.Second)
				g.Add(j.component("a"))
				g.Add(b)
				g.Add(j.component("c"))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := g.Run(ctx)
				if got := text(err); got != test.text {
					t.Errorf("Run: %q, want %q", got, test.text)
				}
				if diff := cmp.Diff(test.want, j.read()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestHungPartsAreNamedAndLeaveTimeForTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		release := make(chan struct{})
		hang := func(context.Context) error { <-release; return nil }
		g := group(&j, 8*time.Second)
		g.Add(j.component("store"))
		g.Add(lifecycle.Component{Name: "deaf runner", Run: hang})
		g.Add(lifecycle.Component{Name: "deaf stopper", Stop: hang})

		ctx, cancel := context.WithCancel(t.Context())
		cancel2 := time.AfterFunc(time.Second, cancel)
		defer cancel2.Stop()
		began := time.Now()
		err := g.Run(ctx)
		if took, want := time.Since(began), time.Second+4*time.Second+2*time.Second; took != want {
			t.Errorf("took %v, want %v: half of what is left for each", took, want)
		}
		want := "stop deaf stopper: did not end in time\nstop deaf runner: did not end in time"
		if diff := cmp.Diff(want, text(err)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !slices.Contains(j.read(), "stop store") {
			t.Error("the store was not stopped")
		}
		close(release)
	})
}

func TestTheFirstToStopGetsNearlyAllTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := group(&j, 80*time.Second)
		said := make(chan time.Duration, 3)
		for _, name := range []string{"bus", "telemetry", "server"} {
			g.Add(lifecycle.Component{Name: name, Stop: func(ctx context.Context) error {
				end, _ := ctx.Deadline()
				said <- time.Until(end)
				<-ctx.Done()
				return nil
			}})
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_ = g.Run(ctx)
		bounds := []time.Duration{<-said, <-said, <-said}
		if diff := cmp.Diff([]time.Duration{75 * time.Second, 2500 * time.Millisecond, 2500 * time.Millisecond}, bounds); diff != "" {
			t.Errorf("bounds (-want +got):\n%s", diff)
		}
	})
}

func TestAskedToStopWhileStarting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := group(&j, time.Second)
		g.Add(j.component("a"))
		g.Add(lifecycle.Component{Name: "waits for NATS", Start: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		g.Add(j.component("c"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if diff := cmp.Diff([]string{"start a", "drain", "stop a", "ended a"}, j.read()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAFailureEndsAStartThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := lifecycle.New(lifecycle.Options{Log: zerolog.Nop()})
		g.Add(lifecycle.Component{Name: "admin", Run: func(context.Context) error { return errBroken }})
		g.Add(lifecycle.Component{Name: "bus", Start: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		if err := g.Run(t.Context()); !errors.Is(err, errBroken) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestDrainDelayComesBeforeTheFirstStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var drained, stopped time.Time
		g := lifecycle.New(lifecycle.Options{
			Log: zerolog.Nop(), DrainDelay: 5 * time.Second, OnDrain: func() { drained = time.Now() },
		})
		g.Add(lifecycle.Component{Name: "server", Stop: func(context.Context) error { stopped = time.Now(); return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if d := stopped.Sub(drained); d != 5*time.Second {
			t.Errorf("stopped %v after the drain began", d)
		}
	})
}

func TestComponentsKeepTheValuesOfTheContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	g := lifecycle.New(lifecycle.Options{Log: zerolog.Nop()})
	got := make(chan any, 1)
	g.Add(lifecycle.Component{Name: "a", Run: func(ctx context.Context) error {
		got <- ctx.Value(key{})
		cancel()
		<-ctx.Done()
		return nil
	}})
	if err := g.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	if v := <-got; v != "v" {
		t.Errorf("value = %v", v)
	}
}

// TestNoGoroutineIsLeft repeats in real time what synctest checks above, with the stacks at hand when it fails.
func TestNoGoroutineIsLeft(t *testing.T) {
	var j journal
	g := group(&j, time.Second)
	for _, name := range []string{"a", "b", "c"} {
		g.Add(j.component(name))
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := g.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	all := make([]byte, 1<<20)
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() { // who has said that it is done may not be gone yet
		stacks := string(all[:runtime.Stack(all, true)])
		if !strings.Contains(stacks, "lifecycle.start.func") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a component still runs:\n%s", stacks)
		}
	}
}

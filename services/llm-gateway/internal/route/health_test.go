package route_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// plays has each target do what play says of it, after a time in which nothing is heard of it.
type plays map[string]func(ctx context.Context, try *route.Try) (provider.Result, error)

func (p plays) attempt(ctx context.Context, t route.Target, try *route.Try) (provider.Result, error) {
	return p[t.Name](ctx, try)
}

func works(took time.Duration) func(context.Context, *route.Try) (provider.Result, error) {
	return func(ctx context.Context, try *route.Try) (provider.Result, error) {
		try.Begin(true)
		try.Pause() // its caller is slow
		select {
		case <-time.After(took):
			return provider.Result{Finish: provider.Stop}, nil
		case <-ctx.Done():
			return provider.Result{}, ctx.Err()
		}
	}
}

func broken(f *fault.Error) func(context.Context, *route.Try) (provider.Result, error) {
	return func(context.Context, *route.Try) (provider.Result, error) { return provider.Result{}, f }
}

func silence(ctx context.Context, _ *route.Try) (provider.Result, error) {
	<-ctx.Done()
	return provider.Result{}, ctx.Err()
}

var unavailable = fault.New(fault.Unavailable, fault.ProviderUnavailable, "no")

func named(names ...string) []route.Target {
	var out []route.Target
	for _, n := range names {
		out = append(out, route.Target{Name: n, Model: "m"})
	}
	return out
}

// ask asks a route and says who answered and how long that took.
func call(ctx context.Context, r *route.Router, name string, o route.CallOptions, p plays) (string, time.Duration, error) {
	began := time.Now()
	out, err := r.Do(ctx, name, o, p.attempt)
	who := ""
	if n := len(out.Tries); n > 0 && err == nil {
		who = out.Tries[n-1].Rung.Provider
	}
	return who, time.Since(began), err
}

func TestBlackHoleCostsFewCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := routed(t, defaults(), named("a", "b")...)
		p := plays{"a": silence, "b": works(0)}
		expect := func(when string, want time.Duration) {
			t.Helper()
			if who, took, err := call(t.Context(), r, "", route.CallOptions{}, p); who != "b" || took != want || err != nil {
				t.Errorf("%s: %q after %s, %v, want b after %s", when, who, took, err, want)
			}
		}
		for range 5 {
			expect("before the breaker opens", 10*time.Second)
		}
		expect("while it is open", 0)
		if s := r.Targets("default"); s[0].State != breaker.Open || s[1].State != breaker.Closed {
			t.Errorf("targets %+v", s)
		}
		time.Sleep(15 * time.Second)
		var group sync.WaitGroup
		group.Go(func() { expect("the probe", 10*time.Second) })
		synctest.Wait()
		for range 10 {
			expect("beside the probe", 0)
		}
		group.Wait()
		p["a"] = works(time.Minute)
		time.Sleep(15 * time.Second)
		group.Go(func() { _, _, _ = call(t.Context(), r, "", route.CallOptions{}, p) })
		synctest.Wait() // the probe's answer goes on, but has begun
		if s := r.Targets("default")[0]; s.State != breaker.Closed || s.InFlight != 1 {
			t.Errorf("after a sign of life: %+v", s)
		}
		group.Wait()
	})
}

// What says nothing of the target opens no breaker, and what is about one model leaves the others alone.
func TestWhatIsNoFailureOfTheTarget(t *testing.T) {
	t.Parallel()
	refusal := func(why error) *fault.Error {
		return fault.Wrap(&provider.Refusal{Status: 400, Why: why}, fault.Precondition, fault.ProviderRejected, "no")
	}
	for name, tt := range map[string]struct {
		play func(context.Context, *route.Try) (provider.Result, error)
		want breaker.State
	}{
		"unavailable":       {broken(unavailable), breaker.Open},
		"key or model":      {broken(refusal(provider.ErrUnusable)), breaker.Open},
		"limited":           {broken(fault.New(fault.Exhausted, fault.ProviderRateLimited, "no")), breaker.Open},
		"too long":          {broken(refusal(provider.ErrTooLong)), breaker.Closed},
		"another refusal":   {broken(refusal(nil)), breaker.Closed},
		"an error of ours":  {func(context.Context, *route.Try) (provider.Result, error) { return provider.Result{}, errors.New("x") }, breaker.Closed},
		"its caller leaves": {silence, breaker.Closed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				targets := named("a", "a")
				targets[1].Model = "other"
				r := routed(t, defaults(), append(targets, named("b")...)...)
				p := plays{"a": tt.play, "b": works(0)}
				for range 10 {
					ctx, leave := context.WithTimeout(t.Context(), 5*time.Second)
					attempt := func(ctx context.Context, target route.Target, try *route.Try) (provider.Result, error) {
						if target.Model == "other" {
							return works(0)(ctx, try)
						}
						return p.attempt(ctx, target, try)
					}
					if tt.want == breaker.Closed && name == "its caller leaves" {
						ctx, leave = context.WithTimeout(t.Context(), time.Second) // less than is kept for those below
					}
					_, _ = r.Do(ctx, "", route.CallOptions{}, attempt)
					leave()
				}
				if s := r.Targets("default"); s[0].State != tt.want || s[1].State != breaker.Closed || s[0].InFlight != 0 {
					t.Errorf("targets %+v, want the first %s", s, tt.want)
				}
			})
		})
	}
}

// A provider that says when to come back is not asked before that, by anybody: others answer, or requests wait.
func TestRetryAfterIsForEverybody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		limited := fault.New(fault.Exhausted, fault.ProviderRateLimited, "no").WithRetryAfter(4 * time.Second)
		p := plays{"b": works(0)}
		p["a"] = func(ctx context.Context, try *route.Try) (provider.Result, error) {
			if asked.Add(1) == 1 {
				return provider.Result{}, limited
			}
			return works(0)(ctx, try)
		}
		two := routed(t, defaults(), named("a", "b")...)
		for i := range 3 {
			if who, took, err := call(t.Context(), two, "", route.CallOptions{}, p); who != "b" || took != 0 || asked.Load() != 1 {
				t.Errorf("request %d: %q after %s, %v; a was asked %d times", i, who, took, err, asked.Load())
			}
		}
		asked.Store(0)
		one := routed(t, defaults(), named("a")...)
		_, first, err := call(t.Context(), one, "", route.CallOptions{}, p)
		if err != nil || first != 4200*time.Millisecond || asked.Load() != 2 {
			t.Errorf("the only target: %v after %s, asked %d times", err, first, asked.Load())
		}
		asked.Store(0)
		var group sync.WaitGroup
		one = routed(t, defaults(), named("a")...)
		for range 5 {
			group.Go(func() {
				if _, took, err := call(t.Context(), one, "", route.CallOptions{}, p); err != nil || took > 5*time.Second {
					t.Errorf("one of several: %v after %s", err, took)
				}
			})
			synctest.Wait()
		}
		group.Wait()
		if asked.Load() != 6 {
			t.Errorf("asked %d times, want once too early, then each once", asked.Load())
		}
		asked.Store(0)
		one = routed(t, defaults(), named("a")...)
		limited = limited.WithRetryAfter(time.Hour)
		_, took, err := call(t.Context(), one, "", route.CallOptions{}, p)
		if f := fault.As(err); f == nil || f.RetryAfter != time.Hour || took != 0 {
			t.Errorf("too long to wait for: %v after %s", err, took)
		}
		if _, took, err = call(t.Context(), one, "", route.CallOptions{}, p); fault.ReasonOf(err) != fault.ProviderRateLimited || asked.Load() != 1 || took != 0 {
			t.Errorf("who comes next: %v after %s, asked %d times", err, took, asked.Load())
		}
	})
}

// Another Router over the same Health, as after a change of the configuration, goes on with what is known.
func TestHealthOutlivesRouters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health := route.NewHealth(route.Watch{})
		router := func(o route.Options, targets ...route.Target) *route.Router {
			r, err := route.New(map[string]route.Route{"default": {Targets: targets}, "same": {Targets: targets[:1]}}, o, route.Deps{
				Meter: silent{}, Tracer: noop.NewTracerProvider().Tracer(""), Report: func(context.Context, string, string, error) {}, Clock: time.Now,
				Random: func() float64 { return .5 }, Health: health,
			})
			if err != nil {
				t.Fatal(err)
			}
			r.Use()
			return r
		}
		p := plays{"a": broken(unavailable), "b": works(time.Minute)}
		o := defaults()
		o.Places, o.Waiting = 1, 1
		r := router(o, named("a", "b")...)
		for range 5 {
			_, _, _ = call(t.Context(), r, "same", route.CallOptions{}, p)
		}
		if s := r.Targets("default")[0].State; s != breaker.Open {
			t.Errorf("in another route the target is %s", s)
		}
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				if who, _, err := call(t.Context(), r, "", route.CallOptions{}, p); who != "b" {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if q := health.Queues()[0]; q.Taken != 1 || q.Waiting != 1 || !health.Full() {
			t.Errorf("queue %+v", q)
		}
		o.Places = 2
		r = router(o, named("a", "b", "c")...)
		synctest.Wait()
		if q := health.Queues()[0]; q.Taken != 2 || q.Waiting != 0 || health.Full() {
			t.Errorf("queue %+v after a change of its bounds", q)
		}
		if s := r.Targets("default"); s[0].State != breaker.Open || s[1].InFlight != 2 {
			t.Errorf("targets %+v, want them as they were", s)
		}
		changed := named("a", "c")
		changed[0].Revision = "2"
		r = router(o, changed...)
		if s := r.Targets("default"); s[0].State != breaker.Closed {
			t.Errorf("another provider under the same name: %+v", s)
		}
		if s := health.Targets(time.Now()); len(s) != 2 {
			t.Errorf("targets that nobody uses are remembered: %+v", s)
		}
		group.Wait()
	})
}

func TestPlacesAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := defaults()
		o.Waiting = 4
		targets := named("a", "b")
		targets[0].Places = 1
		r := routed(t, o, targets...)
		p := plays{"a": works(2 * time.Second), "b": works(0)}
		var mu sync.Mutex
		var got []string
		var group sync.WaitGroup
		for i, who := range strings.Fields("noisy noisy noisy noisy quiet") {
			group.Go(func() {
				name, took, err := call(t.Context(), r, "", route.CallOptions{Workspace: who}, p)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprintf("%s%d %s %s %v", who, i, name, took, err))
			})
			synctest.Wait()
		}
		group.Wait()
		want := []string{
			"noisy0 a 2s <nil>", "noisy1 a 4s <nil>", // it had come before the quiet one, and had had no place for as long
			"quiet4 a 6s <nil>",                      // before those who came earlier, but have had places
			"noisy2 b 5s <nil>", "noisy3 b 5s <nil>", // who has waited for limits.queue_wait asks the next target
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestTheLineIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := defaults()
		o.Places, o.Waiting = 2, 1
		r := routed(t, o, named("a")...)
		p := plays{"a": works(time.Minute)}
		ctx, leave := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { _, _, _ = call(ctx, r, "", route.CallOptions{}, p) })
		}
		synctest.Wait()
		group.Go(func() {
			_, took, err := call(t.Context(), r, "", route.CallOptions{}, p)
			if f := fault.As(err); f == nil || f.Reason != fault.Overloaded || f.RetryAfter == 0 || took != 5*time.Second {
				t.Errorf("who waits for too long: %v after %s", err, took)
			}
		})
		synctest.Wait()
		if _, took, err := call(t.Context(), r, "", route.CallOptions{}, p); fault.ReasonOf(err) != fault.Overloaded || took != 0 {
			t.Errorf("who has no room to wait: %v after %s", err, took)
		}
		time.Sleep(6 * time.Second)
		group.Go(func() {
			gone, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, took, err := call(gone, r, "", route.CallOptions{}, p); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
				t.Errorf("who goes away: %v after %s", err, took)
			}
		})
		time.Sleep(2 * time.Second)
		leave()
		group.Wait()
		if _, took, err := call(t.Context(), r, "", route.CallOptions{}, plays{"a": works(0)}); err != nil || took != 0 {
			t.Errorf("places were not given back: %v after %s", err, took)
		}
		func() {
			defer func() { _ = recover() }()
			_, _, _ = call(t.Context(), r, "", route.CallOptions{}, plays{"a": func(context.Context, *route.Try) (provider.Result, error) { panic("x") }})
		}()
		if s := r.Targets("default")[0]; s.InFlight != 0 || s.State != breaker.Closed {
			t.Errorf("after a panic: %+v", s)
		}
	})
}

package route_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// TestTimes has targets that do nothing, and looks when the next one is asked.
func TestTimes(t *testing.T) {
	t.Parallel()
	local := route.Target{Name: "built-in", Model: "m", Local: true}
	slow := named("a")[0]
	slow.FirstText = 30 * time.Second
	brief := named("a")[0]
	brief.Timeout = 2 * time.Second
	b := named("b")[0]
	for name, tt := range map[string]struct {
		targets  []route.Target
		deadline time.Duration // the caller's; 0 for none
		want     time.Duration // until the last target answers
	}{
		"one above the built-in one":         {[]route.Target{named("a")[0], local}, 0, 10 * time.Second},
		"two: each has its time":             {[]route.Target{named("a")[0], b, local}, 0, 12500 * time.Millisecond},
		"many share what is left":            {[]route.Target{named("a")[0], named("c")[0], named("d")[0], named("e")[0], named("f")[0], local}, 0, 12500 * time.Millisecond},
		"one that may take longer":           {[]route.Target{slow, b}, 0, 30 * time.Second},
		"one that may not":                   {[]route.Target{brief, b}, 0, 2 * time.Second},
		"the caller's deadline":              {[]route.Target{named("a")[0], b}, 8 * time.Second, 5 * time.Second},
		"a short deadline is shared":         {[]route.Target{named("a")[0], b}, 2 * time.Second, time.Second},
		"a deadline too short for two":       {[]route.Target{named("a")[0], b}, 400 * time.Millisecond, 0},
		"built-in ones need little":          {[]route.Target{named("a")[0], local}, 2 * time.Second, 1500 * time.Millisecond},
		"and get it of the shortest, too":    {[]route.Target{named("a")[0], local}, 600 * time.Millisecond, 300 * time.Millisecond},
		"the last one may take its own time": {[]route.Target{brief, slow}, 0, 30*time.Second + 2*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				last := tt.targets[len(tt.targets)-1].Name
				if last == "a" {
					last = ""
				}
				began := time.Now()
				_, err := routed(t, defaults(), tt.targets...).Do(ctx, "", route.CallOptions{}, func(ctx context.Context, target route.Target, try *route.Try) (provider.Result, error) {
					if target.Name == last {
						return works(0)(ctx, try)
					}
					return silence(ctx, try)
				})
				if took := time.Since(began); took != tt.want || (err != nil) != (last == "") {
					t.Errorf("after %s: %v, want %s", took, err, tt.want)
				}
			})
		})
	}
}

func TestAnAnswerThatTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := defaults()
		o.Timeout = time.Minute
		targets := named("a", "b")
		_, took, err := call(t.Context(), routed(t, o, targets...), "", route.CallOptions{}, plays{"a": works(time.Hour)})
		if f := fault.As(err); f.Kind != fault.Timeout || f.Reason != fault.DeadlineExceeded || took != time.Minute || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("longer than limits.timeout: %v after %s, want a fault that says so", err, took)
		}
		targets[0].Timeout = 30 * time.Second
		r := routed(t, o, targets...)
		_, took, err = call(t.Context(), r, "", route.CallOptions{}, plays{"a": works(time.Hour)})
		if f := fault.As(err); f.Kind != fault.Timeout || f.Reason != fault.DeadlineExceeded || took != 30*time.Second {
			t.Errorf("longer than the target's timeout: %v after %s, want a fault that says so", err, took)
		}
	})
}

// Who goes away while a request waits for its next try is not held up.
func TestCallersLeaveBetweenTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limited := fault.New(fault.Exhausted, fault.ProviderRateLimited, "no").WithRetryAfter(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		time.AfterFunc(time.Second, cancel)
		r := routed(t, defaults(), named("a")...)
		_, took, err := call(ctx, r, "", route.CallOptions{}, plays{"a": broken(limited)})
		if !errors.Is(err, context.Canceled) || took != time.Second || r.Targets("default")[0].InFlight != 0 {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := defaults()
		o.Retries, o.Breaker.Failures = 3, 0
		asked := 0
		p := plays{"a": func(context.Context, *route.Try) (provider.Result, error) {
			asked++
			return provider.Result{}, unavailable
		}, "b": works(0)}
		if who, took, err := call(t.Context(), routed(t, o, named("a", "b")...), "", route.CallOptions{}, p); who != "b" || asked != 4 || took != 1400*time.Millisecond {
			t.Errorf("%q after %s and %d tries, %v; want 4 with pauses of 200, 400 and 800 ms", who, took, asked, err)
		}
		asked = 0
		later := unavailable.WithRetryAfter(5 * time.Second)
		p["a"] = func(context.Context, *route.Try) (provider.Result, error) { asked++; return provider.Result{}, later }
		if who, took, err := call(t.Context(), routed(t, o, named("a", "b")...), "", route.CallOptions{}, p); who != "b" || asked != 1 || took != 0 {
			t.Errorf("%q after %s and %d tries, %v; want the other one at once", who, took, asked, err)
		}
		asked = 0
		if _, took, err := call(t.Context(), routed(t, o, named("a")...), "", route.CallOptions{}, p); asked != 3 || took != 10500*time.Millisecond {
			t.Errorf("after %s and %d tries: %v; want it asked when it said", took, asked, err)
		}
	})
}

package route

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// scripted is a provider that plays a script.
type scripted func(ctx context.Context, emit func(provider.Piece) error) (provider.Result, error)

func (s scripted) Generate(ctx context.Context, _ provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	return s(ctx, emit)
}

func says(texts ...string) scripted {
	return func(_ context.Context, emit func(provider.Piece) error) (provider.Result, error) {
		for _, s := range texts {
			if err := emit(provider.Piece{Text: s}); err != nil {
				return provider.Result{}, err
			}
		}
		return provider.Result{Finish: provider.Stop, Usage: provider.Usage{Prompt: 3, Completion: len(texts)}}, nil
	}
}

func fails(k fault.Kind, r fault.Reason, before ...string) scripted {
	return func(_ context.Context, emit func(provider.Piece) error) (provider.Result, error) {
		for _, s := range before {
			if err := emit(provider.Piece{Text: s}); err != nil {
				return provider.Result{}, err
			}
		}
		return provider.Result{}, fault.New(k, r, "it failed")
	}
}

// rests sends its texts with pauses before each, and ends early with its context.
func rests(pause time.Duration, texts ...string) scripted {
	return func(ctx context.Context, emit func(provider.Piece) error) (provider.Result, error) {
		for _, s := range texts {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return provider.Result{}, ctx.Err()
			}
			if err := emit(provider.Piece{Text: s}); err != nil {
				return provider.Result{}, err
			}
		}
		return provider.Result{Finish: provider.Stop}, nil
	}
}

// kept is a sink and a meter that remember.
type kept struct {
	mu      sync.Mutex
	started []Started
	text    strings.Builder
	tried   []string
	spent   provider.Usage
	onText  func() error
}

func (k *kept) Started(s Started) error {
	for i := range s.Skipped {
		s.Skipped[i].Fault = fault.New(s.Skipped[i].Fault.Kind, s.Skipped[i].Fault.Reason, "")
	}
	k.started = append(k.started, s)
	return nil
}

func (k *kept) Text(s string) error {
	k.text.WriteString(s)
	if k.onText != nil {
		return k.onText()
	}
	return nil
}

func (k *kept) Tried(r Rung, outcome string, _ time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried = append(k.tried, r.Route+" "+r.Provider+" "+outcome)
}

func (k *kept) Tokens(_ Rung, u provider.Usage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spent = u
}
func (k *kept) FirstText(Rung, time.Duration)                 {}
func (k *kept) Retried(Rung)                                  {}
func (k *kept) Skipped(Rung, string)                          {}
func (k *kept) Waited(string, time.Duration)                  {}
func (k *kept) Answered(Tried, time.Duration)                 {}
func (k *kept) report(context.Context, string, string, error) {}

func router(t *testing.T, k *kept, targets ...Target) *Router {
	t.Helper()
	return routed(t, k, Route{Targets: targets}, func(*Options) {})
}

func routed(t *testing.T, k *kept, route Route, change func(*Options)) *Router {
	t.Helper()
	o := Options{
		Default: "default", FirstText: 15 * time.Second, Idle: 20 * time.Second, Timeout: 10 * time.Minute,
		Places: 2, Waiting: 2, Wait: 5 * time.Second, Breaker: breaker.Config{Failures: 5, Of: 10, Rest: 15 * time.Second},
	}
	change(&o)
	r, err := New(map[string]Route{"default": route}, o, Deps{
		Meter: k, Tracer: noop.NewTracerProvider().Tracer(""), Report: k.report, Clock: time.Now, Random: func() float64 { return .5 },
		Health: NewHealth(Watch{}),
	})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r.Use()
	return r
}

func targets(ps ...provider.Provider) []Target {
	var out []Target
	for i, p := range ps {
		out = append(out, Target{Name: string(rune('a' + i)), Provider: p, Model: "m"})
	}
	return out
}

func TestGenerateFallsBackBeforeTheFirstText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		first scripted
		kind  fault.Kind
		why   fault.Reason
	}{
		{"unavailable", fails(fault.Unavailable, fault.ProviderUnavailable), fault.Unavailable, fault.ProviderUnavailable},
		{"rate limited", fails(fault.Exhausted, fault.ProviderRateLimited), fault.Exhausted, fault.ProviderRateLimited},
		{"rejected", fails(fault.Precondition, fault.ProviderRejected), fault.Precondition, fault.ProviderRejected},
		{"cut before any text", fails(fault.Unavailable, fault.ProviderStreamCut), fault.Unavailable, fault.ProviderStreamCut},
		{"silent", rests(time.Hour, "late"), fault.Unavailable, fault.ProviderUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := &kept{}
				out, err := router(t, k, targets(tt.first, says("from ", "b"))...).Generate(t.Context(), "", CallOptions{}, provider.Request{}, k)
				if err != nil || k.text.String() != "from b" || out.Result.Finish != provider.Stop {
					t.Fatalf("Generate = %+v, %v, text %q", out, err, k.text.String())
				}
				want := []Started{{Rung: 1, Name: "b", Model: "m", Skipped: []Skip{{Name: "a", Model: "m", Fault: fault.New(tt.kind, tt.why, "")}}}}
				if diff := cmp.Diff(want, k.started, cmp.Comparer(sameFault)); diff != "" {
					t.Errorf("started (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"default a " + fault.ReasonName(tt.why), "default b stop"}, k.tried); diff != "" {
					t.Errorf("tried (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func sameFault(a, b *fault.Error) bool { return a.Kind == b.Kind && a.Reason == b.Reason }

func TestGenerateNeverDoublesText(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]scripted{
		"cut": fails(fault.Unavailable, fault.ProviderStreamCut, "half"),
		"stalled": func(ctx context.Context, emit func(provider.Piece) error) (provider.Result, error) {
			if err := emit(provider.Piece{Text: "half"}); err != nil {
				return provider.Result{}, err
			}
			<-ctx.Done()
			return provider.Result{}, ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := &kept{}
				began := time.Now()
				_, err := router(t, k, targets(first, says("other"))...).Generate(t.Context(), "", CallOptions{}, provider.Request{}, k)
				if fault.KindOf(err) != fault.Unavailable || k.text.String() != "half" || len(k.started) != 1 {
					t.Errorf("Generate error = %v after %q, want a typed error after half an answer", err, k.text.String())
				}
				if took := time.Since(began); name == "stalled" && took != 20*time.Second {
					t.Errorf("noticed after %s, want the idle limit of 20s", took)
				}
			})
		})
	}
}

func TestGenerateSlowIsNotSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		// 14 s to the first text and between texts; a slow reader besides, who doesn't count against the provider.
		k.onText = func() error { time.Sleep(time.Minute); return nil }
		out, err := router(t, k, targets(rests(14*time.Second, "a", "b", "c"))...).Generate(t.Context(), "", CallOptions{}, provider.Request{}, k)
		if err != nil || k.text.String() != "abc" || out.FirstText != 14*time.Second {
			t.Errorf("Generate = %+v, %v, %q", out, err, k.text.String())
		}
	})
}

func TestGenerateReasoningKeepsItAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		out, err := router(t, k, targets(rests(14*time.Second, "", "", "", "a"), says("never"))...).Generate(t.Context(), "", CallOptions{}, provider.Request{}, k)
		if err != nil || k.text.String() != "a" || out.FirstText != 56*time.Second {
			t.Errorf("Generate = %+v, %v, %q", out, err, k.text.String())
		}
	})
}

func TestGenerateLeavesTimeForTheLowerRung(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := router(t, k, targets(rests(time.Hour, "x"), says("y"))...).Generate(ctx, "", CallOptions{}, provider.Request{}, k); err != nil {
			t.Fatalf("Generate: %v", err)
		}
		if took := time.Since(began); took != 7*time.Second || k.text.String() != "y" {
			t.Errorf("%q after %s, want the lower rung's answer with 3s left for it", k.text.String(), took)
		}
	})
}

func TestGenerateEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := router(t, k, targets(rests(time.Hour, "x"))...).Generate(ctx, "", CallOptions{}, provider.Request{}, k)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's deadline: %v", err)
		}
		canceled, stop := context.WithCancel(t.Context())
		stop()
		if _, err := router(t, k, targets(rests(time.Hour, "x"), says("y"))...).Generate(canceled, "", CallOptions{}, provider.Request{}, k); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who is gone: %v, want no further rung", err)
		}
		gone := errors.New("gone")
		k.onText = func() error { return gone }
		if _, err := router(t, k, targets(says("x", "y"), says("z"))...).Generate(t.Context(), "", CallOptions{}, provider.Request{}, k); !errors.Is(err, gone) {
			t.Errorf("a sink that fails: %v, want its error", err)
		}
	})
}

func TestGenerateWithoutText(t *testing.T) {
	t.Parallel()
	k := &kept{}
	if _, err := router(t, k, targets(says())...).Generate(t.Context(), "", CallOptions{}, provider.Request{}, k); err != nil || len(k.started) != 1 {
		t.Errorf("Generate: %v, started %d times, want once", err, len(k.started))
	}
}

func TestGenerateRefusesUnknownModels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		r := router(t, k, targets(rests(time.Second, "x"))...)
		if _, err := r.Generate(t.Context(), "gpt", CallOptions{}, provider.Request{}, k); fault.ReasonOf(err) != fault.ModelNotFound {
			t.Errorf("an unknown model: %v", err)
		}
	})
}

// What an answer cost is counted by the rung that gave it.
func TestAnswersHaveAPrice(t *testing.T) {
	t.Parallel()
	k := &kept{}
	used := func(_ context.Context, emit func(provider.Piece) error) (provider.Result, error) {
		return provider.Result{Finish: provider.Stop, Usage: provider.Usage{Prompt: 1500, Completion: 200}}, emit(provider.Piece{Text: "x"})
	}
	its := targets(fails(fault.Unavailable, fault.ProviderUnavailable), scripted(used))
	its[1].Price = Price{Prompt: .4, Completion: 1.6}
	out, err := router(t, k, its...).Generate(t.Context(), "", CallOptions{}, provider.Request{}, k)
	if err != nil {
		t.Fatal(err)
	}
	want := provider.Usage{Prompt: 1500, Completion: 200, CostMicros: 920}
	if out.Result.Usage != want || k.spent != want {
		t.Errorf("usage %+v, counted %+v, want %+v", out.Result.Usage, k.spent, want)
	}
}

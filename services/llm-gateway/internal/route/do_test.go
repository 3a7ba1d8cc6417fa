package route

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// book is a ledger that remembers.
type book struct {
	mu    sync.Mutex
	tries []Tried
}

func (b *book) Tried(r Rung, outcome string, u provider.Usage, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries = append(b.tries, Tried{Rung: r, Outcome: outcome, Usage: u, Took: took})
}

func TestLedgerSeesEveryTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		its := targets(nil, nil)
		its[0].Price, its[1].Price = Price{Prompt: 1}, Price{Prompt: 2}
		out, err := router(t, &kept{}, its...).Do(t.Context(), "", CallOptions{Ledger: b}, func(_ context.Context, target Target, try *Try) (provider.Result, error) {
			time.Sleep(time.Second)
			used := provider.Result{Usage: provider.Usage{Prompt: 10}}
			if target.Name == "a" {
				return used, fault.New(fault.Unavailable, fault.ProviderUnavailable, "no")
			}
			if s := try.Begin(true); s.Rung != 1 || len(s.Skipped) != 1 {
				t.Errorf("Begin = %+v", s)
			}
			used.Finish = provider.Stop
			return used, nil
		})
		want := []Tried{
			{Rung{"default", "a", "m", 0}, "PROVIDER_UNAVAILABLE", provider.Usage{Prompt: 10, CostMicros: 10}, time.Second},
			{Rung{"default", "b", "m", 1}, "stop", provider.Usage{Prompt: 10, CostMicros: 20}, time.Second},
		}
		if diff := cmp.Diff(want, b.tries); err != nil || diff != "" {
			t.Errorf("Do: %v, ledger (-want +got):\n%s", err, diff)
		}
		if diff := cmp.Diff(want, out.Tries); diff != "" || out.FirstText != 2*time.Second {
			t.Errorf("first text after %s, tries (-want +got):\n%s", out.FirstText, diff)
		}
	})
}

// What was used until a caller went away has been paid for.
func TestLedgerSeesWhatACallerWhoLeftUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		ctx, leave := context.WithCancel(t.Context())
		_, err := router(t, &kept{}, targets(nil)...).Do(ctx, "", CallOptions{Ledger: b}, func(ctx context.Context, _ Target, try *Try) (provider.Result, error) {
			try.Begin(true)
			try.Alive()
			time.AfterFunc(time.Second, leave)
			<-ctx.Done()
			return provider.Result{Usage: provider.Usage{Prompt: 7, Completion: 2, Estimated: true}}, ctx.Err()
		})
		want := []Tried{{Rung{"default", "a", "m", 0}, "CANCELED", provider.Usage{Prompt: 7, Completion: 2, Estimated: true}, time.Second}}
		if diff := cmp.Diff(want, b.tries); fault.KindOf(err) != fault.Canceled || diff != "" {
			t.Errorf("Do: %v, ledger (-want +got):\n%s", err, diff)
		}
	})
}

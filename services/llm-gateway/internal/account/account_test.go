package account_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

const euro = 1_000_000

// fixture is a book over a ledger, at a time that stands still.
type fixture struct {
	*account.Book
	ledger *ledger.Ledger
	now    time.Time

	mu      sync.Mutex
	refused []string
}

func (f *fixture) Limited(limit, scope string, shadow bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, fmt.Sprintf("%s of %s, shadow %v", limit, scope, shadow))
}

func book(t testing.TB, c account.Config) *fixture {
	t.Helper()
	f := &fixture{now: time.Date(2026, 11, 30, 18, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return f.now }
	l, err := ledger.Open(ledger.Options{Dir: t.TempDir(), Clock: clock, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.CloseFile(); err != nil {
			t.Error(err)
		}
	})
	c.Prices = map[account.Place]route.Price{
		{Route: "m", Provider: "p", Model: "large"}: {Prompt: 2, CachedPrompt: 1, Completion: 10},
		{Route: "m", Provider: "p", Model: "small"}: {Prompt: 1, Completion: 1},
	}
	f.ledger = l
	f.Book = account.New(c, account.Deps{Ledger: l, Meter: f, Clock: clock})
	return f
}

var (
	alice    = account.Who{Workspace: "team", Key: "user:alice"}
	bob      = account.Who{Workspace: "team", Key: "user:bob"}
	large    = route.Rung{Route: "m", Provider: "p", Model: "large"}
	small    = route.Rung{Route: "m", Provider: "p", Model: "small", Number: 1}
	estimate = provider.Usage{Prompt: 100_000, Completion: 80_000, Estimated: true}
)

// open opens, or says why not.
func (f *fixture) open(t testing.TB, w account.Who) (*account.Entry, *fault.Error) {
	t.Helper()
	e, err := f.Open(t.Context(), w, "m", estimate)
	if err != nil {
		return nil, fault.As(err)
	}
	return e, nil
}

func TestRequestsAMinute(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{Workspace: account.Allowance{Requests: 6}, Keys: map[string]account.Allowance{"user:bob": {Requests: 2}}})
	pass := func(w account.Who) bool {
		e, refused := f.open(t, w)
		if refused == nil {
			e.Close()
		} else if refused.Reason != fault.RateLimited || refused.RetryAfter <= 0 || refused.RetryAfter > time.Minute {
			t.Errorf("refused: %v, again after %v", refused, refused.RetryAfter)
		}
		return refused == nil
	}
	var got []bool
	for range 3 {
		got = append(got, pass(bob)) // two, then its own limit
	}
	for range 5 {
		got = append(got, pass(alice)) // what bob was refused does not count: four, then the workspace's
	}
	got = append(got, pass(account.Who{Workspace: "other", Key: "user:alice"}))
	f.now = f.now.Add(10 * time.Second) // one more of the workspace's
	got = append(got, pass(alice), pass(alice))
	want := []bool{true, true, false, true, true, true, true, false, true, true, false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("passed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"requests of key, shadow false", "requests of workspace, shadow false", "requests of workspace, shadow false"}, f.refused); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// The most that a request may use is held against the tokens of a minute, and what it did not use is free again; what it used
// beyond that is owed.
func TestTokensAMinute(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{Workspace: account.Allowance{Tokens: 300_000}})
	first, refused := f.open(t, alice) // reserves 180,000
	if refused != nil {
		t.Fatal(refused)
	}
	if _, refused := f.open(t, alice); refused == nil || refused.Reason != fault.RateLimited || refused.RetryAfter != 12*time.Second {
		t.Errorf("while another one is under way: %v, after %v", refused, refused.RetryAfter)
	}
	first.Asking().Tried(large, "stop", provider.Usage{Prompt: 40_000, Completion: 10_000}, time.Second)
	first.Close()
	second, refused := f.open(t, alice)
	if refused != nil {
		t.Fatalf("after it is settled: %v", refused)
	}
	second.Asking().Tried(large, "stop", provider.Usage{Prompt: 400_000}, time.Second)
	second.Close()
	second.Close()
	if _, refused := f.open(t, alice); refused == nil || refused.RetryAfter != 66*time.Second {
		t.Errorf("what was used beyond the limit: %v", refused)
	}
	huge, err := book(t, account.Config{Workspace: account.Allowance{Tokens: 1000}}).Open(t.Context(), alice, "m", estimate)
	if err != nil {
		t.Fatalf("a request larger than a minute's tokens never passes: %v", err)
	}
	huge.Close()
}

// A budget is never overrun by requests that come together: each reserves what it may cost at most.
func TestBudget(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{Workspace: account.Allowance{Day: 3 * euro, Month: 4 * euro}}) // a request may cost 1.00
	var open []*account.Entry
	for range 3 {
		e, refused := f.open(t, alice)
		if refused != nil {
			t.Fatal(refused)
		}
		open = append(open, e)
	}
	if _, refused := f.open(t, bob); refused == nil || refused.Reason != fault.BudgetExceeded || refused.Kind != fault.Exhausted || refused.RetryAfter != 6*time.Hour {
		t.Errorf("while three are under way: %v", refused)
	}
	for i, e := range open {
		e.Asking().Tried(large, "stop", provider.Usage{Prompt: 100_000, Cached: 50_000, Completion: 35_000 * (i + 1)}, time.Second)
		e.Close()
	}
	// 3 * 0.15 and 0.35 * 6.
	if got := f.ledger.Spent(ledger.Payer{Workspace: "team"}, ledger.DayOf(f.now)); got.Day != 2_550_000 {
		t.Errorf("spent %+v", got)
	}
	if _, refused := f.open(t, bob); refused == nil || refused.Reason != fault.BudgetExceeded {
		t.Errorf("a budget of which 0.45 is left takes what may cost 1.00: %v", refused)
	}
	f.now = f.now.Add(12 * time.Hour) // the next day, and the next month
	last, refused := f.open(t, bob)
	if refused != nil {
		t.Fatal(refused)
	}
	last.Close()
	want := []account.Budget{
		{Limit: 3 * euro, Resets: time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)},
		{Month: true, Limit: 4 * euro, Resets: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, f.Budgets("team", []string{"user:alice"})); diff != "" {
		t.Errorf("budgets (-want +got):\n%s", diff)
	}
}

// A key's month is its own; others in its workspace go on.
func TestBudgetOfAKey(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{Key: account.Allowance{Month: 2 * euro}})
	e, _ := f.open(t, alice)
	e.Asking().Tried(large, "stop", provider.Usage{Completion: 150_000}, 0)
	e.Close()
	if _, refused := f.open(t, alice); refused == nil || refused.RetryAfter != 6*time.Hour {
		t.Errorf("a month's budget is not held: %v", refused)
	}
	if e, refused := f.open(t, bob); refused != nil {
		t.Errorf("another key's: %v", refused)
	} else {
		e.Close()
	}
	if got := f.Budgets("team", []string{"", "user:alice"}); len(got) != 1 || got[0].Key != "user:alice" || got[0].Spent != 1_500_000 {
		t.Errorf("budgets %+v", got)
	}
	// What others spent counts too.
	f.ledger.Fold(ledger.Page{Workspace: "team", Node: "another", Day: ledger.DayOf(f.now), Rows: []ledger.Row{{Key: "user:bob", Numbers: ledger.Numbers{Cost: 2 * euro}}}})
	if _, refused := f.open(t, bob); refused == nil {
		t.Error("what another process spent does not count")
	}
}

// In shadow everything passes, and what would not is counted.
func TestShadow(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{Shadow: true, Workspace: account.Allowance{Requests: 1, Day: 1}})
	for range 3 {
		e, refused := f.open(t, alice)
		if refused != nil {
			t.Fatal(refused)
		}
		e.Close()
	}
	want := []string{"day of workspace, shadow true", "requests of workspace, shadow true", "requests of workspace, shadow true"}
	if diff := cmp.Diff(want, f.refused); diff != "" || !f.Shadow() {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// Every try is in the ledger with its own target's price; a target without a price costs nothing and is said to have none; what
// asked no provider leaves nothing.
func TestTriesAreWrittenDown(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{})
	e, _ := f.open(t, alice)
	asked := e.Asking()
	asked.Tried(large, "PROVIDER_STREAM_CUT", provider.Usage{Prompt: 10, Completion: 1, Estimated: true}, 0)
	asked.Tried(small, "stop", provider.Usage{Prompt: 10, Completion: 5}, 0)
	e.Close()
	unpriced, _ := f.open(t, alice)
	unpriced.Asking().Tried(route.Rung{Route: "m", Provider: "new", Model: "x"}, "stop", provider.Usage{Prompt: 7}, 0)
	unpriced.Close()
	cached, _ := f.open(t, alice)
	cached.Cached()
	cached.Close()
	refused, _ := f.open(t, alice)
	refused.Asking()
	refused.Close()
	got := map[string]ledger.Numbers{}
	for _, entry := range f.ledger.Usage("team", 0, ledger.DayOf(f.now)) {
		got[entry.Key+" "+entry.Provider+" "+entry.Model] = entry.Numbers
	}
	want := map[string]ledger.Numbers{
		"user:alice p large": {Failed: 1, Prompt: 10, Completion: 1, Cost: 30, Estimated: 1},
		"user:alice p small": {Requests: 1, Prompt: 10, Completion: 5, Cost: 15},
		"user:alice new x":   {Requests: 1, Prompt: 7, Unpriced: 1},
		"user:alice  ":       {Requests: 1, Cached: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

// However requests come and end, no budget is overrun, and nothing stays reserved.
func TestConcurrentRequestsKeepTheBudget(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{Workspace: account.Allowance{Day: 20 * euro}, Key: account.Allowance{Day: 15 * euro}})
	var all sync.WaitGroup
	for i := range 16 {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		all.Go(func() {
			for range 50 {
				e, err := f.Open(t.Context(), []account.Who{alice, bob}[random.IntN(2)], "m", estimate)
				if err != nil {
					continue
				}
				if random.IntN(4) > 0 {
					e.Asking().Tried(large, "stop", provider.Usage{Prompt: 100_000, Completion: random.IntN(80_000)}, 0)
				}
				e.Close()
			}
		})
	}
	all.Wait()
	for _, b := range f.Budgets("team", []string{"user:alice", "user:bob"}) {
		if b.Spent > b.Limit || b.Reserved != 0 || b.Spent == 0 {
			t.Errorf("%+v", b)
		}
	}
}

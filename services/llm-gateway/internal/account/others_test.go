package account_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// What is taken here is told once, what is given back too, and only of limits that there are.
func TestTaken(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{Workspace: account.Allowance{Requests: 6}, Key: account.Allowance{Tokens: 200_000}, Keys: map[string]account.Allowance{"user:bob": {Month: 9 * euro}}})
	taken := func(want ...account.Taken) {
		t.Helper()
		byKey := cmpopts.SortSlices(func(a, b account.Taken) bool { return a.Key < b.Key })
		if diff := cmp.Diff(want, f.Taken(), byKey, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	team := account.Who{Workspace: "team"}
	taken()
	e, refused := f.open(t, alice)
	if refused != nil {
		t.Fatal(refused)
	}
	if _, refused := f.open(t, bob); refused != nil {
		t.Fatal(refused)
	}
	taken(account.Taken{Who: team, Requests: 2}, account.Taken{Who: alice, Tokens: 180_000})
	taken()
	e.Asking().Tried(large, "stop", provider.Usage{Prompt: 1000, Completion: 500}, time.Second)
	e.Close()
	taken(account.Taken{Who: alice, Tokens: -178_500})
}

// What others take is missing here, and comes back as what was taken here does.
func TestOthers(t *testing.T) {
	t.Parallel()
	f := book(t, account.Config{Workspace: account.Allowance{Requests: 6, Tokens: 200_000}})
	team := account.Who{Workspace: "team"}
	wait := func(want time.Duration) {
		t.Helper()
		e, refused := f.open(t, alice)
		if refused == nil {
			e.Close()
			refused = &fault.Error{}
		}
		if refused.RetryAfter.Round(time.Second) != want {
			t.Errorf("come back in %v, want %v", refused.RetryAfter, want)
		}
	}
	f.Others([]account.Taken{{Who: team, Requests: 5}, {Who: account.Who{Workspace: "another"}, Requests: 60}, {Who: alice, Requests: 60}})
	wait(0)
	wait(10 * time.Second)
	f.Others([]account.Taken{{Who: team, Requests: 1, Tokens: 50_000}})
	wait(20 * time.Second)
	f.now = f.now.Add(20 * time.Second)
	wait(0)
	f.now = f.now.Add(time.Minute)
	f.Others([]account.Taken{{Who: team, Tokens: 50_000}})
	wait(9 * time.Second) // 180,000 do not fit
	f.Others([]account.Taken{{Who: team, Tokens: -40_000}})
	wait(0)
	f.Others([]account.Taken{{Who: team, Requests: 1000}})
	wait(time.Minute + 10*time.Second) // no longer, whatever they took
	f.Others([]account.Taken{{Who: team, Requests: -1000, Tokens: -1_000_000}})
	wait(0)
	if diff := cmp.Diff([]account.Taken{{Who: team, Requests: 4}}, f.Taken()); diff != "" {
		t.Errorf("what others took is told as our own (-want +got):\n%s", diff)
	}
}

// Together, processes that are asked for far more than the limit let pass what one would, but for the burst before they have heard
// of each other.
func TestALimitHoldsOverProcesses(t *testing.T) {
	t.Parallel()
	const perMinute, minutes = 600, 10
	for _, n := range []int{1, 2, 4, 10} {
		books := make([]*fixture, n)
		for i := range books {
			books[i] = book(t, account.Config{Workspace: account.Allowance{Requests: perMinute}})
		}
		passed := 0
		for range minutes * 120 {
			for _, f := range books {
				f.now = f.now.Add(time.Second / 2)
				for range 2 * perMinute {
					e, refused := f.open(t, alice)
					if refused != nil {
						break
					}
					e.Close()
					passed++
				}
			}
			for i, f := range books {
				taken := f.Taken()
				for j, other := range books {
					if i != j {
						other.Others(taken)
					}
				}
			}
		}
		if least, most := perMinute*(minutes-1), perMinute*(minutes+n); passed < least || passed > most {
			t.Errorf("%d processes let %d requests pass in %d minutes, want %d to %d", n, passed, minutes, least, most)
		}
		t.Logf("%d processes: %d requests in %d minutes of %d a minute", n, passed, minutes, perMinute)
	}
}

package account

import (
	"fmt"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
)

// bucket holds what may be used at once: a minute's worth when nothing was used for a minute. What turns out to be more than was
// reserved is owed.
type bucket struct {
	used float64 // of a minute's worth
	at   time.Time
}

// refill brings the bucket up to now.
func (b *bucket) refill(perMinute int, now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.used = max(0, b.used-d.Minutes()*float64(perMinute))
		b.at = now
	}
}

// wait is how long it takes until n fit; 0 when they do.
func (b *bucket) wait(n float64, perMinute int, now time.Time) time.Duration {
	if perMinute == 0 {
		return 0
	}
	b.refill(perMinute, now)
	over := b.used + n - float64(perMinute)
	if over <= 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(over/float64(perMinute)*float64(time.Minute)))
}

func (b *bucket) take(n float64, perMinute int, now time.Time) {
	if perMinute == 0 {
		return
	}
	b.refill(perMinute, now)
	b.used += n
}

// give takes back what was reserved and not used; a negative n is owed.
func (b *bucket) give(n float64, perMinute int) {
	if perMinute > 0 {
		b.used = max(0, b.used-n)
	}
}

// others takes what other processes have used, or gives back what they had reserved. What they take together in the moment before
// each has heard of the rest may be many times the limit; beyond a minute's worth that is forgiven, so that nobody waits for
// longer because of it.
func (b *bucket) others(n float64, perMinute int, now time.Time) {
	if perMinute == 0 {
		return
	}
	b.refill(perMinute, now)
	b.used = max(0, min(b.used+n, max(b.used, 2*float64(perMinute))))
}

// The limits, as metrics name them.
const (
	limitRequests = "requests"
	limitTokens   = "tokens"
	limitDay      = "day"
	limitMonth    = "month"
)

// refusal is a limit that a request does not fit in.
type refusal struct {
	limit string
	after time.Duration
	most  uint64
}

// check returns the limit that a request does not fit in, nil when it fits in all.
func (b *Book) check(sc *scope, e *Entry, now time.Time) *refusal {
	s := b.state(sc.who)
	if d := s.requests.wait(1, sc.allow.Requests, now); d > 0 {
		return &refusal{limitRequests, d, uint64(sc.allow.Requests)}
	}
	if d := s.tokens.wait(e.tokens(sc.allow), sc.allow.Tokens, now); d > 0 {
		return &refusal{limitTokens, d, uint64(sc.allow.Tokens)}
	}
	if sc.allow.Day == 0 && sc.allow.Month == 0 {
		return nil
	}
	day := ledger.DayOf(now)
	spent := b.deps.Ledger.Spent(ledger.Payer(sc.who), day)
	switch {
	case full(sc.allow.Day, spent.Day, s.reserved, e.most.Cost):
		return &refusal{limitDay, (day + 1).Time().Sub(now), sc.allow.Day}
	case full(sc.allow.Month, spent.Month, s.reserved, e.most.Cost):
		return &refusal{limitMonth, day.NextMonth().Time().Sub(now), sc.allow.Month}
	}
	return nil
}

// full says whether a request does not fit in a budget. A request that costs nothing, or nothing that is known, fits in one that
// has anything left.
func full(budget, spent, reserved, cost uint64) bool {
	return budget > 0 && (spent >= budget || spent+reserved+cost > budget)
}

func (r *refusal) fault(e *Entry, sc *scope) error {
	whose := fmt.Sprintf("workspace %s", e.payer.Workspace)
	if sc.name == "key" {
		whose = fmt.Sprintf("%s in workspace %s", e.payer.Key, e.payer.Workspace)
	}
	switch r.limit {
	case limitRequests, limitTokens:
		return fault.New(fault.Exhausted, fault.RateLimited, "%s may use %d %s a minute, and this would be more; try again later", whose, r.most, r.limit).
			WithRetryAfter(r.after)
	default:
		return fault.New(fault.Exhausted, fault.BudgetExceeded,
			"the %s's budget of %s, %.2f, does not allow for this request; it begins anew at %s, or an administrator raises it (account in llm-gateway.yaml)",
			r.limit, whose, float64(r.most)/1e6, e.book.deps.Clock().Add(r.after).UTC().Format(time.RFC3339)).WithRetryAfter(r.after)
	}
}

// Budget is a budget and what was spent of it, in millionths.
type Budget struct {
	Key                    string // empty for the whole workspace's
	Month                  bool
	Limit, Spent, Reserved uint64
	Resets                 time.Time
}

// Budgets returns the budgets of a workspace and of keys in it.
func (b *Book) Budgets(workspace string, keys []string) []Budget {
	cfg, now := b.cfg.Load(), b.deps.Clock()
	day := ledger.DayOf(now)
	var out []Budget
	add := func(w Who, a Allowance) {
		if a.Day == 0 && a.Month == 0 {
			return
		}
		spent := b.deps.Ledger.Spent(ledger.Payer(w), day)
		var reserved uint64
		b.mu.Lock()
		if s := b.accounts[w]; s != nil {
			reserved = s.reserved
		}
		b.mu.Unlock()
		if a.Day > 0 {
			out = append(out, Budget{Key: w.Key, Limit: a.Day, Spent: spent.Day, Reserved: reserved, Resets: (day + 1).Time()})
		}
		if a.Month > 0 {
			out = append(out, Budget{Key: w.Key, Month: true, Limit: a.Month, Spent: spent.Month, Reserved: reserved, Resets: day.NextMonth().Time()})
		}
	}
	for i, key := range append([]string{""}, keys...) {
		if i > 0 && key == "" {
			continue
		}
		scopes, n := cfg.scopes(Who{Workspace: workspace, Key: key})
		for _, sc := range scopes[:n] {
			if sc.who.Key == key {
				add(sc.who, sc.allow)
			}
		}
	}
	return out
}

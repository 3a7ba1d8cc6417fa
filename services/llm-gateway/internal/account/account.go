// Package account says who pays: before a model is asked, a request is held against the limits and budgets of its workspace and
// key, with the most that it may cost reserved; afterwards what it did cost is settled, and stands in a ledger.
//
// Both are over all processes. What others take of limits is told here now and then (see [Book.Others]). What they have spent of
// budgets the ledger knows; what they reserve of them is not known here, so that together they may overrun a budget by what is
// under way.
package account

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// Who is on whose behalf a request is made. Key is an API key's name, or the person or service that calls.
type Who struct{ Workspace, Key string }

// Allowance is what a workspace or a key may use; 0 is no bound.
type Allowance struct {
	// Requests and Tokens are per minute.
	Requests, Tokens int
	// Day and Month are budgets in millionths of the currency.
	Day, Month uint64
}

// Place is a target of a route, as prices are known by.
type Place struct{ Route, Provider, Model string }

// Config is what a Book goes by.
type Config struct {
	// Shadow has limits and budgets only report what they would refuse.
	Shadow bool
	// Workspace and Key are what each may use that is not in Workspaces or Keys by its name.
	Workspace, Key   Allowance
	Workspaces, Keys map[string]Allowance
	// Prices are what targets' tokens cost. Those of a target that is not here are not known.
	Prices map[Place]route.Price

	most map[string]route.Price // by route
}

// Ledger is where requests are written down; *[ledger.Ledger] is one.
type Ledger interface {
	Begin(p ledger.Payer, route string, most ledger.Most) uint64
	Tried(id uint64, t ledger.Try)
	End(id uint64)
	Cached(p ledger.Payer, route string)
	Spent(p ledger.Payer, day ledger.Day) ledger.Spent
}

// Meter counts what is beyond a limit: requests, tokens, day or month, of a workspace or a key; shadow says that it was let pass.
type Meter interface {
	Limited(limit, scope string, shadow bool)
}

// Deps is what a Book works with.
type Deps struct {
	Ledger Ledger
	Meter  Meter
	Clock  func() time.Time
}

// Book holds requests against limits and budgets. It is safe for concurrent use.
type Book struct {
	deps Deps
	cfg  atomic.Pointer[Config]

	mu       sync.Mutex
	accounts map[Who]*state // those that have a bound; the workspace's has no key
	untold   []Who          // those of which others are to be told
}

// state is what a workspace or a key has used and reserved.
type state struct {
	requests, tokens bucket
	reserved         uint64 // millionths
	open             int
	untold           Taken // what others are to be told; of nobody where there is nothing
}

// New returns a Book.
func New(c Config, d Deps) *Book {
	b := &Book{deps: d, accounts: map[Who]*state{}}
	b.Use(c)
	return b
}

// Use has requests from now on held against c.
func (b *Book) Use(c Config) {
	c.most = map[string]route.Price{}
	for place, p := range c.Prices {
		most := c.most[place.Route]
		c.most[place.Route] = route.Price{Prompt: max(most.Prompt, p.Prompt), Completion: max(most.Completion, p.Completion)}
	}
	b.cfg.Store(&c)
}

// Shadow says whether limits only report.
func (b *Book) Shadow() bool { return b.cfg.Load().Shadow }

// Free returns a Book that holds nothing against anybody and writes nothing down: for what is tested without one.
func Free() *Book { return New(Config{}, Deps{Ledger: nothing{}, Meter: nothing{}, Clock: time.Now}) }

// nothing is a ledger and a meter of nothing.
type nothing struct{}

func (nothing) Begin(ledger.Payer, string, ledger.Most) uint64     { return 1 }
func (nothing) Tried(uint64, ledger.Try)                           {}
func (nothing) End(uint64)                                         {}
func (nothing) Cached(ledger.Payer, string)                        {}
func (nothing) Spent(ledger.Payer, ledger.Day) (none ledger.Spent) { return none }
func (nothing) Limited(string, string, bool)                       {}

// scope is what one request is held against: its workspace's allowance, or its key's.
type scope struct {
	name  string
	who   Who
	allow Allowance
}

// scopes returns what w is held against; those without a bound are left out.
func (c *Config) scopes(w Who) (out [2]scope, n int) {
	if allow := c.allowance(Who{Workspace: w.Workspace}); allow != (Allowance{}) {
		out[n] = scope{"workspace", Who{Workspace: w.Workspace}, allow}
		n++
	}
	if w.Key == "" {
		return out, n
	}
	if allow := c.allowance(w); allow != (Allowance{}) {
		out[n] = scope{"key", w, allow}
		n++
	}
	return out, n
}

// allowance is what a key may use; without one, its workspace.
func (c *Config) allowance(w Who) Allowance {
	named, name, otherwise := c.Keys, w.Key, c.Key
	if w.Key == "" {
		named, name, otherwise = c.Workspaces, w.Workspace, c.Workspace
	}
	if allow, ok := named[name]; ok {
		return allow
	}
	return otherwise
}

// Entry is a request's. It is safe for concurrent use.
type Entry struct {
	book   *Book
	cfg    *Config
	payer  ledger.Payer
	route  string
	most   ledger.Most
	scopes [2]scope
	bound  int // scopes that count

	mu     sync.Mutex
	intent uint64 // 0 before a provider was about to be asked
	used   uint64 // tokens
	closed bool
}

var _ route.Ledger = (*Entry)(nil)

// Open holds a request against its limits and budgets and reserves what it may use: the prompt as estimated, and the longest
// completion. An error is RATE_LIMITED or BUDGET_EXCEEDED and says when to try again. The Entry must be closed.
func (b *Book) Open(_ context.Context, w Who, routeName string, estimate provider.Usage) (*Entry, error) {
	cfg := b.cfg.Load()
	e := &Entry{book: b, cfg: cfg, payer: ledger.Payer(w), route: routeName, most: ledger.Most{
		Prompt: uint64(max(estimate.Prompt, 0)), Completion: uint64(max(estimate.Completion, 0)), Cost: cfg.most[routeName].Micros(estimate),
	}}
	if e.scopes, e.bound = cfg.scopes(w); e.bound == 0 {
		return e, nil
	}
	now := b.deps.Clock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range e.bound {
		refused := b.check(&e.scopes[i], e, now)
		if refused == nil {
			continue
		}
		b.deps.Meter.Limited(refused.limit, e.scopes[i].name, cfg.Shadow)
		if !cfg.Shadow {
			return nil, refused.fault(e, &e.scopes[i])
		}
	}
	for i := range e.bound {
		sc := &e.scopes[i]
		s, tokens := b.state(sc.who), e.tokens(sc.allow)
		s.requests.take(1, sc.allow.Requests, now)
		s.tokens.take(tokens, sc.allow.Tokens, now)
		b.tell(s, sc, 1, tokens)
		s.reserved += e.most.Cost
		s.open++
	}
	return e, nil
}

// tokens is what is reserved of an allowance: a request that is larger than a minute's tokens takes them all.
func (e *Entry) tokens(a Allowance) float64 {
	return min(float64(e.most.Prompt+e.most.Completion), float64(a.Tokens))
}

func (b *Book) state(w Who) *state {
	s := b.accounts[w]
	if s == nil {
		if len(b.accounts) >= sweepAt {
			b.sweep()
		}
		s = &state{}
		b.accounts[w] = s
	}
	return s
}

// sweepAt is how many workspaces and keys are remembered before those are looked for that have nothing to remember.
const sweepAt = 20_000

func (b *Book) sweep() {
	now := b.deps.Clock()
	maps.DeleteFunc(b.accounts, func(_ Who, s *state) bool {
		return s.open == 0 && s.untold == Taken{} && now.Sub(s.requests.at) > time.Minute && now.Sub(s.tokens.at) > time.Minute
	})
}

// Again returns an Entry of the same payer that is held against nothing: for what goes on for others when who asked first has
// gone away.
func (e *Entry) Again() *Entry {
	return &Entry{book: e.book, cfg: e.cfg, payer: e.payer, route: e.route, most: e.most}
}

// Asking writes down that a provider is about to be asked for an answer, and returns what is told of the tries. Nobody gets that
// without: who dies from now on leaves an unsettled entry. After an answer, a request that needs several asks again.
func (e *Entry) Asking() route.Ledger {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begin()
	return e
}

func (e *Entry) begin() {
	if e.intent == 0 {
		e.intent = e.book.deps.Ledger.Begin(e.payer, e.route, e.most)
	}
}

// Tried implements [route.Ledger].
func (e *Entry) Tried(r route.Rung, outcome string, u provider.Usage, _ time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begin()
	price, priced := e.cfg.Prices[Place{r.Route, r.Provider, r.Model}]
	u.Prompt, u.Completion, u.Cached = max(u.Prompt, 0), max(u.Completion, 0), max(u.Cached, 0)
	e.used += uint64(u.Prompt + u.Completion)
	intent, answered := e.intent, provider.Ended(outcome)
	if answered { // the provider may be asked for something else
		e.intent = 0
	}
	e.book.deps.Ledger.Tried(intent, ledger.Try{
		Target: ledger.Target(Place{r.Route, r.Provider, r.Model}), Answered: answered,
		Prompt: uint64(u.Prompt), CachedPrompt: uint64(min(u.Cached, u.Prompt)), Completion: uint64(u.Completion), Cost: price.Micros(u),
		Unpriced: !priced && u.Prompt+u.Completion > 0, Estimated: u.Estimated,
	})
}

// Cached says that the answer came from a cache: no provider was asked.
func (e *Entry) Cached() { e.book.deps.Ledger.Cached(e.payer, e.route) }

// Close settles: what was reserved and not used is free again. It may be called more than once.
func (e *Entry) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.intent != 0 {
		e.book.deps.Ledger.End(e.intent)
		e.intent = 0
	}
	if e.closed || e.bound == 0 {
		return
	}
	e.closed = true
	b := e.book
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range e.bound {
		sc := &e.scopes[i]
		s, back := b.accounts[sc.who], e.tokens(sc.allow)-float64(e.used)
		s.reserved -= min(s.reserved, e.most.Cost)
		s.open--
		s.tokens.give(back, sc.allow.Tokens)
		b.tell(s, sc, 0, -back)
	}
}

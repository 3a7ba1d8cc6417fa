// Package ledger remembers what models were used for, in numbers, so that nothing is lost without a word: before a provider is
// asked, the intent stands in a journal on this machine's disk, and what came of it stands there as soon as that is known. A
// process that dies in between finds intents without an end when it starts again; these count as unsettled, with the most that
// they may have used.
//
// What is added up are pages: one for each workspace and day, whose rows only grow. A page can be handed to others as often as
// one likes (see [Ledger.Unshipped]), and the pages of other processes come in by [Ledger.Fold]. The package knows no transport.
package ledger

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Payer is on whose behalf a request is made. Key is an API key's name or a person.
type Payer struct{ Workspace, Key string }

// Target is what was asked. Provider and model are empty for what asked none: answers from a cache, and intents.
type Target struct{ Route, Provider, Model string }

// Numbers add up what requests used. Costs are millionths of the currency.
type Numbers struct {
	Requests, Cached, Failed, Unsettled      uint64
	Prompt, CachedPrompt, Completion         uint64
	Cost, UnsettledCost, Unpriced, Estimated uint64
}

// Add adds o.
func (n *Numbers) Add(o Numbers) {
	n.Requests += o.Requests
	n.Cached += o.Cached
	n.Failed += o.Failed
	n.Unsettled += o.Unsettled
	n.Prompt += o.Prompt
	n.CachedPrompt += o.CachedPrompt
	n.Completion += o.Completion
	n.Cost += o.Cost
	n.UnsettledCost += o.UnsettledCost
	n.Unpriced += o.Unpriced
	n.Estimated += o.Estimated
}

// Row is what one key used of one target.
type Row struct {
	Key string
	Target
	Numbers
}

// Most is the most that a request may use.
type Most struct{ Prompt, Completion, Cost uint64 }

// Try is how a try at a target ended.
type Try struct {
	Target
	// Answered says that it ended as answers do: no other try follows.
	Answered                         bool
	Prompt, CachedPrompt, Completion uint64
	Cost                             uint64
	// Unpriced says that there is no price, Estimated that the tokens are ours.
	Unpriced, Estimated bool
}

func (t Try) numbers() Numbers {
	n := Numbers{Prompt: t.Prompt, CachedPrompt: t.CachedPrompt, Completion: t.Completion, Cost: t.Cost}
	if t.Answered {
		n.Requests = 1
	} else {
		n.Failed = 1
	}
	if t.Unpriced {
		n.Unpriced = 1
	}
	if t.Estimated {
		n.Estimated = 1
	}
	return n
}

// Options say where a ledger is.
type Options struct {
	// Dir is the journal's folder, for this process alone.
	Dir   string
	Clock func() time.Time
	Log   zerolog.Logger
	// Segment is how large the journal's file grows before a new one begins; 8 MiB when 0.
	Segment int64
}

// Ledger is a process's. It is safe for concurrent use.
type Ledger struct {
	node  string
	clock func() time.Time
	log   zerolog.Logger

	mu      sync.Mutex
	journal *journal
	next    uint64 // id of the next intent
	open    map[uint64]intent
	pages   map[pageKey]*page
	lives   map[string]uint64 // by workspace
	lost    uint64            // entries that the journal could not take

	totals totals
}

// intent is a request that a provider may be at.
type intent struct {
	payer Payer
	route string
	most  Most
	life  uint64
}

// pageKey names a page of this process.
type pageKey struct {
	workspace string
	day       Day
	life      uint64
}

type page struct {
	rows map[rowKey]*Numbers
	// version counts changes; shipped is the version that others have.
	version, shipped uint64
}

type rowKey struct {
	key string
	Target
}

// maxRows is how many rows of a page are told apart; beyond it keys are not.
const maxRows = 2000

// Node is this process's name, which stays the same over restarts.
func (l *Ledger) Node() string { return l.node }

// Begin writes down that a provider is about to be asked, and returns the intent's id.
func (l *Ledger) Begin(p Payer, route string, most Most) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	id := l.next
	in := intent{payer: p, route: route, most: most, life: l.lives[p.Workspace]}
	l.open[id] = in
	l.write(func(b []byte) []byte { return appendIntent(b, id, in) })
	return id
}

// Tried writes down how a try ended.
func (l *Ledger) Tried(id uint64, t Try) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in, ok := l.open[id]
	if !ok { // ended already
		return
	}
	if t.Answered {
		delete(l.open, id)
	}
	day := DayOf(l.clock())
	l.add(in.payer, in.life, day, t.Target, t.numbers())
	l.write(func(b []byte) []byte { return appendTry(b, id, day, t) })
}

// End writes down that nothing more comes of an intent, unless a try has answered it.
func (l *Ledger) End(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[id]; !ok {
		return
	}
	delete(l.open, id)
	l.write(func(b []byte) []byte { return appendEnd(b, id) })
}

// Cached writes down a request that a cache has answered.
func (l *Ledger) Cached(p Payer, route string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := intent{payer: p, route: route, life: l.lives[p.Workspace]}
	day := DayOf(l.clock())
	l.add(p, in.life, day, Target{Route: route}, Numbers{Requests: 1, Cached: 1})
	l.write(func(b []byte) []byte { return appendCached(b, day, in) })
}

// Close begins a workspace's next life: what it used so far becomes numbers that name no keys, and is not its own any more. A life
// that is not later than the one it has changes nothing.
func (l *Ledger) Close(workspace string, life uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if life <= l.lives[workspace] {
		return
	}
	l.close(workspace, life)
	l.write(func(b []byte) []byte { return appendLife(b, workspace, life) })
	l.totals.close(workspace, life)
	if err := l.rotate(); err != nil { // the file there is has names in it
		l.log.Warn().Err(err).Str("workspace", workspace).Msg("the ledger can't begin a new file; the old one names keys of a deleted workspace")
	}
}

func (l *Ledger) close(workspace string, life uint64) {
	l.lives[workspace] = life
	for key, p := range l.pages {
		if key.workspace == workspace && key.life < life {
			p.anonymous()
		}
	}
	for id, in := range l.open {
		if in.payer.Workspace == workspace {
			in.payer.Key = ""
			l.open[id] = in
		}
	}
}

// anonymous adds up rows over keys.
func (p *page) anonymous() {
	rows := make(map[rowKey]*Numbers, len(p.rows))
	for key, n := range p.rows {
		key.key = ""
		if sum, ok := rows[key]; ok {
			sum.Add(*n)
		} else {
			rows[key] = n
		}
	}
	p.rows = rows
	p.version++
}

// add counts numbers. The caller holds mu.
func (l *Ledger) add(payer Payer, life uint64, day Day, t Target, n Numbers) {
	if life < l.lives[payer.Workspace] {
		payer.Key = ""
	}
	key := pageKey{workspace: payer.Workspace, day: day, life: life}
	p := l.pages[key]
	if p == nil {
		p = &page{rows: map[rowKey]*Numbers{}}
		l.pages[key] = p
	}
	row := rowKey{key: payer.Key, Target: t}
	sum := p.rows[row]
	if sum == nil && len(p.rows) >= maxRows {
		row.key = ""
		sum = p.rows[row]
	}
	if sum == nil {
		sum = &Numbers{}
		p.rows[row] = sum
	}
	sum.Add(n)
	p.version++
	if life == l.lives[payer.Workspace] {
		l.totals.spend(payer, day, n.Cost)
	}
}

// Failures counts what the journal could not take since the start. That is in the totals, and lost only if the process dies
// before others have it.
func (l *Ledger) Failures() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Open says how many intents have no end yet.
func (l *Ledger) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

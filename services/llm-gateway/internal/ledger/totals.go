package ledger

import (
	"sync"
	"time"
)

// Page is what one process used models for in a workspace on a day.
type Page struct {
	Workspace, Node string
	Day             Day
	// Life tells apart workspaces that had one name one after the other.
	Life uint64
	Rows []Row

	version uint64
}

// totals are the pages of others, and what was spent over all.
type totals struct {
	mu    sync.RWMutex
	pages map[foreignKey][]Row
	lives map[string]uint64
	spent map[spentKey]uint64
	today Day
	known time.Time // when everything that others said was known; zero before
}

type foreignKey struct {
	workspace, node string
	day             Day
	life            uint64
}

// spentKey is a budget's. Key is empty for the whole workspace; month says whether period is a month or a day.
type spentKey struct {
	Payer
	month  bool
	period int32
}

func (t *totals) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pages, t.lives, t.spent, t.today = map[foreignKey][]Row{}, map[string]uint64{}, map[spentKey]uint64{}, 0
}

// spend counts a cost for the budgets.
func (t *totals) spend(p Payer, day Day, cost uint64) {
	if cost == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(p, day, cost)
}

func (t *totals) count(p Payer, day Day, cost uint64) {
	if day > t.today {
		t.today = day
		t.forget()
	}
	if day < t.today-40 {
		return
	}
	for _, who := range [...]Payer{{Workspace: p.Workspace}, p} {
		t.spent[spentKey{who, false, int32(day)}] += cost
		t.spent[spentKey{who, true, day.month()}] += cost
		if p.Key == "" {
			return
		}
	}
}

// uncount takes back what count counted.
func (t *totals) uncount(p Payer, day Day, cost uint64) {
	if day < t.today-40 {
		return
	}
	for _, who := range [...]Payer{{Workspace: p.Workspace}, p} {
		for _, key := range [...]spentKey{{who, false, int32(day)}, {who, true, day.month()}} {
			t.spent[key] -= min(cost, t.spent[key])
		}
		if p.Key == "" {
			return
		}
	}
}

// forget drops sums of budgets that are over.
func (t *totals) forget() {
	for key := range t.spent {
		if key.month && key.period < t.today.month()-1 || !key.month && key.period < int32(t.today)-1 {
			delete(t.spent, key)
		}
	}
}

// close has what a workspace used in earlier lives count for none of its budgets.
func (t *totals) close(workspace string, life uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lives[workspace] = life
	for key := range t.spent {
		if key.Workspace == workspace {
			delete(t.spent, key)
		}
	}
	for key, rows := range t.pages {
		if key.workspace == workspace && key.life >= life {
			for _, r := range rows {
				t.count(Payer{workspace, r.Key}, key.day, r.Cost)
			}
		}
	}
}

// keep has a page that was counted already among those of others.
func (t *totals) keep(p Page) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pages[foreignKey{p.Workspace, p.Node, p.Day, p.Life}] = p.Rows
}

// fold takes a page in, in the place of what its process said before.
func (t *totals) fold(p Page) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := foreignKey{p.Workspace, p.Node, p.Day, p.Life}
	if p.Life >= t.lives[p.Workspace] {
		for _, r := range t.pages[key] {
			t.uncount(Payer{p.Workspace, r.Key}, p.Day, r.Cost)
		}
		for _, r := range p.Rows {
			t.count(Payer{p.Workspace, r.Key}, p.Day, r.Cost)
		}
	}
	t.pages[key] = p.Rows
}

// Fold takes in what a process said of a day. Its own words are news only where it has forgotten them.
func (l *Ledger) Fold(p Page) {
	if p.Node == l.node {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.pages[pageKey{p.Workspace, p.Day, p.Life}]; ok {
			return
		}
	}
	l.totals.fold(p)
}

// Known says that everything others had said until now was folded in.
func (l *Ledger) Known(at time.Time) {
	l.totals.mu.Lock()
	defer l.totals.mu.Unlock()
	l.totals.known = at
}

// KnownAt is when everything others had said was known last; zero when it never was.
func (l *Ledger) KnownAt() time.Time {
	l.totals.mu.RLock()
	defer l.totals.mu.RUnlock()
	return l.totals.known
}

// Spent is what was spent of a budget of a day and of a month, in millionths.
type Spent struct{ Day, Month uint64 }

// Spent returns what a payer has spent on a day and in its month, over all processes as far as is known. Without a key it is the
// whole workspace.
func (l *Ledger) Spent(p Payer, day Day) Spent {
	l.totals.mu.RLock()
	defer l.totals.mu.RUnlock()
	return Spent{Day: l.totals.spent[spentKey{p, false, int32(day)}], Month: l.totals.spent[spentKey{p, true, day.month()}]}
}

// Entry is a row of a day.
type Entry struct {
	Day Day
	Row
}

// Usage returns what a workspace used in its present life, from one day to another, over all processes as far as is known. There
// may be several entries of one kind.
func (l *Ledger) Usage(workspace string, first, last Day) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock() // so that no page is moved meanwhile
	life := l.lives[workspace]
	var out []Entry
	for key, p := range l.pages {
		if key.workspace == workspace && key.life >= life && key.day >= first && key.day <= last {
			for row, n := range p.rows {
				out = append(out, Entry{key.day, Row{Key: row.key, Target: row.Target, Numbers: *n}})
			}
		}
	}
	l.totals.mu.RLock()
	defer l.totals.mu.RUnlock()
	for key, rows := range l.totals.pages {
		if key.workspace == workspace && key.life >= life && key.day >= first && key.day <= last {
			if _, own := l.pages[pageKey{key.workspace, key.day, key.life}]; own && key.node == l.node {
				continue
			}
			for _, r := range rows {
				out = append(out, Entry{key.day, r})
			}
		}
	}
	return out
}

// Unshipped returns the pages that others don't have as they are now. They are on the disk: what others were told is not taken
// back by a power cut.
func (l *Ledger) Unshipped() ([]Page, error) {
	l.mu.Lock()
	var out []Page
	for key, p := range l.pages {
		if p.version != p.shipped {
			out = append(out, Page{Workspace: key.workspace, Node: l.node, Day: key.day, Life: key.life, Rows: p.list(), version: p.version})
		}
	}
	l.mu.Unlock()
	if len(out) == 0 {
		return nil, nil
	}
	return out, l.Sync()
}

// Shipped says that others have a page as [Ledger.Unshipped] returned it.
func (l *Ledger) Shipped(p Page) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if own := l.pages[pageKey{p.Workspace, p.Day, p.Life}]; own != nil {
		own.shipped = max(own.shipped, p.version)
	}
}

// Waiting counts the pages that others don't have as they are.
func (l *Ledger) Waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pages {
		if p.version != p.shipped {
			n++
		}
	}
	return n
}

// Anonymous adds up the page's rows over keys, and says whether it named any.
func (p *Page) Anonymous() bool {
	sums := map[Target]*Numbers{}
	named := false
	for _, r := range p.Rows {
		named = named || r.Key != ""
		if sums[r.Target] == nil {
			sums[r.Target] = &Numbers{}
		}
		sums[r.Target].Add(r.Numbers)
	}
	if !named {
		return false
	}
	p.Rows = p.Rows[:0:0]
	for t, n := range sums {
		p.Rows = append(p.Rows, Row{Target: t, Numbers: *n})
	}
	return true
}

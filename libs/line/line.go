// Package line hands out places, a bounded number of them, and has those who come when all are taken wait: a bounded number of
// them, for a bounded time, and so that one workspace's burst is that workspace's own affair. The package knows neither what the
// places are for nor transports; all it gives up on is said as a fault.
package line

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// Party is on whose behalf somebody comes.
type Party struct{ Workspace, User string }

// Bounds are a line's. All of them are for one process: replicas don't know of each other.
type Bounds struct {
	// Places are how many there are.
	Places int
	// OfUser and OfWorkspace are how many of them one user, and all of a workspace's users together, may have; 0 for no bound.
	OfUser, OfWorkspace int
	// Weights are for workspaces that get more places than others while there are too few: how many for each one of theirs; 1
	// for who is not named.
	Weights map[string]int
	// Waiting is how many may wait, WaitingOfWorkspace how many of them one workspace may have; 0 for no bound but that on all.
	Waiting, WaitingOfWorkspace int
	// Patience is how long somebody waits at most.
	Patience time.Duration
	// What names in faults what the places are for, such as "questions".
	What string
}

// Line hands out places. When all are taken, the next that becomes free goes to the workspace that has least of them for its
// weight, among equal ones to who has gone without for longest; and within the workspace to the user by the same rule, and to
// what this user asked first. So each workspace gets its share whatever the others send, nobody is passed over for ever, and no
// place stays empty while somebody may take it. It is safe for concurrent use.
type Line struct {
	mu       sync.Mutex
	bounds   Bounds
	taken    int
	length   int // of those who wait
	closed   bool
	turn     uint64 // counts what is handed out, and who comes
	all      map[string]*group
	waiting  []*group // those of all with somebody who waits
	observer Observer
}

// Observer is told what happens in a line, from under its lock.
type Observer struct {
	Waiting func(n int)            // how many wait now
	Refused func(why fault.Reason) // somebody was refused
}

// group is a workspace in the line: its members are users, each with a queue of their own.
type group struct {
	name    string
	taken   int
	length  int
	since   uint64 // when it last got a place, or came
	members []*member
}

type member struct {
	user  string
	taken int
	since uint64
	queue []*waiter
}

// waiter is somebody who waits. Whoever takes it out of its queue, under the line's lock, settles it.
type waiter struct {
	given chan struct{} // closed when a place is given, or err set
	err   error         // not to be read before
}

// New returns a line in which nobody is.
func New(b Bounds, o Observer) *Line {
	return &Line{bounds: b, all: map[string]*group{}, observer: o}
}

// Use changes the bounds. Who has a place keeps it; who waits goes on waiting, under the new ones.
func (l *Line) Use(b Bounds) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds = b
	l.hand()
}

// Load returns how many places are taken and how many there are, and how many wait.
func (l *Line) Load() (taken, places, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken, l.bounds.Places, l.length
}

// Close refuses everybody who waits, and who comes from now on.
func (l *Line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, g := range slices.Clone(l.waiting) {
		for _, m := range slices.Clone(g.members) {
			for len(m.queue) > 0 {
				w := m.queue[0]
				l.drop(g, m, 0)
				w.err = draining()
				close(w.given)
			}
		}
	}
	l.observer.Waiting(l.length)
}

// Enter returns when the party has a place, which leave gives back; or with a fault when there is none to be had: the line is
// full (Overloaded), the workspace or user has taken all of its own share (RateLimited), the patience is at its end, or ending
// is closed or the line is (Draining). A context that ends takes its caller out of the line at once. wait, which may be nil, is
// called before the caller begins to wait, by the same goroutine.
func (l *Line) Enter(ctx context.Context, p Party, ending <-chan struct{}, wait func()) (leave func(), err error) {
	return l.enterWithin(ctx, p, math.MaxInt64, ending, wait)
}

// EnterWithin is Enter for who has less patience than the line.
func (l *Line) EnterWithin(ctx context.Context, p Party, patience time.Duration) (leave func(), err error) {
	return l.enterWithin(ctx, p, patience, nil, nil)
}

func (l *Line) enterWithin(ctx context.Context, p Party, patience time.Duration, ending <-chan struct{}, wait func()) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w, err := l.enter(p)
	if err != nil {
		return nil, err
	}
	leave = sync.OnceFunc(func() { l.leave(p) })
	if w == nil {
		return leave, nil
	}
	if wait != nil {
		wait()
	}
	l.mu.Lock()
	patience = min(patience, l.bounds.Patience)
	l.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var why func() error
	select {
	case <-w.given:
	case <-ctx.Done():
		why = ctx.Err
	case <-ending:
		why = draining
	case <-timer.C:
		why = func() error { return l.impatient(p, patience) }
	}
	if why != nil && l.abandon(p, w) {
		return nil, why()
	}
	if w.err != nil {
		return nil, w.err
	}
	if ctx.Err() != nil { // the place came in the moment in which nobody wanted it any more
		leave()
		return nil, ctx.Err()
	}
	return leave, nil
}

func draining() error {
	return fault.New(fault.Unavailable, fault.Draining, "this process is stopping; ask again, another one will answer").WithRetryAfter(time.Second)
}

// enter takes a place, or joins the line.
func (l *Line) enter(p Party) (*waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, draining()
	}
	g := l.all[p.Workspace]
	if g == nil {
		l.turn++
		g = &group{name: p.Workspace, since: l.turn}
		l.all[p.Workspace] = g
	}
	m := g.member(p.User)
	if m == nil {
		l.turn++
		m = &member{user: p.User, since: l.turn}
		g.members = append(g.members, m)
	}
	// Whoever waits may only be passed by who could not take a place themselves.
	if l.taken < l.bounds.Places && l.mayTake(g, m) && len(m.queue) == 0 {
		l.give(g, m)
		return nil, nil
	}
	if err := l.room(g); err != nil {
		l.observer.Refused(fault.ReasonOf(err))
		l.tidy(g, m)
		return nil, err
	}
	w := &waiter{given: make(chan struct{})}
	m.queue = append(m.queue, w)
	if g.length == 0 {
		l.waiting = append(l.waiting, g)
	}
	g.length++
	l.length++
	l.observer.Waiting(l.length)
	return w, nil
}

// room refuses who comes to a line that is full. In one that is full of others, whoever came last of the workspace that has most
// there makes room: a burst pushes out itself.
func (l *Line) room(g *group) error {
	if most := l.bounds.WaitingOfWorkspace; most > 0 && g.length >= most {
		return l.crowded()
	}
	if l.length < l.bounds.Waiting {
		return nil
	}
	longest := g
	for _, other := range l.waiting {
		if other.length*l.weight(longest) > longest.length*l.weight(other) {
			longest = other
		}
	}
	if longest == g || longest.length <= g.length+1 {
		return fault.New(fault.Exhausted, fault.Overloaded, "too many %s at once; ask again in a few seconds", l.bounds.What).WithRetryAfter(l.soon())
	}
	m := slices.MaxFunc(longest.members, func(a, b *member) int { return len(a.queue) - len(b.queue) })
	last := m.queue[len(m.queue)-1]
	l.drop(longest, m, len(m.queue)-1)
	last.err = l.crowded()
	close(last.given)
	l.observer.Refused(fault.RateLimited)
	return nil
}

func (l *Line) crowded() *fault.Error {
	return fault.New(fault.Exhausted, fault.RateLimited, "too many %s of this workspace wait already; ask again in a few seconds", l.bounds.What).
		WithRetryAfter(l.soon())
}

// soon is when it makes sense to come back.
func (l *Line) soon() time.Duration {
	return min(max(l.bounds.Patience/4, time.Second), 10*time.Second)
}

// impatient is the fault of who has waited for too long.
func (l *Line) impatient(p Party, patience time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	reason, what := fault.Overloaded, fmt.Sprintf("too many %s at once", l.bounds.What)
	if g := l.all[p.Workspace]; g != nil {
		if m := g.member(p.User); m != nil && !l.mayTake(g, m) {
			reason, what = fault.RateLimited, fmt.Sprintf("as many %s run as this caller may ask at once", l.bounds.What)
		}
	}
	l.observer.Refused(reason)
	return fault.New(fault.Exhausted, reason, "%s, and none has ended in time (waited %s); ask again in a few seconds", what, patience).WithRetryAfter(l.soon())
}

// leave gives a place back.
func (l *Line) leave(p Party) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.all[p.Workspace]
	m := g.member(p.User)
	g.taken--
	m.taken--
	l.taken--
	l.tidy(g, m)
	l.hand()
}

// abandon takes a waiter out of the line. It is false when that has happened already.
func (l *Line) abandon(p Party, w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.all[p.Workspace]
	if g == nil {
		return false
	}
	m := g.member(p.User)
	if m == nil {
		return false
	}
	i := slices.Index(m.queue, w)
	if i < 0 {
		return false
	}
	l.drop(g, m, i)
	l.observer.Waiting(l.length)
	return true
}

// drop takes the i-th waiter of a member out of the line.
func (l *Line) drop(g *group, m *member, i int) {
	m.queue = slices.Delete(m.queue, i, i+1)
	g.length--
	l.length--
	if g.length == 0 {
		l.waiting = slices.DeleteFunc(l.waiting, func(other *group) bool { return other == g })
	}
	l.tidy(g, m)
}

// tidy forgets who has no place and does not wait, so that the line remembers nobody.
func (l *Line) tidy(g *group, m *member) {
	if m.taken == 0 && len(m.queue) == 0 {
		g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == m })
	}
	if len(g.members) == 0 {
		delete(l.all, g.name)
	}
}

// hand gives out what is free.
func (l *Line) hand() {
	handed := false
	for l.taken < l.bounds.Places {
		g, m := l.next()
		if g == nil {
			break
		}
		w := m.queue[0]
		l.give(g, m)
		l.drop(g, m, 0)
		close(w.given)
		handed = true
	}
	if handed {
		l.observer.Waiting(l.length)
	}
}

// next returns whose turn it is; nil when nobody who waits may take a place.
func (l *Line) next() (*group, *member) {
	var first *group
	var its *member
	for _, g := range l.waiting {
		if first != nil && !l.before(g, first) {
			continue
		}
		if m := l.nextOf(g); m != nil {
			first, its = g, m
		}
	}
	return first, its
}

// before reports whether a place goes to a rather than to b: what each would have for its weight, then who has gone without
// for longer.
func (l *Line) before(a, b *group) bool {
	if x, y := (a.taken+1)*l.weight(b), (b.taken+1)*l.weight(a); x != y {
		return x < y
	}
	return a.since < b.since
}

func (l *Line) nextOf(g *group) *member {
	var first *member
	for _, m := range g.members {
		if len(m.queue) == 0 || !l.mayTake(g, m) {
			continue
		}
		if first == nil || m.taken < first.taken || m.taken == first.taken && m.since < first.since {
			first = m
		}
	}
	return first
}

func (l *Line) mayTake(g *group, m *member) bool {
	return within(g.taken, l.bounds.OfWorkspace) && within(m.taken, l.bounds.OfUser)
}

func within(n, limit int) bool { return limit == 0 || n < limit }

func (l *Line) weight(g *group) int { return max(l.bounds.Weights[g.name], 1) }

func (l *Line) give(g *group, m *member) {
	l.turn++
	l.taken++
	g.taken++
	m.taken++
	g.since, m.since = l.turn, l.turn
}

func (g *group) member(user string) *member {
	for _, m := range g.members {
		if m.user == user {
			return m
		}
	}
	return nil
}

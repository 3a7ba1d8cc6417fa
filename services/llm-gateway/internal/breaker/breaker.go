// Package breaker leaves alone what fails too often, and what has said when to come back. A [Breaker] counts how the latest
// uses of one thing ended. When too many of them failed it opens: nobody uses the thing for a while, then one at a time may try,
// until one of these probes shows a sign of life.
//
// failsafe-go has a breaker, too. In that one a probe always counts as good or bad: one whose caller went away before it was
// known has to lie, or takes its place with it for ever.
package breaker

import (
	"sync"
	"time"
)

// Config says when a Breaker opens, and for how long.
type Config struct {
	// Failures among the latest Of uses open it; 0 for never.
	Failures, Of int
	// Rest is how long it is open before the first probe.
	Rest time.Duration
}

// lately is how old a use may be that counts.
const lately = time.Minute

// State is a Breaker's.
type State uint8

// The states.
const (
	// Closed is the ordinary one: everybody may.
	Closed State = iota
	// Open is one in which nobody may.
	Open
	// HalfOpen is one in which a single probe may.
	HalfOpen
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Open:
		return "open"
	case HalfOpen:
		return "half_open"
	default:
		return "closed"
	}
}

// Verdict is what a use says of the thing that was used.
type Verdict uint8

// The verdicts.
const (
	// Neutral says nothing: the caller went away, or asked what can't be.
	Neutral Verdict = iota
	// Good says that it works.
	Good
	// Bad says that it doesn't.
	Bad
)

// Breaker is for one thing. It is safe for concurrent use.
type Breaker struct {
	changed func(State)

	mu      sync.Mutex
	cfg     Config
	state   State
	until   time.Time // Open until then
	rests   time.Time // what it is for has said to come back then
	probing bool
	epoch   uint64 // counts the changes of state: a use that began in another one says nothing about this one
	latest  []use  // the latest uses, oldest first, at most cfg.Of
}

type use struct {
	at  time.Time
	bad bool
}

// New returns a closed Breaker. changed, which may be nil, is told of each new state, from under the Breaker's lock.
func New(cfg Config, changed func(State)) *Breaker { return &Breaker{cfg: cfg, changed: changed} }

// Use changes the bounds. What is known stays.
func (b *Breaker) Use(cfg Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg = cfg
	if cfg.Failures == 0 {
		b.turn(Closed)
	}
}

// Report is what a Breaker says at some time.
type Report struct {
	State State
	// Limited says that it rests because what it is for asked for it; its State is Open then.
	Limited bool
	// Wait is how long it stays Open.
	Wait time.Duration
	// Free says that a use may begin.
	Free bool
}

// Look says how things are.
func (b *Breaker) Look(now time.Time) Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.look(now)
}

func (b *Breaker) look(now time.Time) Report {
	switch {
	case b.rests.After(now) && !(b.state == Open && b.until.After(b.rests)):
		return Report{State: Open, Limited: true, Wait: b.rests.Sub(now)}
	case b.state == Open && b.until.After(now):
		return Report{State: Open, Wait: b.until.Sub(now)}
	case b.state == Closed:
		return Report{Free: true}
	default: // also Open whose time is over: the next use is a probe
		return Report{State: HalfOpen, Free: !b.probing}
	}
}

// Take begins a use. The Permit is nil when none may begin.
func (b *Breaker) Take(now time.Time) (*Permit, Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.look(now)
	if !r.Free {
		return nil, r
	}
	if r.State == HalfOpen {
		b.turn(HalfOpen)
		b.probing = true
	}
	return &Permit{b: b, epoch: b.epoch, probe: r.State == HalfOpen}, r
}

// RestUntil has nobody use the thing before then: it has said so itself.
func (b *Breaker) RestUntil(then time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if then.After(b.rests) {
		b.rests = then
	}
}

// turn changes the state.
func (b *Breaker) turn(s State) {
	if b.state == s {
		return
	}
	b.state, b.probing, b.latest = s, false, nil
	b.epoch++
	if b.changed != nil {
		b.changed(s)
	}
}

// Permit is one use, from its beginning to its end. It is for one goroutine.
type Permit struct {
	b     *Breaker
	epoch uint64
	probe bool
	done  bool
}

// Alive says that the thing works so far. A probe has found out enough: others need not wait for its end.
func (p *Permit) Alive() {
	if !p.probe {
		return
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.epoch != p.b.epoch {
		return
	}
	p.b.turn(Closed)
	p.probe, p.epoch = false, p.b.epoch
}

// Done ends the use.
func (p *Permit) Done(v Verdict, now time.Time) {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.done || p.epoch != b.epoch {
		return
	}
	p.done = true
	switch {
	case p.probe && v == Good:
		b.turn(Closed)
	case p.probe && v == Bad:
		b.until = now.Add(b.cfg.Rest)
		b.turn(Open)
	case p.probe:
		b.probing = false // the next one finds out
	case v != Neutral:
		b.count(use{at: now, bad: v == Bad}, now)
	}
}

func (b *Breaker) count(u use, now time.Time) {
	if b.cfg.Failures == 0 {
		return
	}
	b.latest = append(b.latest, u)
	b.latest = b.latest[max(0, len(b.latest)-b.cfg.Of):]
	bad := 0
	for _, u := range b.latest {
		if u.bad && now.Sub(u.at) <= lately {
			bad++
		}
	}
	if bad >= b.cfg.Failures {
		b.until = now.Add(b.cfg.Rest)
		b.turn(Open)
	}
}

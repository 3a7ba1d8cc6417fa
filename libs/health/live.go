package health

import (
	"sync"
	"sync/atomic"
	"time"
)

// Liveness watches a process's own loops through the pulses they give. A nil *Liveness is usable and watches nothing, so
// that tests need none. Safe for concurrent use.
type Liveness struct {
	clock func() time.Time

	mu     sync.Mutex
	pulses map[*Pulse]struct{}
}

// NewLiveness returns a Liveness without pulses, which is alive. clock is time.Now when nil.
func NewLiveness(clock func() time.Time) *Liveness {
	if clock == nil {
		clock = time.Now
	}
	return &Liveness{clock: clock, pulses: map[*Pulse]struct{}{}}
}

// Pulse is one loop's sign of life.
type Pulse struct {
	name       string
	maxSilence time.Duration
	live       *Liveness
	last       atomic.Int64 // Unix nanoseconds
}

// NewPulse starts watching a loop, which must call Beat more often than every maxSilence and Stop when it ends. The first
// beat is now.
func (l *Liveness) NewPulse(name string, maxSilence time.Duration) *Pulse {
	p := &Pulse{name: name, maxSilence: maxSilence, live: l}
	p.Beat()
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pulses[p] = struct{}{}
	}
	return p
}

// Beat says that the loop goes round. It is cheap enough for every turn.
func (p *Pulse) Beat() {
	if p.live != nil {
		p.last.Store(p.live.clock().UnixNano())
	}
}

// Interval is how often a loop that waits for work should wake up to beat: a third of what is allowed.
func (p *Pulse) Interval() time.Duration { return p.maxSilence / 3 }

// Stop ends the watch. It may be called more than once.
func (p *Pulse) Stop() {
	if p.live == nil {
		return
	}
	p.live.mu.Lock()
	defer p.live.mu.Unlock()
	delete(p.live.pulses, p)
}

// Silent is a loop that has not beaten within its bound.
type Silent struct {
	Name       string  `json:"name"`
	Seconds    float64 `json:"silent_seconds"`
	MaxSeconds float64 `json:"max_seconds"`
}

// Silent returns the loops that are wedged; none means alive.
func (l *Liveness) Silent() []Silent {
	if l == nil {
		return nil
	}
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	var silent []Silent
	for p := range l.pulses {
		if d := now.Sub(time.Unix(0, p.last.Load())); d > p.maxSilence {
			silent = append(silent, Silent{Name: p.name, Seconds: d.Seconds(), MaxSeconds: p.maxSilence.Seconds()})
		}
	}
	return silent
}

// Package repeat waits before things are done again, and bounds how often they are, so that what is down is not asked several
// times as much as what works.
package repeat

import (
	"sync"
	"time"
)

// Allowance bounds repeats: a fifth of the calls, ten a second, and a burst of as many as may be under way on a replica that
// dies. Its zero value is full.
type Allowance struct {
	mu    sync.Mutex
	spent float64
	last  time.Time
}

const (
	allowedPerCall   = .2
	allowedPerSecond = 10
	allowedAtOnce    = 300
)

// Call notes a call that is no repeat.
func (a *Allowance) Call() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent = max(0, a.spent-allowedPerCall)
}

// Take says whether one more repeat is allowed.
func (a *Allowance) Take(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.last.IsZero() {
		a.spent = max(0, a.spent-allowedPerSecond*now.Sub(a.last).Seconds())
	}
	a.last = now
	if a.spent+1 > allowedAtOnce {
		return false
	}
	a.spent++
	return true
}

package fair

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/libs/recent"
)

// The bounds of what is remembered of callers: how many, and how long after their last call. Whoever is forgotten earlier, which
// takes that many others, begins with a whole burst again.
const (
	maxRemembered = 1 << 14
	remembered    = 10 * time.Minute
)

// Meters counts how often callers do something. It is safe for concurrent use, and remembers a bounded number of callers.
type Meters struct {
	mu     sync.Mutex
	meters *recent.Cache[string, *rate.Limiter]
}

// NewMeters returns meters that have counted nothing.
func NewMeters() *Meters {
	return &Meters{meters: recent.New[string, *rate.Limiter](maxRemembered, remembered)}
}

// Take counts one use by name, of which there may be burst at once and limit in a second; it returns how long it takes until the
// next one may come, 0 when this one may.
func (m *Meters) Take(name string, limit rate.Limit, burst int, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	meter, ok := m.meters.Get(name)
	if !ok || meter.Limit() != limit || meter.Burst() != burst { // the configuration has changed: everybody begins anew
		meter = rate.NewLimiter(limit, burst)
		m.meters.Put(name, meter, 1)
	}
	r := meter.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now) // who is refused has taken nothing
	}
	return wait
}

// Questions bounds how often questions are asked. It is safe for concurrent use.
type Questions struct{ users, workspaces *Meters }

// NewQuestions returns a bound for which nothing has been asked.
func NewQuestions() *Questions { return &Questions{NewMeters(), NewMeters()} }

// Take counts a question, or refuses it.
func (q *Questions) Take(c Config, p line.Party, now time.Time) error {
	for _, of := range []struct {
		meters *Meters
		Share
		name, whose string
	}{{q.users, c.User, p.User, "you have"}, {q.workspaces, c.Workspace, p.Workspace, "this workspace has"}} {
		if of.Rate == 0 {
			continue
		}
		burst := of.Burst
		if burst == 0 {
			burst = max(of.Rate/10, 1)
		}
		if wait := of.meters.Take(of.name, rate.Limit(of.Rate)/60, burst, now); wait > 0 {
			return limited(wait, "%s asked as many questions as allowed, %d in a minute; ask again in %s", of.whose, of.Rate, shown(wait))
		}
	}
	return nil
}

// Calls bounds what else is called. It is safe for concurrent use.
type Calls struct {
	meters *Meters

	mu      sync.Mutex
	running map[string]int // by user; as many at most as there are calls
}

// NewCalls returns a bound for which nothing has been called.
func NewCalls() *Calls { return &Calls{meters: NewMeters(), running: map[string]int{}} }

// Begin counts a call, or refuses it. end is to be called when the call has ended; more than once does no harm.
func (c *Calls) Begin(limits CallLimits, user string, now time.Time) (end func(), err error) {
	if limits.Rate > 0 {
		burst := limits.Burst
		if burst == 0 {
			burst = limits.Rate
		}
		if wait := c.meters.Take(user, rate.Limit(limits.Rate), burst, now); wait > 0 {
			return nil, limited(wait, "too many calls, %d in a second are allowed; call again in %s", limits.Rate, shown(wait))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[user] >= limits.Running {
		return nil, limited(time.Second, "%d calls are under way already, as many as one caller may have; wait for one of them to end", limits.Running)
	}
	c.running[user]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.running[user]--; c.running[user] == 0 {
			delete(c.running, user)
		}
	}), nil
}

func limited(wait time.Duration, format string, a ...any) error {
	return fault.New(fault.Exhausted, fault.RateLimited, format, a...).WithRetryAfter(max(wait, time.Millisecond))
}

// shown rounds up to what a person reads.
func shown(d time.Duration) time.Duration {
	if d < time.Second {
		return (d + 9*time.Millisecond).Truncate(10 * time.Millisecond)
	}
	return (d + time.Second - 1).Truncate(time.Second)
}

package audit

import (
	"sync"
	"time"
)

const (
	// denyEvery is how long denials that are alike are counted together.
	denyEvery = 10 * time.Second
	// maxDenials bounds how many different ones are counted at once. What comes beyond is counted as one, whoever it is from.
	maxDenials = 1024
)

// denials counts those that are alike.
type denials struct {
	mu    sync.Mutex
	under map[denial]*counted
}

// denial is what is alike: who or, where that is not known, from where; and what and why.
type denial struct{ who, action, reason string }

type counted struct {
	event Event // the last one
	more  uint32
	until time.Time
}

func newDenials() *denials { return &denials{under: map[denial]*counted{}} }

// kind returns what e is counted as. Of who can't say who they are, the address and the reason count: they may call anything.
func kind(e Event) denial {
	if e.Actor == "" {
		return denial{who: "address " + e.Address, reason: e.Reason}
	}
	return denial{who: e.Actor + " in " + e.Workspace, action: e.Action, reason: e.Reason}
}

// first counts e and reports whether it is the first of its kind for a while.
func (d *denials) first(e Event, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := kind(e)
	if _, ok := d.under[k]; !ok && len(d.under) >= maxDenials {
		k = denial{reason: e.Reason} // too many at once to tell apart
		e.Actor, e.Address, e.Workspace, e.Action = "", "", "", ""
	}
	c, ok := d.under[k]
	if !ok {
		d.under[k] = &counted{event: e, until: now.Add(denyEvery)}
		return true
	}
	c.event = e
	c.more++
	return false
}

// over forgets the kinds whose time is up and returns an event for each that was counted since its first one.
func (d *denials) over(now time.Time) []Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Event
	for k, c := range d.under {
		if now.Before(c.until) {
			continue
		}
		delete(d.under, k)
		if c.more > 0 {
			c.event.Count = c.more
			out = append(out, c.event)
		}
	}
	return out
}

package route

import (
	"cmp"
	"math"
	"slices"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/sticky"
)

// ladder is a route that is ready to be used: its rungs in the configured order.
type ladder struct {
	rungs    []*rung
	weighted int // how many of them have a weight
	Route
}

// order returns the rungs as one request tries them. Those with weights come first: each is the first with the probability of
// its weight, and of the others the next. A session gets the same order as long as weights and targets are the same, and
// mostly the same when they change.
func (l *ladder) order(session string, random func() float64) []*rung {
	if l.weighted < 2 {
		return l.rungs
	}
	type scored struct {
		*rung
		score float64
	}
	weighted := make([]scored, 0, l.weighted)
	var others []*rung
	for _, r := range l.rungs {
		if r.Weight == 0 {
			others = append(others, r)
			continue
		}
		var u float64
		if session == "" {
			u = random()
		} else {
			u = sticky.Point(session, r.Name, r.Model)
		}
		weighted = append(weighted, scored{r, -math.Log(1-u) / float64(r.Weight)})
	}
	slices.SortStableFunc(weighted, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	out := make([]*rung, 0, len(l.rungs))
	for _, s := range weighted {
		out = append(out, s.rung)
	}
	return append(out, others...)
}

package turnbench

import (
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
)

// Latency is how long things took, in milliseconds; nearest-rank percentiles.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
}

func latency(took []time.Duration) Latency {
	l := measure.Percentiles(took)
	return Latency{milliseconds(l.P50), milliseconds(l.P95), milliseconds(l.P99)}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Side is what one kind of work looked like: turns, or what they are compared with.
type Side struct {
	Count      int     `json:"count"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error,omitempty"`
	PerSecond  float64 `json:"per_second"` // successful ones, while the load ran
	Latency    Latency `json:"latency"`
	FirstToken Latency `json:"first_token"`
}

// summarise makes a side of what succeeded; what failed is counted.
func summarise(all []outcome, wall time.Duration) Side {
	var s Side
	var took, first []time.Duration
	for _, o := range all {
		if o.err != nil {
			if s.Errors++; s.Errors == 1 {
				s.FirstError = o.err.Error()
			}
			continue
		}
		took = append(took, o.took)
		if o.firstToken > 0 {
			first = append(first, o.firstToken)
		}
	}
	s.Count = len(took)
	if wall > 0 {
		s.PerSecond = float64(len(took)) / wall.Seconds()
	}
	s.Latency, s.FirstToken = latency(took), latency(first)
	return s
}

// Ratio compares medians measured side by side: over the whole run, and between which values it lay in the rounds. It is 0
// where one of the two was not measured.
type Ratio struct {
	Value float64 `json:"value"`
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
}

// ratio divides the median of a by that of b, over all rounds and in each.
func ratio(a, b [][]outcome) Ratio {
	r := Ratio{Value: quotient(slices.Concat(a...), slices.Concat(b...))}
	for i := range min(len(a), len(b)) {
		q := quotient(a[i], b[i])
		if q == 0 {
			continue
		}
		if r.Least == 0 || q < r.Least {
			r.Least = q
		}
		r.Most = max(r.Most, q)
	}
	return r
}

func quotient(a, b []outcome) float64 {
	above, below := summarise(a, 0).Latency.P50, summarise(b, 0).Latency.P50
	if below == 0 {
		return 0
	}
	return above / below
}

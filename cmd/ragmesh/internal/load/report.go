package load

import (
	"math"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
)

// Report is what a load came to. Times are milliseconds.
type Report struct {
	Rate     float64 `json:"rate"`
	Duration float64 `json:"duration_s"` // for how long questions were asked
	// Planned questions were to be asked; Sent were, Unsent found no place among those under way within their time. They count
	// as failed.
	Planned   int `json:"planned"`
	Sent      int `json:"sent"`
	Unsent    int `json:"unsent"`
	Answered  int `json:"answered"`
	Abstained int `json:"abstained"`
	Failed    int `json:"failed"`
	Degraded  int `json:"degraded"`
	// Share is answered and abstained, of planned.
	Share        float64         `json:"share"`
	Failures     []measure.Count `json:"failures"`
	Degradations []measure.Count `json:"degradations"` // stage:reason
	// Retried questions were asked again with the same request id; Repeats says how often, by why. Restarted answers were begun
	// again by the server or after a repeat.
	Retried   int             `json:"retried"`
	Repeats   []measure.Count `json:"repeats"`
	Restarted int             `json:"restarted"`
	// Duplicates are turns that more than one question led to; there must be none.
	Duplicates int `json:"duplicates"`

	// Latency is from the moment a question was to be asked to its turn's end, FirstToken to the first text. Of answered and
	// abstained ones.
	Latency    Latency `json:"latency"`
	FirstToken Latency `json:"first_token"`
	// LongestGap is the longest time without a turn's good end.
	LongestGap      float64 `json:"longest_gap_ms"`
	LongestGapAt    float64 `json:"longest_gap_at_s"`
	DegradedSeconds int     `json:"degraded_seconds"`
	FailedSeconds   int     `json:"failed_seconds"`
	// Seconds are those in which a turn ended degraded or failed, or was asked again.
	Seconds []Second `json:"seconds"`
}

// Latency is how long things took, in milliseconds; nearest-rank percentiles.
type Latency struct {
	Mean float64 `json:"mean_ms"`
	P50  float64 `json:"p50_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

// Second is one second of the load, by when turns ended.
type Second struct {
	At       int     `json:"at_s"`
	Ended    int     `json:"ended"`
	Degraded int     `json:"degraded"`
	Failed   int     `json:"failed"`
	Retried  int     `json:"retried"`
	Slowest  float64 `json:"slowest_ms"`
}

func newReport(o Options, results []result, planned, unsent int, asked time.Duration) *Report {
	r := &Report{Rate: o.Rate, Duration: asked.Seconds(), Planned: planned, Sent: len(results), Unsent: unsent, Failed: unsent}
	var took, first []time.Duration
	var failures, degradations, repeats []string
	seconds := map[int]*Second{}
	turns := map[string]bool{}
	for range unsent {
		failures = append(failures, "not sent: too many under way")
	}
	for _, res := range results {
		at := int(res.end.Seconds())
		s := seconds[at]
		if s == nil {
			s = &Second{At: at}
			seconds[at] = s
		}
		s.Ended++
		s.Slowest = max(s.Slowest, milliseconds(res.end-res.due))
		switch {
		case res.failure != "":
			r.Failed++
			s.Failed++
			failures = append(failures, res.failure)
		case res.outcome == abstained:
			r.Abstained++
		default:
			r.Answered++
		}
		if res.failure == "" {
			took = append(took, res.end-res.due)
			if res.firstToken > 0 {
				first = append(first, res.firstToken)
			}
		}
		if len(res.degraded) > 0 {
			r.Degraded++
			s.Degraded++
			degradations = append(degradations, res.degraded...)
		}
		if len(res.repeats) > 0 {
			r.Retried++
			s.Retried++
			repeats = append(repeats, res.repeats...)
		}
		if res.restarts > 0 {
			r.Restarted++
		}
		if res.turn != "" && turns[res.turn] {
			r.Duplicates++
		}
		turns[res.turn] = true
	}
	if planned > 0 {
		r.Share = float64(r.Answered+r.Abstained) / float64(planned)
	}
	r.Failures, r.Degradations, r.Repeats = measure.Counts(failures), measure.Counts(degradations), measure.Counts(repeats)
	r.Latency, r.FirstToken = latency(took), latency(first)
	r.gap(results)
	r.Seconds = []Second{}
	for _, s := range seconds {
		if s.Degraded > 0 {
			r.DegradedSeconds++
		}
		if s.Failed > 0 {
			r.FailedSeconds++
		}
		if s.Degraded+s.Failed+s.Retried > 0 {
			r.Seconds = append(r.Seconds, *s)
		}
	}
	slices.SortFunc(r.Seconds, func(a, b Second) int { return a.At - b.At })
	return r
}

// gap finds the longest time without a good end, from the load's beginning on.
func (r *Report) gap(results []result) {
	ends := []time.Duration{0}
	for _, res := range results {
		if res.failure == "" {
			ends = append(ends, res.end)
		}
	}
	slices.Sort(ends)
	if asked := time.Duration(r.Duration * float64(time.Second)); asked > ends[len(ends)-1] {
		ends = append(ends, asked)
	}
	for i := range ends[1:] {
		if gap := milliseconds(ends[i+1] - ends[i]); gap > r.LongestGap {
			r.LongestGap, r.LongestGapAt = gap, ends[i].Seconds()
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func latency(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	at := func(p float64) float64 { return milliseconds(took[int(math.Ceil(p/100*float64(len(took))))-1]) }
	return Latency{Mean: milliseconds(sum / time.Duration(len(took))), P50: at(50), P95: at(95), P99: at(99), Max: at(100)}
}

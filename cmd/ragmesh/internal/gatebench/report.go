package gatebench

import (
	"fmt"
	"slices"
	"time"
)

// Row is one target under one kind of load.
type Row struct {
	Work        string `json:"work"` // plain, stream, or paced
	Concurrency int    `json:"concurrency"`
	Target      string `json:"target"`
	Count       int    `json:"count"`
	Errors      int    `json:"errors"`
	FirstError  string `json:"first_error,omitempty"`
	// PerSecond is the rate over the rounds.
	PerSecond float64 `json:"per_second"`
	// CPU is the target's own for one request, in microseconds: its median over the rounds, and between which values it lay.
	CPU      float64 `json:"cpu_us"`
	LeastCPU float64 `json:"cpu_us_least"`
	MostCPU  float64 `json:"cpu_us_most"`
	// P50, P95 and P99 are of whole answers, First of their first text, in milliseconds.
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	First float64 `json:"first_p50_ms"`
	// RSS is the most that was seen of its memory, in bytes.
	RSS int64 `json:"rss,omitempty"`

	rounds []round
}

// round is one stretch of a row.
type round struct {
	phase
	cpu time.Duration
}

// sum makes a row's figures of its rounds.
func (r *Row) sum() {
	var took, first []time.Duration
	var cpus []float64
	var wall time.Duration
	for _, round := range r.rounds {
		ok := 0
		for _, reply := range round.replies {
			if reply.err != nil {
				if r.Errors++; r.FirstError == "" {
					r.FirstError = reply.err.Error()
				}
				continue
			}
			ok++
			took, first = append(took, reply.took), append(first, reply.first)
		}
		wall += round.wall
		if ok > 0 {
			cpus = append(cpus, float64(round.cpu.Nanoseconds())/1e3/float64(ok))
		}
	}
	if r.Count = len(took); r.Count == 0 {
		return
	}
	slices.Sort(cpus)
	r.CPU, r.LeastCPU, r.MostCPU = median(cpus), cpus[0], cpus[len(cpus)-1]
	r.PerSecond = float64(r.Count) / wall.Seconds()
	slices.Sort(took)
	slices.Sort(first)
	r.P50, r.P95, r.P99, r.First = at(took, 50), at(took, 95), at(took, 99), at(first, 50)
}

func median(sorted []float64) float64 {
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// at is a nearest-rank percentile in milliseconds.
func at(sorted []time.Duration, percent int) float64 {
	i := max(0, (len(sorted)*percent+99)/100-1)
	return float64(sorted[i].Nanoseconds()) / 1e6
}

// Endurance is many requests in one process.
type Endurance struct {
	Requests int `json:"requests"`
	Errors   int `json:"errors"`
	// RSS is memory after each twentieth of the requests, in bytes.
	RSS []int64 `json:"rss"`
	// GoroutinesBefore and GoroutinesAfter are of the process at rest.
	GoroutinesBefore int `json:"goroutines_before"`
	GoroutinesAfter  int `json:"goroutines_after"`
}

// Growth is how much more memory the last quarter had than the second; the first warms up.
func (e Endurance) Growth() float64 {
	n := len(e.RSS)
	if n < 8 {
		return 0
	}
	mean := func(part []int64) (sum float64) {
		for _, v := range part {
			sum += float64(v)
		}
		return sum / float64(len(part))
	}
	return mean(e.RSS[n-n/4:])/mean(e.RSS[n/4:n/2]) - 1
}

// Disconnects are callers who leave in the middle of a stream.
type Disconnects struct {
	Count int `json:"count"`
	// Longest is from a caller's leaving to the end of the model's work for it, in milliseconds, and Tokens the most that it
	// was made to produce meanwhile.
	Longest float64 `json:"longest_ms"`
	Tokens  uint64  `json:"tokens"`
}

// Ledger compares what the ledger says with what the mock served.
type Ledger struct {
	Requests int `json:"requests"`
	Kills    int `json:"kills"`
	// Served is what the mock put on its bill, Settled what the ledger has of it, both in tokens. Unsettled requests are those
	// whose end it did not see.
	Served    uint64 `json:"served_tokens"`
	Settled   uint64 `json:"settled_tokens"`
	Unsettled uint64 `json:"unsettled_requests"`
	// CutOff are requests that were under way at one more kill, CutOffUnsettled those of them that the ledger has.
	CutOff          int    `json:"cut_off"`
	CutOffUnsettled uint64 `json:"cut_off_unsettled"`
}

// Report is a whole measurement.
type Report struct {
	Version     string       `json:"version"`
	CPUs        int          `json:"cpus"`
	Pinned      bool         `json:"pinned"`
	LoadAverage string       `json:"load_average"` // at the end
	Rows        []*Row       `json:"rows"`
	Endurance   *Endurance   `json:"endurance,omitempty"`
	Disconnects *Disconnects `json:"disconnects,omitempty"`
	Ledger      *Ledger      `json:"ledger,omitempty"`
}

// Target is what must hold.
type Target struct {
	Name     string  `json:"name"`
	Limit    float64 `json:"limit"`
	Measured float64 `json:"measured"`
	Met      bool    `json:"met"`
}

func (r *Report) row(work string, concurrency int, target string) *Row {
	for _, row := range r.Rows {
		if row.Work == work && row.Concurrency == concurrency && row.Target == target && row.Count > 0 {
			return row
		}
	}
	return nil
}

// Targets compares what was measured with what must hold; what was not measured is left out.
func (r *Report) Targets() []Target {
	var all []Target
	add := func(name string, limit, measured float64) {
		all = append(all, Target{name, limit, measured, measured <= limit})
	}
	quotient := func(name string, limit float64, work string, concurrency int, floor Floor, of func(*Row) float64) {
		ours, theirs := r.row(work, concurrency, Ours), r.row(work, concurrency, string(floor))
		if ours != nil && theirs != nil && of(theirs) > 0 {
			add(name, limit, of(ours)/of(theirs))
		}
	}
	cpu := func(row *Row) float64 { return row.CPU }
	for _, c := range []int{32, 256} {
		quotient(fmt.Sprintf("CPU per request at %d : proxy that decodes and encodes", c), 1.3, Plain, c, Recode, cpu)
		quotient(fmt.Sprintf("CPU per streamed token at %d : bare proxy", c), 1.5, Stream, c, Proxy, cpu)
	}
	added := func(name, work string, of func(*Row) float64) {
		direct, ours, theirs := r.row(work, 1, Direct), r.row(work, 1, Ours), r.row(work, 1, string(Proxy))
		if direct != nil && ours != nil && theirs != nil && of(theirs) > of(direct) {
			add(name, 2, (of(ours)-of(direct))/(of(theirs)-of(direct)))
		}
	}
	added("added p50 at 1 : bare proxy's", Plain, func(row *Row) float64 { return row.P50 })
	added("added time to first token at 1 : bare proxy's", Stream, func(row *Row) float64 { return row.First })
	for c, limit := range map[int]float64{32: 50, 256: 100} {
		most := int64(0)
		for _, work := range []string{Plain, Stream} {
			if row := r.row(work, c, Ours); row != nil {
				most = max(most, row.RSS)
			}
		}
		if most > 0 {
			add(fmt.Sprintf("RSS at %d, MB", c), limit, float64(most)/1e6)
		}
	}
	if r.Endurance != nil {
		add(fmt.Sprintf("growth of RSS over %d requests, %%", r.Endurance.Requests), 10, 100*r.Endurance.Growth())
	}
	if r.Disconnects != nil {
		add("disconnect to the end of the provider's work, ms", 100, r.Disconnects.Longest)
	}
	if l := r.Ledger; l != nil {
		add(fmt.Sprintf("tokens that the ledger has less or more than were served, %d requests, %d kills", l.Requests, l.Kills), 0, apart(l.Served, l.Settled))
		add(fmt.Sprintf("of %d requests cut off by a kill, those that the ledger lost", l.CutOff), 0, apart(uint64(max(l.CutOff, 0)), l.CutOffUnsettled))
	}
	return all
}

func apart(a, b uint64) float64 {
	if a > b {
		return float64(a - b)
	}
	return float64(b - a)
}

package turnbench

import (
	"runtime"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// The targets, for one process on one machine.
const (
	MaxCPUPerTurn = 2.0         // ms
	MaxIdleRSS    = 120_000_000 // bytes
	MaxLoadedRSS  = 300_000_000
)

// Report is what was measured.
type Report struct {
	Version string         `json:"version"`
	Machine Machine        `json:"machine"`
	Shape   string         `json:"shape"` // all-in-one or mesh
	StartMS float64        `json:"start_ms"`
	Corpus  Taken          `json:"corpus"`
	Started Memory         `json:"started"` // ready, before any work
	Idle    Idle           `json:"idle"`    // after ingestion and warm-up
	Pairs   []Pair         `json:"pairs"`
	Mock    mockllm.Counts `json:"mock"`
}

// Machine is where it was measured.
type Machine struct {
	CPUs int    `json:"cpus"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
	Go   string `json:"go"`
}

// Taken is what was taken in before.
type Taken struct {
	Documents int     `json:"documents"`
	Chunks    int     `json:"chunks"`
	Questions int     `json:"questions"`
	Took      float64 `json:"took_ms"`
}

// Memory is what the processes hold, added up.
type Memory struct {
	RSS        int64 `json:"rss_bytes"`
	Goroutines int   `json:"goroutines"`
}

func memory(u spawn.Usage) Memory { return Memory{u.RSS, u.Goroutines} }

// Idle is a system that does nothing.
type Idle struct {
	Memory
	CPU float64 `json:"cpu_ms_per_second"`
}

// Pair is a model at a concurrency.
type Pair struct {
	Model       string `json:"model"`
	Concurrency int    `json:"concurrency"`

	Turns    Side `json:"turns"`
	Direct   Side `json:"direct"`   // the model alone
	Sequence Side `json:"sequence"` // search, then the model

	// ToDirect and ToSequence divide the median turn by the median of the other.
	ToDirect   Ratio `json:"ratio_to_direct"`
	ToSequence Ratio `json:"ratio_to_sequence"`
	// Added is the median turn less the median of its slowest parallel stage and that of calling the model directly.
	Added float64 `json:"added_p50_ms"`
	// Closing is the median from the last piece of the answer to the turn's end: nearly all of it is storing the turn.
	Closing float64 `json:"closing_p50_ms"`
	// CPU is what the processes spent for a turn, user and system, less what they spend idle.
	CPU float64 `json:"cpu_ms_per_turn"`
	// DirectCPU is what one direct call costs, client and mock together: how fast this machine is at such work just now.
	DirectCPU float64 `json:"direct_cpu_ms_per_call"`
	Loaded    Memory  `json:"loaded"` // at the end of the load

	Outcomes     []measure.Count    `json:"outcomes"`
	Degradations []measure.Count    `json:"degradations"`
	Stages       map[string]float64 `json:"stage_p50_ms"` // as turns record them
}

func newReport(o Options, startup time.Duration) *Report {
	shape := "all-in-one"
	if o.Mesh {
		shape = "mesh"
	}
	return &Report{
		Version: telemetry.Version, Shape: shape, StartMS: milliseconds(startup),
		Machine: Machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()},
	}
}

// sides is what a pair's rounds gave.
type sides struct {
	direct, sequence, turns [][]outcome
	walls                   [3]time.Duration
	busy                    time.Duration // of the system, for the turns
	own                     time.Duration // of this process, for the direct calls
}

func newPair(model string, workers int, s sides, loaded spawn.Usage) Pair {
	turns := slices.Concat(s.turns...)
	p := Pair{
		Model: model, Concurrency: workers, Loaded: memory(loaded),
		Direct:   summarise(slices.Concat(s.direct...), s.walls[0]),
		Sequence: summarise(slices.Concat(s.sequence...), s.walls[1]),
		Turns:    summarise(turns, s.walls[2]),
		ToDirect: ratio(s.turns, s.direct), ToSequence: ratio(s.turns, s.sequence),
		Stages: map[string]float64{},
	}
	var outcomes, degraded []string
	var slowest, closing []time.Duration
	stages := map[string][]time.Duration{}
	for _, o := range turns {
		if o.turn == nil {
			continue
		}
		outcomes = append(outcomes, o.turn.outcome)
		degraded = append(degraded, o.turn.degraded...)
		slowest, closing = append(slowest, o.turn.slowest), append(closing, o.turn.closing)
		for name, took := range o.turn.stages {
			stages[name] = append(stages[name], took)
		}
	}
	for name, took := range stages {
		p.Stages[name] = latency(took).P50
	}
	p.Outcomes, p.Degradations = measure.Counts(outcomes), measure.Counts(degraded)
	p.Closing = latency(closing).P50
	p.Added = p.Turns.Latency.P50 - latency(slowest).P50 - p.Direct.Latency.P50
	if len(turns) > 0 {
		p.CPU = milliseconds(s.busy) / float64(len(turns))
	}
	if p.Direct.Count > 0 {
		p.DirectCPU = milliseconds(s.own) / float64(p.Direct.Count)
	}
	return p
}

// Target is a bound and what was measured against it.
type Target struct {
	Name     string  `json:"name"`
	Measured float64 `json:"measured"`
	Limit    float64 `json:"limit"`
	Met      bool    `json:"met"`
}

// Targets compares the worst figures with the targets, which are for one process.
func (r *Report) Targets() []Target {
	cpu, loaded := 0.0, int64(0)
	for _, p := range r.Pairs {
		cpu, loaded = max(cpu, p.CPU), max(loaded, p.Loaded.RSS)
	}
	all := []Target{
		{Name: "CPU per turn, ms", Measured: cpu, Limit: MaxCPUPerTurn},
		{Name: "RSS idle, MB", Measured: megabytes(r.Idle.RSS), Limit: megabytes(MaxIdleRSS)},
		{Name: "RSS loaded, MB", Measured: megabytes(loaded), Limit: megabytes(MaxLoadedRSS)},
	}
	for i := range all {
		all[i].Met = all[i].Measured <= all[i].Limit
	}
	return all
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

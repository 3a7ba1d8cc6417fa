// Package turnbench measures what a turn costs: it starts ragmesh from its binaries against a model of its own making
// (mockllm), loads it with questions about a corpus, and compares turns with the floors under them, measured side by side in
// the same run: calling the model directly, and retrieval then the model in sequence.
package turnbench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
	"github.com/ragmesh/ragmesh/libs/repeat"
)

// MaxConcurrency is how many turns may be under way at the same time.
const MaxConcurrency = 256

const (
	// settle is how long a system goes on with a turn after its answer: spans are sent in batches, eval reads along.
	settle = 700 * time.Millisecond
	// idle is how long an idle system is watched.
	idle = 3 * time.Second
	// profiled is how long a profile is taken.
	profiled = 10 * time.Second
)

// Options says what to measure.
type Options struct {
	// Binary is the ragmesh command; the services' binaries stand beside it when Mesh asks for a process each.
	Binary  string
	Mesh    bool
	Set     []string // more configuration, SERVICE.KEY=VALUE
	Environ []string
	Corpus  Corpus
	// Models are names that mockllm reads, Concurrency how many turns are under way at once; every pair is measured.
	Models      []string
	Concurrency []int
	// Duration bounds each of the three kinds of work of a pair, Count its pieces when above 0; both are spread over Rounds,
	// in which the kinds take turns.
	Duration time.Duration
	Count    int
	Rounds   int
	// Warmup is how many turns come before everything.
	Warmup int
	Seed   uint64
	// Profile names a file for a CPU profile of the edge's process, taken after the measurement; empty for none.
	Profile string
	// Say is told what goes on; nil for nobody.
	Say func(format string, args ...any)
}

// Run measures. Everything it starts has ended when it returns, and everything it wrote is gone, apart from the profile.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	on, err := o.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, on.Stop()) }()
	edge, err := client.New(client.Options{Server: on.system.Server, UserAgent: "ragmesh-bench"})
	if err != nil {
		return nil, err
	}
	defer edge.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: MaxConcurrency}
	defer transport.CloseIdleConnections()
	b := &bench{
		o: o, system: on.system, report: newReport(o, on.system.Startup),
		worker: &worker{edge: edge, http: &http.Client{Transport: transport}, mock: on.base, questions: o.Corpus.Questions},
	}
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	b.report.Mock = on.mock.Counts()
	return b.report, nil
}

// bench is one run.
type bench struct {
	o       Options
	system  *spawn.System
	worker  *worker
	report  *Report
	next    atomic.Uint64
	resting float64 // CPU seconds per second, idle
}

func (b *bench) run(ctx context.Context) error {
	steps := []func(context.Context) error{b.begin, b.ingest, b.warm, b.rest, b.pairs, b.profile}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// begin notes what the system uses before it has done anything.
func (b *bench) begin(ctx context.Context) error {
	_ = repeat.Pause(ctx, settle)
	usage, err := b.system.Usage(ctx)
	b.report.Started = memory(usage)
	return err
}

func (b *bench) ingest(ctx context.Context) error {
	items := b.o.Corpus.Items
	b.o.Say("taking in %d documents", len(items))
	begin := time.Now()
	results, err := ingest.New(b.worker.edge.Retriever, ingest.Options{Workspace: workspace}).Run(ctx, items)
	if err != nil {
		return err
	}
	c := &b.report.Corpus
	c.Documents, c.Questions, c.Took = len(items), len(b.o.Corpus.Questions), milliseconds(time.Since(begin))
	for _, r := range results {
		if r.Failed() {
			return fmt.Errorf("document %s could not be taken in: %w", r.URI, errors.Join(r.Err, errors.New(r.Document.GetState().String())))
		}
		c.Chunks += int(r.Document.GetChunkCount())
	}
	b.worker.prompt, err = b.worker.search(ctx, b.worker.question(0))
	return err
}

// warm asks a few questions before it counts, and ends the run when none can be answered.
func (b *bench) warm(ctx context.Context) error {
	if b.o.Warmup == 0 {
		return nil
	}
	b.o.Say("warming up with %d turns", b.o.Warmup)
	workers := min(4, b.o.Warmup)
	all, _ := load(ctx, workers, bound{d: time.Minute, n: b.o.Warmup}, &b.next, b.worker.turn(b.o.Models[0]))
	side := summarise(all, 0)
	if side.Count == 0 && ctx.Err() == nil {
		return fmt.Errorf("no turn of the warm-up succeeded: %s", side.FirstError)
	}
	return nil
}

// rest watches the system do nothing.
func (b *bench) rest(ctx context.Context) error {
	_ = repeat.Pause(ctx, settle)
	before, err := b.system.Usage(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	_ = repeat.Pause(ctx, idle)
	after, err := b.system.Usage(ctx)
	b.resting = (after.CPU - before.CPU).Seconds() / time.Since(begin).Seconds()
	b.report.Idle = Idle{Memory: memory(after), CPU: 1000 * b.resting}
	return err
}

func (b *bench) pairs(ctx context.Context) error {
	for _, model := range b.o.Models {
		for _, workers := range b.o.Concurrency {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b.o.Say("measuring %s, %d at once", model, workers)
			pair, err := b.pair(ctx, model, workers)
			if err != nil {
				return err
			}
			b.report.Pairs = append(b.report.Pairs, pair)
		}
	}
	return nil
}

// pair measures one model at one concurrency: rounds in which the three kinds of work take turns, so that whatever else the
// machine does meets all of them.
func (b *bench) pair(ctx context.Context, model string, workers int) (Pair, error) {
	limit := bound{d: b.o.Duration / time.Duration(b.o.Rounds), n: (b.o.Count + b.o.Rounds - 1) / b.o.Rounds}
	var direct, sequence, turns [][]outcome
	var walls [3]time.Duration
	var busy, own time.Duration
	var loaded spawn.Usage
	for range b.o.Rounds {
		spent, err := spawn.CPU()
		if err != nil {
			return Pair{}, err
		}
		some, wall := load(ctx, workers, limit, &b.next, b.worker.direct(model))
		now, err := spawn.CPU()
		if err != nil {
			return Pair{}, err
		}
		own += now - spent
		direct, walls[0] = append(direct, some), walls[0]+wall
		some, wall = load(ctx, workers, limit, &b.next, b.worker.sequence(model))
		sequence, walls[1] = append(sequence, some), walls[1]+wall
		_ = repeat.Pause(ctx, settle)
		before, err := b.system.Usage(ctx)
		if err != nil {
			return Pair{}, err
		}
		begin := time.Now()
		some, wall = load(ctx, workers, limit, &b.next, b.worker.turn(model))
		turns, walls[2] = append(turns, some), walls[2]+wall
		_ = repeat.Pause(ctx, settle) // what a turn leaves to be done belongs to it
		if loaded, err = b.system.Usage(ctx); err != nil {
			return Pair{}, err
		}
		busy += loaded.CPU - before.CPU - time.Duration(b.resting*float64(time.Since(begin)))
	}
	if ctx.Err() != nil {
		return Pair{}, context.Cause(ctx)
	}
	return newPair(model, workers, sides{direct, sequence, turns, walls, busy, own}, loaded), nil
}

// profile loads the system once more while a profile is taken, after everything that is reported.
func (b *bench) profile(ctx context.Context) error {
	if b.o.Profile == "" {
		return nil
	}
	workers := b.o.Concurrency[len(b.o.Concurrency)-1]
	b.o.Say("taking a profile of %s, %d at once", b.o.Models[0], workers)
	taken := make(chan error, 1)
	go func() { taken <- b.system.Profile(ctx, b.o.Profile, profiled) }()
	all, wall := load(ctx, workers, bound{d: profiled + time.Second}, &b.next, b.worker.turn(b.o.Models[0]))
	b.o.Say("the profile holds about %.0f turns", float64(len(all))*profiled.Seconds()/wall.Seconds())
	return <-taken
}

// Questions reads one question a line, and leaves empty lines out.
func Questions(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read questions: %w", err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read questions: %s holds none", file)
	}
	return all, nil
}

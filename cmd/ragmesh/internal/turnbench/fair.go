package turnbench

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

// The workspaces of a measurement of fairness.
const (
	quiet = "quiet"
	noisy = "noisy"
)

// MaxFair is how many times a quiet workspace's p95 alone its p95 beside a noisy one may be.
const MaxFair = 2.0

// Fairness is what was measured of a workspace beside another one that sends many times as much.
type Fairness struct {
	Version    string         `json:"version"`
	Machine    Machine        `json:"machine"`
	Model      string         `json:"model"`
	Neighbours int            `json:"neighbours"` // workers of the noisy workspace, for one of the quiet one
	Rounds     []FairRound    `json:"rounds"`
	Alone      Side           `json:"alone"`  // the quiet workspace
	Beside     Side           `json:"beside"` // the quiet workspace, while the noisy one sends
	Noisy      Side           `json:"noisy"`
	Refused    int            `json:"refused"` // of the noisy one's
	Spooled    int            `json:"spooled"` // of all turns
	P50        Ratio          `json:"p50_ratio"`
	P95        Ratio          `json:"p95_ratio"` // Value is the rounds' median
	Mock       mockllm.Counts `json:"mock"`
}

// FairRound is one round: the quiet workspace alone, then beside the noisy one.
type FairRound struct {
	Alone  Latency `json:"alone"`
	Beside Latency `json:"beside"`
}

// Fair measures how a workspace's questions fare beside those of another one, which sends as much as Concurrency[0] of its
// workers can. In each round the quiet workspace, which has one worker, is measured alone and then beside the other.
func Fair(ctx context.Context, o Options) (_ *Fairness, err error) {
	on, err := o.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, on.Stop()) }()
	edges := make([]*client.Client, 2)
	for i := range edges { // a connection for each: they are strangers
		if edges[i], err = client.New(client.Options{Server: on.system.Server, UserAgent: "ragmesh-bench"}); err != nil {
			return nil, err
		}
		defer edges[i].Close()
	}
	for i, name := range []string{quiet, noisy} {
		if _, err := edges[i].Workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: name}); err != nil {
			return nil, err
		}
		o.Say("taking in %d documents for the %s workspace", len(o.Corpus.Items), name)
		if _, err := ingest.New(edges[i].Retriever, ingest.Options{Workspace: name}).Run(ctx, o.Corpus.Items); err != nil {
			return nil, err
		}
	}
	f := fairRun{o: o, model: o.Models[0], neighbours: o.Concurrency[0]}
	one := &worker{edge: edges[0], questions: o.Corpus.Questions, workspace: quiet}
	many := &worker{edge: edges[1], questions: o.Corpus.Questions, workspace: noisy}
	report, err := f.run(ctx, one, many)
	if err != nil {
		return nil, err
	}
	report.Mock = on.mock.Counts()
	return report, nil
}

type fairRun struct {
	o          Options
	model      string
	neighbours int
	next       atomic.Uint64
	refused    atomic.Int64
}

func (f *fairRun) run(ctx context.Context, one, many *worker) (*Fairness, error) {
	load(ctx, 4, bound{d: time.Minute, n: f.o.Warmup}, &f.next, one.turn(f.model))
	alone, beside, others := make([][]outcome, f.o.Rounds), make([][]outcome, f.o.Rounds), make([][]outcome, f.o.Rounds)
	var wall, wallAlone time.Duration
	each := f.o.Duration / time.Duration(2*f.o.Rounds)
	for i := range f.o.Rounds {
		f.o.Say("round %d of %d", i+1, f.o.Rounds)
		var took time.Duration
		alone[i], took = load(ctx, 1, bound{d: each}, &f.next, one.turn(f.model))
		wallAlone += took
		crowd, end := context.WithCancel(ctx)
		var group sync.WaitGroup
		group.Go(func() {
			others[i], _ = load(crowd, f.neighbours, bound{d: 2*each + time.Minute}, &f.next, f.insistent(many.turn(f.model)))
		})
		_ = repeat.Pause(ctx, settle) // until they are all there
		beside[i], took = load(ctx, 1, bound{d: each}, &f.next, one.turn(f.model))
		wall += took
		end()
		group.Wait()
		_ = repeat.Pause(ctx, settle)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	report := &Fairness{
		Version: telemetry.Version, Machine: Machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()},
		Model: f.model, Neighbours: f.neighbours, Refused: int(f.refused.Load()),
		Alone: summarise(slices.Concat(alone...), wallAlone), Beside: summarise(slices.Concat(beside...), wall),
	}
	var done []outcome
	for _, o := range slices.Concat(others...) {
		if o.err == nil { // the rest was refused, or cut off at a round's end
			done = append(done, o)
		}
	}
	report.Noisy = summarise(done, wall)
	for _, o := range slices.Concat(slices.Concat(alone...), slices.Concat(beside...), done) {
		if o.turn != nil && slices.Contains(o.turn.degraded, "save: spooled") {
			report.Spooled++
		}
	}
	report.Rounds, report.P50, report.P95 = fairRatios(alone, beside)
	return report, nil
}

// insistent has who is refused come back, sooner than they are told to.
func (f *fairRun) insistent(work func(context.Context, uint64) outcome) func(context.Context, uint64) outcome {
	return func(ctx context.Context, n uint64) outcome {
		o := work(ctx, n)
		if fault.KindOf(o.err) == fault.Exhausted && o.err != nil {
			f.refused.Add(1)
			_ = repeat.Pause(ctx, 50*time.Millisecond)
		}
		return o
	}
}

// fairRatios compares percentiles round by round: machines have good and bad minutes.
func fairRatios(alone, beside [][]outcome) (rounds []FairRound, p50, p95 Ratio) {
	var fifty, ninetyFive []float64
	for i := range alone {
		a, b := summarise(alone[i], 0).Latency, summarise(beside[i], 0).Latency
		rounds = append(rounds, FairRound{a, b})
		if a.P50 > 0 && b.P50 > 0 {
			fifty = append(fifty, b.P50/a.P50)
			ninetyFive = append(ninetyFive, b.P95/a.P95)
		}
	}
	return rounds, spread(fifty), spread(ninetyFive)
}

func spread(all []float64) Ratio {
	if len(all) == 0 {
		return Ratio{}
	}
	slices.Sort(all)
	return Ratio{Value: all[(len(all)-1)/2], Least: all[0], Most: all[len(all)-1]}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/turnbench"
)

func (a *app) bench() *cobra.Command {
	c := &cobra.Command{Use: "bench", Short: "Measure speed"}
	c.AddCommand(a.benchTurn(), a.benchGateway(), a.benchFair(), a.benchLoad(), a.benchMock())
	return c
}

// benchFlags are what can be said about a measurement.
type benchFlags struct {
	turnbench.Options
	documents, questions string
	generated            int
}

func (a *app) benchTurn() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "turn",
		Short: "Measure what a turn costs, from question to stored answer",
		Long: `Measure what a turn costs, from question to stored answer.

Starts ragmesh in a child process, on free ports and in a temporary folder, with a mock of an OpenAI-compatible
model as its provider; takes in a corpus; and asks questions about it, for each model at each concurrency. In the
same rounds it calls the mock directly, and searches and then calls the mock, so that turns are compared with the
floors under them on the same machine at the same time. Nothing that runs elsewhere is touched.

A model's name says how the mock behaves: mock-ttft50-itl5-len64-fail0.01 sends its first token after 50 ms, one
more every 5 ms, 64 in all, and refuses one request in a hundred.`,
		Example: "  ragmesh bench turn\n  ragmesh bench turn --model mock-len64 --concurrency 1,16,64 --duration 20s --json\n" +
			"  ragmesh bench turn --documents handbook --questions questions.txt",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			return a.runBenchTurn(ctx, f)
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.Models, "model", []string{"mock-ttft0-itl0-len64", "mock-ttft50-itl5-len64"}, "models to measure with")
	flags.IntSliceVar(&f.Concurrency, "concurrency", []int{1, 16}, "turns under way at the same time")
	flags.DurationVar(&f.Duration, "duration", 10*time.Second, "how long each of the three kinds of work runs, for each model and concurrency")
	flags.IntVar(&f.Count, "turns", 0, "most turns for each model and concurrency (default: as many as the time allows)")
	flags.IntVar(&f.Rounds, "rounds", 4, "rounds in which the kinds of work take turns")
	flags.IntVar(&f.Warmup, "warmup", 200, "turns before the measurement")
	flags.Uint64Var(&f.Seed, "seed", 1, "seed of the corpus, the questions' order and the mock's chance")
	flags.IntVar(&f.generated, "corpus", 200, "documents to generate")
	flags.StringVar(&f.documents, "documents", "", "folder of documents to take in instead; needs --questions")
	flags.StringVar(&f.questions, "questions", "", "file with one question a line")
	flags.BoolVar(&f.Mesh, "mesh", false, "run NATS and the five services as processes of their own, from the binaries beside this one")
	flags.StringArrayVar(&f.Set, "set", nil, "set one configuration key, SERVICE.KEY=VALUE; may be repeated")
	flags.StringVar(&f.Profile, "profile", "", "write a CPU profile of the process that serves the edge, taken after the measurement")
	must(c.MarkFlagDirname("documents"))
	return c
}

// bounds of a measurement.
const (
	maxBenchTime   = time.Hour
	maxBenchRounds = 100
	maxBenchCorpus = 100_000
)

func (f *benchFlags) check() error {
	switch {
	case len(f.Models) == 0 || len(f.Concurrency) == 0:
		return usagef("--model and --concurrency need a value at least")
	case f.Duration <= 0 || f.Duration > maxBenchTime:
		return usagef("--duration must be above 0 and at most %s", maxBenchTime)
	case f.Rounds < 1 || f.Rounds > maxBenchRounds:
		return usagef("--rounds must be 1 to %d", maxBenchRounds)
	case f.Count < 0 || f.Warmup < 0:
		return usagef("--turns and --warmup must not be below 0")
	case f.generated < 1 || f.generated > maxBenchCorpus:
		return usagef("--corpus must be 1 to %d", maxBenchCorpus)
	case (f.documents == "") != (f.questions == ""):
		return usagef("--documents and --questions belong together")
	}
	for _, n := range f.Concurrency {
		if n < 1 || n > turnbench.MaxConcurrency {
			return usagef("--concurrency must be 1 to %d", turnbench.MaxConcurrency)
		}
	}
	for _, model := range f.Models {
		if _, err := mockllm.Parse(model); err != nil {
			return usageError{err}
		}
	}
	return nil
}

func (a *app) runBenchTurn(ctx context.Context, f benchFlags) error {
	if err := f.prepare(a); err != nil {
		return err
	}
	report, err := turnbench.Run(ctx, f.Options)
	return show(a, report, err, a.showBench)
}

// prepare checks what was asked for, and gives a measurement its corpus and the programs to measure.
func (f *benchFlags) prepare(a *app) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if f.Corpus, err = f.corpus(); err != nil {
		return err
	}
	if f.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f.Environ, f.Say = a.Environ, a.saying()
	return nil
}

// show prints what was measured, as people or programs want it.
func show[R any](a *app, report R, err error, people func(R)) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("stopped before the end; nothing was measured")
	case err != nil:
		return err
	case a.json:
		return a.out.value(report)
	}
	people(report)
	return nil
}

// saying tells whoever waits for a measurement what goes on.
func (a *app) saying() func(format string, args ...any) {
	return func(format string, args ...any) {
		a.err.printf("%s\n", a.err.style(dim, fmt.Sprintf(format, args...)))
	}
}

func (f *benchFlags) corpus() (turnbench.Corpus, error) {
	if f.documents == "" {
		return turnbench.Generate(f.generated, f.Seed), nil
	}
	var c turnbench.Corpus
	files, err := ingest.Find(f.documents, f.documents)
	if err != nil {
		return c, err
	}
	if len(files) == 0 {
		return c, usagef("no Markdown or text files there")
	}
	for _, file := range files {
		c.Items = append(c.Items, file.Item())
	}
	c.Questions, err = turnbench.Questions(f.questions)
	return c, err
}

func (a *app) showBench(r *turnbench.Report) {
	a.out.printf("ragmesh %s, %s, %d CPUs, %s/%s, %s\n", r.Version, r.Shape, r.Machine.CPUs, r.Machine.OS, r.Machine.Arch, r.Machine.Go)
	a.out.printf("ready after %.0f ms; %d documents, %d chunks taken in within %.1f s\n", r.StartMS, r.Corpus.Documents, r.Corpus.Chunks, r.Corpus.Took/1000)
	a.out.printf("started: %s; idle: %s, %.1f ms CPU per second\n\n", memory(r.Started), memory(r.Idle.Memory), r.Idle.CPU)
	var rows, parts [][]string
	for _, p := range r.Pairs {
		for _, side := range []struct {
			name string
			turnbench.Side
			turnbench.Ratio
		}{{"turn", p.Turns, turnbench.Ratio{}}, {"direct", p.Direct, p.ToDirect}, {"sequence", p.Sequence, p.ToSequence}} {
			rows = append(rows, []string{
				p.Model, fmt.Sprint(p.Concurrency), side.name, fmt.Sprint(side.Count), fmt.Sprint(side.Errors), fmt.Sprintf("%.1f", side.PerSecond),
				decimals(side.Latency.P50), decimals(side.Latency.P95), decimals(side.Latency.P99),
				decimals(side.FirstToken.P50), decimals(side.FirstToken.P95), times(side.Ratio),
			})
		}
		parts = append(parts, []string{
			p.Model, fmt.Sprint(p.Concurrency), decimals(p.CPU), decimals(p.DirectCPU), decimals(p.Added), decimals(p.Closing), memory(p.Loaded), counts(p.Outcomes), counts(p.Degradations),
		})
	}
	a.out.table([]string{"model", "at once", "work", "done", "errors", "per s", "p50 ms", "p95 ms", "p99 ms", "first p50", "first p95", "turn is"}, rows)
	a.out.printf("\n")
	a.out.table([]string{"model", "at once", "CPU ms/turn", "CPU ms/direct call", "added ms", "of it storing", "loaded", "outcomes", "degraded"}, parts)
	a.out.printf("\n")
	for _, t := range r.Targets() {
		verdict := a.out.style(green, "met")
		if !t.Met {
			verdict = a.out.style(yellow, "missed")
		}
		a.out.printf("%s: %.1f, target %.0f: %s\n", t.Name, t.Measured, t.Limit, verdict)
	}
}

func decimals(f float64) string { return fmt.Sprintf("%.2f", f) }

func memory(m turnbench.Memory) string {
	return fmt.Sprintf("%.0f MB, %d goroutines", float64(m.RSS)/1e6, m.Goroutines)
}

// times shows a ratio and between which values it lay in the rounds.
func times(r turnbench.Ratio) string {
	if r.Value == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f times that (%.2f to %.2f)", r.Value, r.Least, r.Most)
}

func counts(all []measure.Count) string {
	if len(all) == 0 {
		return "none"
	}
	parts := make([]string, len(all))
	for i, c := range all {
		parts[i] = fmt.Sprintf("%d %s", c.Times, oneLine(c.Name, 40))
	}
	return strings.Join(parts, ", ")
}

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/turnbench"
)

func (a *app) benchFair() *cobra.Command {
	var f benchFlags
	var model string
	var neighbours, slots int
	c := &cobra.Command{
		Use:   "fair",
		Short: "Measure what a busy workspace costs a quiet one",
		Long: `Measure what a busy workspace costs a quiet one.

Starts ragmesh as "bench turn" does, with two workspaces. In each round one worker asks questions in the quiet one,
first alone, then while many workers ask in the other as fast as they are let. Both are measured side by side in the
same minute of the same machine, and what counts is how many times its latency alone the quiet one's is.`,
		Example: "  ragmesh bench fair\n  ragmesh bench fair --slots 512 --model mock-ttft0-itl0-len64 --duration 60s --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			f.Models, f.Concurrency = []string{model}, []int{neighbours}
			if slots > 0 {
				f.Set = append(f.Set, fmt.Sprintf("dialog.turn.max_running=%d", slots))
			}
			return a.runBenchFair(ctx, f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&model, "model", "mock-ttft200-itl0-len16", "model to measure with, as for bench turn")
	flags.IntVar(&neighbours, "neighbours", 50, "workers that ask in the busy workspace")
	flags.IntVar(&slots, "slots", 8, "turns that run at once, turn.max_running; 0 for the default")
	flags.DurationVar(&f.Duration, "duration", 40*time.Second, "how long the quiet workspace's worker asks in all")
	flags.IntVar(&f.Rounds, "rounds", 4, "rounds of asking alone and beside the others")
	flags.IntVar(&f.Warmup, "warmup", 100, "turns before the measurement")
	flags.Uint64Var(&f.Seed, "seed", 1, "seed of the corpus, the questions' order and the mock's chance")
	flags.IntVar(&f.generated, "corpus", 50, "documents to generate")
	flags.BoolVar(&f.Mesh, "mesh", false, "run NATS and the five services as processes of their own, from the binaries beside this one")
	flags.StringArrayVar(&f.Set, "set", nil, "set one configuration key, SERVICE.KEY=VALUE; may be repeated")
	return c
}

func (a *app) runBenchFair(ctx context.Context, f benchFlags) error {
	if err := f.prepare(a); err != nil {
		return err
	}
	report, err := turnbench.Fair(ctx, f.Options)
	return show(a, report, err, a.showFair)
}

func (a *app) showFair(r *turnbench.Fairness) {
	a.out.printf("ragmesh %s, %d CPUs, %s/%s, %s; %s, one worker beside %d\n\n", r.Version, r.Machine.CPUs, r.Machine.OS, r.Machine.Arch, r.Machine.Go, r.Model, r.Neighbours)
	var rows [][]string
	for _, side := range []struct {
		name string
		turnbench.Side
	}{{"quiet, alone", r.Alone}, {"quiet, beside", r.Beside}, {"busy", r.Noisy}} {
		rows = append(rows, []string{
			side.name, fmt.Sprint(side.Count), fmt.Sprint(side.Errors), fmt.Sprintf("%.1f", side.PerSecond),
			decimals(side.Latency.P50), decimals(side.Latency.P95), decimals(side.Latency.P99), decimals(side.FirstToken.P95),
		})
	}
	a.out.table([]string{"workspace", "done", "errors", "per s", "p50 ms", "p95 ms", "p99 ms", "first p95"}, rows)
	a.out.printf("\nthe busy workspace was refused %d times; %d turns were spooled\n", r.Refused, r.Spooled)
	a.out.printf("p50 beside it: %s; p95: %s\n", times(r.P50), times(r.P95))
	verdict := a.out.style(green, "met")
	if r.P95.Value > turnbench.MaxFair || r.P95.Value == 0 {
		verdict = a.out.style(yellow, "missed")
	}
	a.out.printf("p95 beside the busy workspace, in times of that alone: %.2f, target %.0f: %s\n", r.P95.Value, turnbench.MaxFair, verdict)
}

package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/gatebench"
)

// gatewayFlags are what can be said about a measurement of the gateway.
type gatewayFlags struct {
	gatebench.Options
	serve, upstream, addr string
}

func (a *app) benchGateway() *cobra.Command {
	var f gatewayFlags
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Measure what the LLM gateway costs, beside the floors under it",
		Long: `Measure what the LLM gateway costs, beside the floors under it.

Starts llm-gateway (ragmesh-llm-gateway stands beside this program) in front of a mock of a model, with a key, limits,
prices, the ledger, metrics and traces, and in the same rounds: the mock alone (direct), a bare reverse proxy (proxy),
one that decodes and encodes each request (recode), and the barest relay over Connect (relay). Servers run on the
first processor, load and mock on the second. Then: callers who leave in the middle of streams, many requests in one
process, and the ledger against what the mock served, with the process killed now and then.`,
		Example: "  ragmesh bench gateway\n  ragmesh bench gateway --work plain,stream --concurrency 32 --requests 0 --profile cpu.pprof",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			if f.serve != "" {
				return a.serveFloor(ctx, f)
			}
			return a.runBenchGateway(ctx, f)
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.Works, "work", []string{gatebench.Plain, gatebench.Stream, gatebench.Paced}, "kinds of work: plain, stream, paced")
	flags.IntSliceVar(&f.Concurrency, "concurrency", []int{1, 32, 256}, "requests under way at the same time")
	flags.DurationVar(&f.Duration, "duration", 1500*time.Millisecond, "how long each target is loaded in each round")
	flags.IntVar(&f.Rounds, "rounds", 3, "rounds in which the targets take turns")
	flags.IntVar(&f.Requests, "requests", 20_000, "requests of the endurance and of the ledger's test; 0 for neither")
	flags.IntVar(&f.Kills, "kills", 5, "how often the ledger's test kills the process")
	flags.BoolVar(&f.Anywhere, "anywhere", false, "leave it to the system on which processors what runs")
	flags.StringArrayVar(&f.Set, "set", nil, "set one configuration key of llm-gateway, KEY=VALUE; may be repeated")
	flags.StringVar(&f.Profile, "profile", "", "write a CPU profile of the gateway, taken after the rows, with the last kind of work")
	flags.StringVar(&f.serve, "serve", "", "only serve a floor: proxy, recode or relay")
	flags.StringVar(&f.upstream, "upstream", "", "address of the model's server for --serve")
	flags.StringVar(&f.addr, "addr", "127.0.0.1:0", "address to listen on for --serve")
	return c
}

func (f *gatewayFlags) check() error {
	known := []string{gatebench.Plain, gatebench.Stream, gatebench.Paced}
	switch {
	case f.Duration <= 0 || f.Duration > maxBenchTime:
		return usagef("--duration must be above 0 and at most %s", maxBenchTime)
	case f.Rounds < 1 || f.Rounds > maxBenchRounds:
		return usagef("--rounds must be 1 to %d", maxBenchRounds)
	case f.Requests < 0 || f.Requests > 10_000_000 || f.Kills < 0 || f.Kills > 1000:
		return usagef("--requests must be 0 to 10000000, --kills 0 to 1000")
	case len(f.Works) == 0 || len(f.Concurrency) == 0:
		return usagef("--work and --concurrency need a value at least")
	}
	for _, w := range f.Works {
		if !slices.Contains(known, w) {
			return usagef("--work is %s, not %q", strings.Join(known, ", "), w)
		}
	}
	for _, n := range f.Concurrency {
		if n < 1 || n > gatebench.MaxConcurrency {
			return usagef("--concurrency must be 1 to %d", gatebench.MaxConcurrency)
		}
	}
	return nil
}

// serveFloor is what the measurement starts for each floor.
func (a *app) serveFloor(ctx context.Context, f gatewayFlags) error {
	return gatebench.Serve(ctx, gatebench.Floor(f.serve), f.upstream, f.addr, func(addr net.Addr) {
		if a.json {
			_ = a.out.value(map[string]string{"server": "http://" + addr.String()})
			return
		}
		a.out.printf("serving at http://%s\n", addr)
	})
}

func (a *app) runBenchGateway(ctx context.Context, f gatewayFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if f.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f.Environ, f.Say = a.Environ, a.saying()
	report, err := gatebench.Run(ctx, f.Options)
	return show(a, report, err, a.showBenchGateway)
}

func (a *app) showBenchGateway(r *gatebench.Report) {
	a.out.printf("ragmesh %s, %d CPUs, servers and load on processors of their own: %t, load average %s\n\n", r.Version, r.CPUs, r.Pinned, r.LoadAverage)
	var rows [][]string
	for _, w := range r.Rows {
		rows = append(rows, []string{
			w.Work, fmt.Sprint(w.Concurrency), w.Target, fmt.Sprint(w.Count), fmt.Sprint(w.Errors), fmt.Sprintf("%.0f", w.PerSecond),
			fmt.Sprintf("%.0f (%.0f-%.0f)", w.CPU, w.LeastCPU, w.MostCPU), decimals(w.P50), decimals(w.P95), decimals(w.P99), decimals(w.First), fmt.Sprintf("%.0f", float64(w.RSS)/1e6),
		})
		if w.FirstError != "" {
			a.err.printf("%s, %d at once, %s: %s\n", w.Work, w.Concurrency, w.Target, w.FirstError)
		}
	}
	a.out.table([]string{"work", "at once", "target", "done", "errors", "per s", "CPU µs/request", "p50 ms", "p95 ms", "p99 ms", "first p50", "RSS MB"}, rows)
	a.out.printf("\n")
	if e := r.Endurance; e != nil {
		a.out.printf("%d requests in one process, %d errors; memory after each twentieth, MB:", e.Requests, e.Errors)
		for _, rss := range e.RSS {
			a.out.printf(" %.0f", float64(rss)/1e6)
		}
		a.out.printf("; goroutines %d before, %d after\n", e.GoroutinesBefore, e.GoroutinesAfter)
	}
	if d := r.Disconnects; d != nil {
		a.out.printf("%d callers left: the model's work for them ended within %.1f ms, after at most %d tokens more\n", d.Count, d.Longest, d.Tokens)
	}
	if l := r.Ledger; l != nil {
		a.out.printf("%d requests, %d kills: %d tokens were served, the ledger has %d of them settled, %d requests unsettled; of %d requests cut off by one more kill it has %d\n",
			l.Requests, l.Kills, l.Served, l.Settled, l.Unsettled, l.CutOff, l.CutOffUnsettled)
	}
	a.out.printf("\n")
	for _, t := range r.Targets() {
		verdict := a.out.style(green, "met")
		if !t.Met {
			verdict = a.out.style(yellow, "missed")
		}
		a.out.printf("%s: %.2f, target %.2f: %s\n", t.Name, t.Measured, t.Limit, verdict)
	}
}

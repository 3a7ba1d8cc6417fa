package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/load"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/turnbench"
)

// loadFlags are what can be said about a load.
type loadFlags struct {
	load.Options
	questions string
	corpus    int
	seed      uint64
	allowed   int
}

func (a *app) benchLoad() *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:   "load",
		Short: "Put a running server under constant load and say what became of each question",
		Long: `Put a running server (--server, --api-key) under constant load and say what became of each question.

Questions are asked at a constant rate, whatever becomes of those before them, and latency counts from the moment
at which a question was to be asked. A question whose connection breaks is asked again with the same request id,
as ragmesh ask does; that is counted apart. Without --questions, they are about examples/bank-support, which has to
be in the workspace; with --corpus N, a corpus of N documents is generated, taken in, and asked about.

Ctrl-C, or SIGTERM, ends the load and shows the report so far. The exit code is 1 when a turn failed.`,
		Example: "  ragmesh bench load --rate 20 --duration 1m\n  ragmesh bench load --rate 50 --duration 10m --corpus 200 --json >report.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			return a.runBenchLoad(ctx, f)
		},
	}
	flags := c.Flags()
	flags.Float64Var(&f.Rate, "rate", 10, "questions a second")
	flags.DurationVar(&f.Duration, "duration", time.Minute, "for how long questions are asked")
	flags.IntVar(&f.Limit, "limit", 512, "most questions under way at once; those beyond wait")
	flags.DurationVar(&f.Timeout, "timeout", 90*time.Second, "when a question counts as failed")
	flags.DurationVar(&f.Retry, "retry", 20*time.Second, "how long a question is asked again while nobody takes it")
	flags.StringVar(&f.questions, "questions", "", "file with one question a line")
	flags.IntVar(&f.corpus, "corpus", 0, "documents to generate, take in and ask about")
	flags.Uint64Var(&f.seed, "seed", 1, "seed of the corpus")
	flags.StringVar(&f.Model, "model", "", "model (default: the configured one)")
	flags.DurationVar(&f.ProgressEvery, "progress", 10*time.Second, "how often a line on standard error says how it goes; 0 for never")
	flags.IntVar(&f.allowed, "allow-failed", 0, "how many turns may fail with exit code 0 all the same")
	c.MarkFlagsMutuallyExclusive("questions", "corpus")
	return c
}

func (f *loadFlags) check() error {
	switch {
	case f.Rate <= 0 || f.Rate > 10_000:
		return usagef("--rate must be above 0 and at most 10000")
	case f.Duration <= 0 || f.Duration > 24*time.Hour:
		return usagef("--duration must be above 0 and at most 24h")
	case f.Limit < 1 || f.Limit > 100_000:
		return usagef("--limit must be 1 to 100000")
	case f.Timeout <= 0 || f.Retry < 0 || f.ProgressEvery < 0:
		return usagef("--timeout must be above 0, --retry and --progress not below")
	case f.corpus < 0 || f.corpus > maxBenchCorpus:
		return usagef("--corpus must be 0 to %d", maxBenchCorpus)
	}
	return nil
}

func (a *app) runBenchLoad(ctx context.Context, f loadFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	f.Workspace = a.workspace
	switch {
	case f.questions != "":
		f.Questions, err = turnbench.Questions(f.questions)
	case f.corpus > 0:
		f.Questions, err = a.takeInCorpus(ctx, c, turnbench.Generate(f.corpus, f.seed))
	default:
		f.Questions = load.Questions()
	}
	if err != nil {
		return err
	}
	f.Progress = func(p load.Progress) { a.err.printf("%s\n", a.err.style(dim, p.String())) }
	report := load.Run(ctx, c, f.Options)
	if a.json {
		err = a.out.value(report)
	} else {
		a.showLoad(report)
	}
	if err == nil && report.Failed > f.allowed {
		err = fmt.Errorf("%d of %d turns failed", report.Failed, report.Planned)
	}
	return err
}

// takeInCorpus puts a corpus into the workspace and returns its questions.
func (a *app) takeInCorpus(ctx context.Context, c *client.Client, corpus turnbench.Corpus) ([]string, error) {
	a.err.printf("%s\n", a.err.style(dim, fmt.Sprintf("taking in %d documents", len(corpus.Items))))
	results, err := ingest.New(c.Retriever, ingest.Options{Workspace: a.workspace}).Run(ctx, corpus.Items)
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		if r.Failed() {
			return nil, fmt.Errorf("document %s could not be taken in: %w", r.URI, errors.Join(r.Err, errors.New(r.Document.GetState().String())))
		}
	}
	return corpus.Questions, nil
}

func (a *app) showLoad(r *load.Report) {
	a.out.printf("%d questions asked within %.0f s: %d answered, %d abstained, %d failed, %d degraded (%.3f %% with an answer)\n",
		r.Sent, r.Duration, r.Answered, r.Abstained, r.Failed, r.Degraded, 100*r.Share)
	for _, row := range []struct {
		what   string
		counts []measure.Count
	}{{"failed", r.Failures}, {"degraded", r.Degradations}, {"asked again", r.Repeats}} {
		if len(row.counts) > 0 {
			parts := make([]string, len(row.counts))
			for i, c := range row.counts {
				parts[i] = fmt.Sprintf("%d %s", c.Times, oneLine(c.Name, 60))
			}
			a.out.printf("%s: %s\n", row.what, strings.Join(parts, ", "))
		}
	}
	a.out.printf("%d questions were asked again, %d answers began again, %d turns belong to several questions\n\n", r.Retried, r.Restarted, r.Duplicates)
	var rows [][]string
	for _, row := range []struct {
		what string
		load.Latency
	}{{"whole turn", r.Latency}, {"first token", r.FirstToken}} {
		rows = append(rows, []string{row.what, decimals(row.Mean), decimals(row.P50), decimals(row.P95), decimals(row.P99), decimals(row.Max)})
	}
	a.out.table([]string{"ms", "mean", "p50", "p95", "p99", "max"}, rows)
	a.out.printf("\nlongest time without an answer: %.0f ms, at %.1f s; seconds with degraded turns: %d, with failed ones: %d\n",
		r.LongestGap, r.LongestGapAt, r.DegradedSeconds, r.FailedSeconds)
	rows = nil
	for _, s := range r.Seconds {
		rows = append(rows, []string{fmt.Sprint(s.At), fmt.Sprint(s.Ended), fmt.Sprint(s.Degraded), fmt.Sprint(s.Failed), fmt.Sprint(s.Retried), fmt.Sprintf("%.0f", s.Slowest)})
	}
	if len(rows) > 0 {
		a.out.printf("\n")
		a.out.table([]string{"second", "ended", "degraded", "failed", "asked again", "slowest ms"}, rows)
	}
}

func (a *app) benchMock() *cobra.Command {
	var addr string
	var seed uint64
	c := &cobra.Command{
		Use:   "mock",
		Short: "Serve the mock of an OpenAI-compatible model that the measurements use",
		Long: `Serve the mock of an OpenAI-compatible model that the measurements use, for llm-gateway's providers:

  providers: {mock: {type: openai, base_url: "http://HOST:PORT/v1"}}
  models: {mock: {targets: [{provider: mock, model: mock-ttft200-len64}]}}

A model's name says how it behaves: mock-ttft200-itl5-len64-fail0.01 sends its first token after 200 ms, one more
every 5 ms, 64 in all, and refuses one request in a hundred. It asks nobody who they are. GET /health says that it
serves.`,
		Example: "  ragmesh bench mock --addr 127.0.0.1:9999",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			return a.runBenchMock(ctx, addr, seed)
		},
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:9999", "address to listen on; port 0 takes a free one")
	c.Flags().Uint64Var(&seed, "seed", 1, "seed of its chance")
	return c
}

func (a *app) runBenchMock(ctx context.Context, addr string, seed uint64) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --addr", err)
	}
	mock := mockllm.New(seed)
	mux := http.NewServeMux()
	mux.Handle("/v1/", mock)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	base := "http://" + l.Addr().String() + "/v1"
	if a.json {
		if err := a.out.value(map[string]string{"base_url": base}); err != nil {
			return err
		}
	} else {
		a.out.printf("The mock serves at %s\nStop with Ctrl-C.\n", base)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err = <-served:
		return fmt.Errorf("serve the mock: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if server.Shutdown(end) != nil {
		_ = server.Close() // answers that still come are nobody's loss
	}
	counts := mock.Counts()
	a.err.printf("%d requests, %d refused, %d tokens\n", counts.Requests, counts.Failed, counts.Tokens)
	return nil
}

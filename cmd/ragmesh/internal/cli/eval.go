package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/benchmark"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/dataset"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

func (a *app) eval() *cobra.Command {
	c := &cobra.Command{Use: "eval", Short: "Measure quality"}
	c.AddCommand(a.evalRetrieval())
	return c
}

func (a *app) evalRetrieval() *cobra.Command {
	var dir, run, strategy string
	var concurrency int
	c := &cobra.Command{
		Use:   "retrieval --dataset DIR",
		Short: "Measure retrieval on a test collection",
		Long: `Measure retrieval on a test collection: a folder with corpus.jsonl (id, title, text), queries.jsonl (id, text) and
qrels.tsv (query id, document id, grade; tab separated, no header).

Indexes the collection in a workspace of its own (eval-<folder>, or --workspace), which it makes when needed and keeps:
measuring again takes in only what changed. Prints hit@1, hit@5, recall@10, MRR@10, nDCG@10, and how long a query for ten
passages took as this program saw it. The formulas are those of trec_eval; --run writes the rankings for it, with the
collection's own document ids. Passages of one document count once, where the best one stands.`,
		Example: "  ragmesh eval retrieval --dataset datasets/squad --run squad.run",
		Args:    cobra.NoArgs,
	}
	c.RunE = a.online(func(ctx context.Context, cl *client.Client, _ []string) error {
		if concurrency < 1 || concurrency > benchmark.MaxConcurrency {
			return usagef("--concurrency must be 1 to %d", benchmark.MaxConcurrency)
		}
		d, err := dataset.Read(dir)
		if err != nil {
			return err
		}
		workspace := a.workspace
		if !c.Flags().Changed("workspace") {
			if workspace, err = workspaceFor(dir); err != nil {
				return err
			}
		}
		e := &retrievalEval{app: a, client: cl, dataset: d, workspace: workspace, strategy: strategy, concurrency: concurrency, run: run}
		return e.measure(ctx)
	})
	c.Flags().StringVar(&dir, "dataset", "", "folder of the collection")
	c.Flags().StringVar(&run, "run", "", "write the rankings to this file, in TREC's run format")
	c.Flags().StringVar(&strategy, "strategy", "", "retrieval strategy (default: the configured one)")
	c.Flags().IntVar(&concurrency, "concurrency", 4, "queries under way at the same time")
	must(c.MarkFlagRequired("dataset"))
	must(c.MarkFlagDirname("dataset"))
	return c
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// maxWorkspace is the contract's bound on a workspace's id.
const maxWorkspace = 64

// workspaceFor returns the workspace a collection is indexed in: eval-<folder name as a slug>.
func workspaceFor(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("name a workspace: %w", err)
	}
	slug := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(filepath.Base(path)), "-"), "-")
	if slug == "" {
		slug = "dataset"
	}
	name := benchmark.Prefix + slug
	return strings.TrimRight(name[:min(len(name), maxWorkspace)], "-"), nil
}

// retrievalEval is one measurement.
type retrievalEval struct {
	app                      *app
	client                   *client.Client
	dataset                  *dataset.Dataset
	workspace, strategy, run string
	concurrency              int
}

// report is what --json prints.
type report struct {
	Workspace string         `json:"workspace"`
	Documents int            `json:"documents"`
	Scores    measure.Scores `json:"scores"`
	Latency   struct {
		P50 float64 `json:"p50_ms"`
		P95 float64 `json:"p95_ms"`
		P99 float64 `json:"p99_ms"`
	} `json:"latency"`
	Strategy string `json:"strategy"`
	Revision string `json:"config_revision"`
	Degraded int    `json:"degraded_queries"`
	Run      string `json:"run,omitempty"`
}

func (e *retrievalEval) measure(ctx context.Context) error {
	if err := e.index(ctx); err != nil {
		return err
	}
	queries := make([]benchmark.Query, len(e.dataset.Queries))
	for i, q := range e.dataset.Queries {
		queries[i] = benchmark.Query{ID: q.ID, Text: q.Text}
	}
	progress := e.app.progress(len(queries), "queries")
	outcome, err := benchmark.Search(ctx, e.client.Retriever, benchmark.Options{
		Workspace: e.workspace, Strategy: e.strategy, Concurrency: e.concurrency, Report: progress.step,
	}, queries)
	progress.end()
	if err != nil {
		return err
	}
	if e.run != "" {
		if err := e.writeRun(outcome); err != nil {
			return err
		}
	}
	return e.show(outcome)
}

// index brings the workspace in step with the collection.
func (e *retrievalEval) index(ctx context.Context) error {
	_, err := e.client.Workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: e.workspace, DisplayName: "test collection " + e.workspace})
	if err != nil {
		return err
	}
	items, err := benchmark.Missing(ctx, e.client.Retriever, e.workspace, e.dataset.Documents)
	if err != nil {
		return err
	}
	results, err := e.app.takeIn(ctx, e.client.Retriever, e.workspace, items, ingest.Options{Vectors: true})
	if err != nil {
		return err
	}
	failures := 0
	for _, r := range results {
		if r.Failed() {
			failures++
			e.app.err.printf("%s %s: %s\n", e.app.err.style(red, "failed"), oneLine(r.URI, 0), why(r))
		}
	}
	if failures > 0 {
		e.app.err.printf("%d of %d documents could not be indexed; numbers without them would mislead\n", failures, len(e.dataset.Documents))
		return errReported
	}
	return nil
}

func (e *retrievalEval) writeRun(outcome *benchmark.Outcome) (err error) {
	f, err := os.Create(e.run)
	if err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ids := make([]string, len(e.dataset.Queries))
	for i, q := range e.dataset.Queries {
		ids[i] = q.ID
	}
	return measure.WriteRun(f, ids, outcome.Rankings, "ragmesh")
}

func (e *retrievalEval) show(outcome *benchmark.Outcome) error {
	rankings := make(map[string][]string, len(outcome.Rankings))
	for id, hits := range outcome.Rankings {
		rankings[id] = measure.Documents(hits)
	}
	scores, latency := measure.Score(rankings, e.dataset.Judgements), measure.Percentiles(outcome.Took)
	if e.app.json {
		r := report{
			Workspace: e.workspace, Documents: len(e.dataset.Documents), Scores: scores, Strategy: outcome.Strategy, Revision: outcome.Revision,
			Degraded: outcome.Degraded, Run: e.run,
		}
		r.Latency.P50, r.Latency.P95, r.Latency.P99 = milliseconds(latency.P50), milliseconds(latency.P95), milliseconds(latency.P99)
		return e.app.out.value(r)
	}
	out := e.app.out
	out.printf("%d documents in workspace %s, %d queries, strategy %s (%s)\n\n", len(e.dataset.Documents), e.workspace, scores.Queries,
		oneLine(outcome.Strategy, 0), oneLine(outcome.Revision, 0))
	fixed := func(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }
	ms := func(d time.Duration) string { return strconv.FormatFloat(milliseconds(d), 'f', 1, 64) + " ms" }
	out.table([]string{"HIT@1", "HIT@5", "RECALL@10", "MRR@10", "NDCG@10", "P50", "P95", "P99"}, [][]string{{
		fixed(scores.Hit1), fixed(scores.Hit5), fixed(scores.Recall10), fixed(scores.MRR10), fixed(scores.NDCG10),
		ms(latency.P50), ms(latency.P95), ms(latency.P99),
	}})
	if outcome.Degraded > 0 {
		out.printf("\n%s\n", out.style(yellow, fmt.Sprintf("%d queries were answered degraded; the numbers are lower than they should be", outcome.Degraded)))
	}
	if e.run != "" {
		out.printf("\nrun file: %s\n", e.run)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

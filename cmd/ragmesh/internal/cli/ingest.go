package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// ingestFlags are what `ragmesh ingest` is told.
type ingestFlags struct {
	noWait       bool
	base, prefix string
	readers      []string

	sync, dryRun, force bool
}

func (a *app) ingest() *cobra.Command {
	var f ingestFlags
	c := &cobra.Command{
		Use:   "ingest PATH|URL...",
		Short: "Take documents in: files, folders with everything below, pages of the web",
		Long: `Take documents in: files, and folders with every document below (hidden ones and symbolic links apart): PDF, DOCX, PPTX, XLSX, CSV, HTML,
Markdown, JSON, text, and ZIP archives of these. A page of the web is named by its address, http or https; its address is
its source URI.

A document is known by its source URI, which is its path as given, with forward slashes: "docs/fees.md" for
"ragmesh ingest docs". The same command run again replaces what changed and leaves the rest. With --base DIR
the URI is the path below that folder instead, wherever the command runs.

With --sync the workspace gets what is in one folder, no more and no less: documents whose file is gone are deleted,
too. Only documents whose source URI starts with the folder's path, or with --prefix, are ever deleted, and no more than half of
them without --force. --dry-run says what would be done.

Everybody in the workspace may read the documents, unless --reader names who; see also "ragmesh docs access". Documents
that are there keep their readers where --reader does not name others.

Waits until every document is searchable or has failed; exit code 1 when one failed. Ctrl-C stops the upload
and the waiting, not what the server has accepted. Where the workspace's queue is full, it waits for places in it.`,
		Example: "  ragmesh ingest docs handbook.md\n  ragmesh ingest --base ~/team ~/team/docs\n  ragmesh ingest --sync --prefix team ~/team/docs\n  ragmesh ingest https://example.com/fees.html",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			switch {
			case f.sync && (len(args) != 1 || f.base != "" || ingest.IsURL(args[0])):
				return usagef("--sync takes one folder, and --prefix in place of --base")
			case f.sync:
				return a.syncFolder(ctx, c, f, args[0])
			case f.dryRun, f.force, f.prefix != "":
				return usagef("--dry-run, --force and --prefix go with --sync")
			}
			return a.ingestAll(ctx, c, f, args)
		}),
	}
	c.Flags().BoolVar(&f.noWait, "no-wait", false, "end when the server has the documents safely, before they are searchable")
	c.Flags().StringVar(&f.base, "base", "", "folder that source URIs are relative to (default: paths as given)")
	c.Flags().BoolVar(&f.sync, "sync", false, "make the workspace as the folder is: deletes documents whose file is gone, too")
	c.Flags().StringVar(&f.prefix, "prefix", "", "with --sync: what source URIs start with (default: the folder's path as given)")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "with --sync: say what would be done, and do nothing")
	c.Flags().BoolVar(&f.force, "force", false, "with --sync: delete more than half of the folder's documents")
	addReaders(c, &f.readers)
	return c
}

func (a *app) ingestAll(ctx context.Context, c *client.Client, f ingestFlags, args []string) error {
	begin := time.Now()
	var paths []string
	var items []ingest.Item
	var done []ingest.Result
	pages := ingest.NewPages(nil)
	for _, arg := range args {
		if !ingest.IsURL(arg) {
			paths = append(paths, arg)
			continue
		}
		item, result, err := a.page(ctx, c, pages, arg)
		switch {
		case err != nil:
			return err
		case result != nil:
			done = append(done, *result)
		default:
			items = append(items, item)
		}
	}
	files, err := ingest.Find(f.base, paths...)
	if err != nil {
		return err
	}
	for _, file := range files {
		items = append(items, file.Item())
	}
	if len(items)+len(done) == 0 {
		return usagef("no documents there that can be read")
	}
	results, err := a.takeIn(ctx, c.Retriever, a.workspace, items, ingest.Options{NoWait: f.noWait, Readers: f.readers})
	if err != nil {
		return err
	}
	return a.showIngested(append(done, results...), f.noWait, time.Since(begin))
}

// page fetches a page; one that can't be had, or has not changed, is a result already.
func (a *app) page(ctx context.Context, c *client.Client, pages *ingest.Pages, arg string) (ingest.Item, *ingest.Result, error) {
	uri, err := ingest.PageURI(arg)
	if err != nil {
		return ingest.Item{}, nil, usagef("%v", err)
	}
	before, err := a.document(ctx, c, uri)
	if err != nil && fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Denied {
		return ingest.Item{}, nil, err
	}
	item, unchanged, err := pages.Fetch(ctx, uri, before)
	switch {
	case ctx.Err() != nil:
		return item, nil, ctx.Err()
	case err != nil:
		return item, &ingest.Result{URI: uri, Err: err}, nil //nolint:nilerr // this page's failure, not the command's
	case unchanged:
		return item, &ingest.Result{URI: uri, Document: before, Unchanged: true}, nil
	}
	return item, nil, nil
}

// syncFolder makes the workspace as a folder is.
func (a *app) syncFolder(ctx context.Context, c *client.Client, f ingestFlags, dir string) error {
	folder, err := ingest.NewFolder(dir, f.prefix)
	if err != nil {
		return usagef("%v", err)
	}
	begin := time.Now()
	in := ingest.New(c.Retriever, ingest.Options{Workspace: a.workspace, Readers: f.readers})
	plan, err := in.Plan(ctx, folder)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.showPlan(plan)
	}
	if err := plan.Check(); err != nil && !f.force {
		return err
	}
	results, err := a.takeIn(ctx, c.Retriever, a.workspace, plan.Items(), ingest.Options{NoWait: f.noWait, Readers: f.readers})
	if err != nil {
		return err
	}
	if err := in.Remove(ctx, c.Retriever, plan.Delete); err != nil {
		return err
	}
	if !a.json {
		a.out.printf("%d added, %d changed, %d deleted, %d unchanged\n", len(plan.Add), len(plan.Change), len(plan.Delete), plan.Unchanged)
	}
	if len(results) == 0 {
		return nil
	}
	return a.showIngested(results, f.noWait, time.Since(begin))
}

// showPlan says what a sync would do.
func (a *app) showPlan(p ingest.Plan) error {
	if a.json {
		return a.out.value(map[string]any{"add": uris(p.Add), "change": uris(p.Change), "delete": removed(p.Delete), "unchanged": p.Unchanged})
	}
	for _, row := range []struct {
		what string
		uris []string
	}{{"add", uris(p.Add)}, {"change", uris(p.Change)}, {"delete", removed(p.Delete)}} {
		for _, uri := range row.uris {
			a.out.printf("%-6s %s\n", row.what, oneLine(uri, 0))
		}
	}
	a.out.printf("%d to add, %d to change, %d to delete, %d unchanged\n", len(p.Add), len(p.Change), len(p.Delete), p.Unchanged)
	if err := p.Check(); err != nil {
		a.err.printf("%s\n", err)
	}
	return nil
}

func uris(files []ingest.File) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.URI
	}
	return out
}

func removed(documents []*retrieverv1.Document) []string {
	out := make([]string, len(documents))
	for i, d := range documents {
		out[i] = d.GetSourceUri()
	}
	return out
}

// takeIn takes items in, with a progress bar when somebody looks on.
func (a *app) takeIn(ctx context.Context, r ingest.Retriever, workspace string, items []ingest.Item, o ingest.Options) ([]ingest.Result, error) {
	progress := a.progress(len(items), "documents")
	defer progress.end()
	o.Workspace, o.Report, o.Queue = workspace, func(ingest.Result) { progress.step() }, progress.queue
	return ingest.New(r, o).Run(ctx, items)
}

// progress is a bar on the error stream, so that the output stays clean; without a terminal it is nothing.
type progress struct{ bar *progressbar.ProgressBar }

func (a *app) progress(total int, what string) progress {
	if !a.err.terminal || a.json {
		return progress{}
	}
	return progress{progressbar.NewOptions(total,
		progressbar.OptionSetWriter(a.err.w), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionEnableColorCodes(a.err.colour))}
}

// A bar that can't be drawn is no reason to stop the work.
func (p progress) step() {
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

// queue says beside the bar what the whole workspace has waiting.
func (p progress) queue(q *retrieverv1.Queue) {
	if p.bar == nil {
		return
	}
	what := "documents"
	if q.GetDocuments() > 0 {
		what = "documents (" + queueLine(q) + ")"
	}
	p.bar.Describe(what)
}

// queueLine returns "120 waiting, 2.5 MiB, 40 a second, about 3s left".
func queueLine(q *retrieverv1.Queue) string {
	line := fmt.Sprintf("%d waiting, %s", q.GetDocuments(), size(q.GetBytes()))
	if q.GetDocumentsPerSecond() > 0 {
		line += fmt.Sprintf(", %.3g a second", q.GetDocumentsPerSecond())
	}
	if q.GetEtaSeconds() > 0 {
		line += ", about " + (time.Duration(q.GetEtaSeconds()) * time.Second).String() + " left"
	}
	if q.GetRetrying() > 0 {
		line += fmt.Sprintf("; %d to be tried again", q.GetRetrying())
	}
	return line
}

func (p progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

func (a *app) showIngested(results []ingest.Result, noWait bool, took time.Duration) error {
	failures, unchanged, chunks := 0, 0, uint64(0)
	for _, r := range results {
		if r.Unchanged {
			unchanged++
		}
		chunks += uint64(r.Document.GetChunkCount())
		if r.Failed() {
			failures++
			a.err.printf("%s %s: %s\n", a.err.style(red, "failed"), oneLine(r.URI, 0), why(r))
		}
		if a.json && r.Document != nil {
			if err := a.out.message(&retrieverv1.GetDocumentResponse{Document: r.Document}); err != nil {
				return err
			}
		}
	}
	if !a.json {
		what := "searchable"
		if noWait {
			what = "accepted"
		}
		a.out.printf("%d of %d documents %s in workspace %s", len(results)-failures, len(results), what, a.workspace)
		if !noWait {
			a.out.printf(" (%d chunks)", chunks)
		}
		if unchanged > 0 {
			a.out.printf(", %d of them unchanged", unchanged)
		}
		a.out.printf(", %s\n", took.Round(10*time.Millisecond))
	}
	if failures > 0 {
		if !a.json {
			a.err.printf("%d of %d documents failed\n", failures, len(results))
		}
		return errReported
	}
	return nil
}

// why says why an item failed.
func why(r ingest.Result) string {
	if r.Err == nil {
		return failure(r.Document)
	}
	if f, ok := asFault(r.Err); ok {
		return fmt.Sprintf("%s (%s)", oneLine(f.Message, 0), fault.ReasonName(f.Reason))
	}
	return oneLine(r.Err.Error(), 0)
}

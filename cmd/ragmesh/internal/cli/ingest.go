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

func (a *app) ingest() *cobra.Command {
	var noWait bool
	var base string
	var readers []string
	c := &cobra.Command{
		Use:   "ingest PATH...",
		Short: "Take documents in: files, and folders with everything below",
		Long: `Take documents in: files, and folders with every document below (hidden ones and symbolic links apart): PDF, DOCX, PPTX, XLSX, CSV, HTML,
Markdown, JSON, text, and ZIP archives of these.

A document is known by its source URI, which is its path as given, with forward slashes: "docs/fees.md" for
"ragmesh ingest docs". The same command run again replaces what changed and leaves the rest. With --base DIR
the URI is the path below that folder instead, wherever the command runs.

Everybody in the workspace may read the documents, unless --reader names who; see also "ragmesh docs access". Documents
that are there keep their readers where --reader does not name others.

Waits until every document is searchable or has failed; exit code 1 when one failed. Ctrl-C stops the upload
and the waiting, not what the server has accepted.`,
		Example: "  ragmesh ingest docs handbook.md\n  ragmesh ingest --base ~/team ~/team/docs",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			files, err := ingest.Find(base, args...)
			if err != nil {
				return err
			}
			if len(files) == 0 {
				return usagef("no documents there that can be read")
			}
			items := make([]ingest.Item, len(files))
			for i, f := range files {
				items[i] = f.Item()
			}
			begin := time.Now()
			results, err := a.takeIn(ctx, c.Retriever, a.workspace, items, ingest.Options{NoWait: noWait, Readers: readers})
			if err != nil {
				return err
			}
			return a.showIngested(results, noWait, time.Since(begin))
		}),
	}
	c.Flags().BoolVar(&noWait, "no-wait", false, "end when the server has the documents safely, before they are searchable")
	c.Flags().StringVar(&base, "base", "", "folder that source URIs are relative to (default: paths as given)")
	addReaders(c, &readers)
	return c
}

// takeIn takes items in, with a progress bar when somebody looks on.
func (a *app) takeIn(ctx context.Context, r ingest.Retriever, workspace string, items []ingest.Item, o ingest.Options) ([]ingest.Result, error) {
	progress := a.progress(len(items), "documents")
	defer progress.end()
	o.Workspace, o.Report = workspace, func(ingest.Result) { progress.step() }
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

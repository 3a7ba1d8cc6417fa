package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// documentPage is how many documents are asked for at once.
const documentPage = 500

func (a *app) docs() *cobra.Command {
	c := &cobra.Command{Use: "docs", Short: "List, show, retry and remove documents, and say who may read them"}
	c.AddCommand(a.docsList(), a.docsShow(), a.docsRetry(), a.docsAccess(), a.docsRemove())
	return c
}

func (a *app) docsList() *cobra.Command {
	var state, prefix string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the workspace's documents with their state",
		Args:  cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			wanted, err := parseState(state)
			if err != nil {
				return err
			}
			req := &retrieverv1.ListDocumentsRequest{Workspace: a.workspace, PageSize: documentPage, State: wanted, SourcePrefix: prefix}
			var rows [][]string
			var queue *retrieverv1.Queue
			err = eachPage(ctx, c, req, func(resp *retrieverv1.ListDocumentsResponse) error {
				if a.json {
					return a.out.message(resp)
				}
				queue = resp.GetQueue()
				for _, d := range resp.GetDocuments() {
					rows = append(rows, documentRow(d))
				}
				return nil
			})
			if err != nil || a.json {
				return err
			}
			if len(rows) == 0 {
				a.out.printf("No documents in workspace %s. Add some with `ragmesh ingest PATH`.\n", a.workspace)
				return nil
			}
			a.out.table([]string{"SOURCE", "STATE", "CHUNKS", "SIZE", "LANGUAGE", "TITLE", "NOTE"}, rows)
			if queue.GetDocuments() > 0 {
				a.out.printf("\n%s\n", queueLine(queue))
			}
			if queue.GetFailed() > 0 && wanted == retrieverv1.DocumentState_DOCUMENT_STATE_FAILED {
				a.out.printf("\n`ragmesh docs retry --failed` queues those again that may succeed now.\n")
			}
			return nil
		}),
	}
	c.Flags().StringVar(&state, "state", "", "only documents in this state: queued, processing, ready or failed")
	c.Flags().StringVar(&prefix, "source", "", "only documents whose source URI starts with this")
	return c
}

// eachPage calls f with every page of a list of documents.
func eachPage(ctx context.Context, c *client.Client, req *retrieverv1.ListDocumentsRequest, f func(*retrieverv1.ListDocumentsResponse) error) error {
	for {
		resp, err := c.Retriever.ListDocuments(ctx, req)
		if err != nil {
			return err
		}
		if err := f(resp); err != nil {
			return err
		}
		if resp.GetNextPageToken() == "" || resp.GetNextPageToken() == req.GetPageToken() {
			return nil
		}
		req.PageToken = resp.GetNextPageToken()
	}
}

func parseState(name string) (retrieverv1.DocumentState, error) {
	if name == "" {
		return retrieverv1.DocumentState_DOCUMENT_STATE_UNSPECIFIED, nil
	}
	state, ok := retrieverv1.DocumentState_value["DOCUMENT_STATE_"+strings.ToUpper(name)]
	if !ok || state == 0 {
		return 0, usagef("%q is not a state; it is one of queued, processing, ready, failed", name)
	}
	return retrieverv1.DocumentState(state), nil
}

func stateName(s retrieverv1.DocumentState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "DOCUMENT_STATE_"))
}

func stageName(s retrieverv1.Stage) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STAGE_"))
}

func documentRow(d *retrieverv1.Document) []string {
	note := ""
	switch d.GetState() {
	case retrieverv1.DocumentState_DOCUMENT_STATE_FAILED:
		note = failure(d)
	case retrieverv1.DocumentState_DOCUMENT_STATE_PROCESSING:
		note = stageName(d.GetStage()) + left(d)
	case retrieverv1.DocumentState_DOCUMENT_STATE_QUEUED:
		note = strings.TrimPrefix(left(d), ", ")
		if f := d.GetLastError(); f != nil {
			note = oneLine(fmt.Sprintf("attempt %d failed: %s: %s; next at %s", d.GetAttempts(), stageName(f.GetStage()), f.GetReason(), d.GetRetryAt().AsTime().Local().Format(time.TimeOnly)), 0)
		}
	default:
	}
	return []string{
		oneLine(d.GetSourceUri(), 60), stateName(d.GetState()), strconv.FormatUint(uint64(d.GetChunkCount()), 10), size(d.GetSizeBytes()),
		d.GetLanguage(), oneLine(d.GetTitle(), 40), note,
	}
}

// left returns ", about 3s left", or nothing when nobody can tell.
func left(d *retrieverv1.Document) string {
	if d.GetEtaSeconds() == 0 {
		return ""
	}
	return ", about " + (time.Duration(d.GetEtaSeconds()) * time.Second).String() + " left"
}

// failure returns "parse: EMPTY_DOCUMENT: The document holds no text."
func failure(d *retrieverv1.Document) string {
	f := d.GetFailure()
	return oneLine(fmt.Sprintf("%s: %s: %s", stageName(f.GetStage()), f.GetReason(), f.GetMessage()), 0)
}

func size(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n)/unit, "KiB"
	if value >= unit {
		value, suffix = value/unit, "MiB"
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}

func (a *app) docsShow() *cobra.Command {
	var text bool
	c := &cobra.Command{
		Use:   "show DOCUMENT",
		Short: "Show one document, named by its id or its source URI",
		Args:  cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			d, err := a.document(ctx, c, args[0])
			if err != nil {
				return err
			}
			if text {
				return a.showText(ctx, c, d)
			}
			if a.json {
				return a.out.message(&retrieverv1.GetDocumentResponse{Document: d})
			}
			a.showDocument(d)
			return nil
		}),
	}
	c.Flags().BoolVar(&text, "text", false, "print the text that citations point into")
	return c
}

// document finds a document by its id, or by its source URI.
func (a *app) document(ctx context.Context, c *client.Client, name string) (*retrieverv1.Document, error) {
	if isUUID(name) {
		resp, err := c.Retriever.GetDocument(ctx, &retrieverv1.GetDocumentRequest{Workspace: a.workspace, DocumentId: name})
		return resp.GetDocument(), err
	}
	// Documents are ordered by source URI, so an exact match is the first that starts with it.
	resp, err := c.Retriever.ListDocuments(ctx, &retrieverv1.ListDocumentsRequest{Workspace: a.workspace, SourcePrefix: name, PageSize: 1})
	if err != nil {
		return nil, err
	}
	for _, d := range resp.GetDocuments() {
		if d.GetSourceUri() == name {
			return d, nil
		}
	}
	return nil, fault.New(fault.NotFound, fault.DocumentNotFound, "workspace %s has no document %s; `ragmesh docs list` shows what is there", a.workspace, name)
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (r == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return true
}

func (a *app) showDocument(d *retrieverv1.Document) {
	row := func(name, value string) {
		if value != "" {
			a.out.printf("%-10s %s\n", name, value)
		}
	}
	row("title", oneLine(d.GetTitle(), 0))
	row("source", oneLine(d.GetSourceUri(), 0))
	row("id", d.GetDocumentId())
	state := stateName(d.GetState())
	if d.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_PROCESSING {
		state += ", at " + stageName(d.GetStage())
	}
	row("state", state)
	if d.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_FAILED {
		row("failure", failure(d))
		if at := d.GetFailure().GetFailedAt(); at != nil {
			row("failed at", at.AsTime().Format(time.RFC3339)+fmt.Sprintf(", attempt %d", max(d.GetAttempts(), 1)))
		}
	}
	if f := d.GetLastError(); f != nil {
		row("last error", oneLine(fmt.Sprintf("%s: %s: %s", stageName(f.GetStage()), f.GetReason(), f.GetMessage()), 0))
		row("next try", d.GetRetryAt().AsTime().Format(time.RFC3339))
	}
	row("time left", strings.TrimPrefix(left(d), ", "))
	row("type", oneLine(d.GetContentType(), 0))
	row("language", d.GetLanguage())
	row("size", fmt.Sprintf("%s, %s of text in %d chunks", size(d.GetSizeBytes()), size(d.GetTextBytes()), d.GetChunkCount()))
	row("version", d.GetVersion())
	if d.GetLiveVersion() != d.GetVersion() {
		row("live", d.GetLiveVersion())
	}
	if d.GetAccess() != nil {
		row("readers", readersOf(d))
	}
	row("created", d.GetCreatedAt().AsTime().Format(time.RFC3339))
	row("updated", d.GetUpdatedAt().AsTime().Format(time.RFC3339))
}

// showText prints a document's canonical text, or with --json its pieces.
func (a *app) showText(ctx context.Context, c *client.Client, d *retrieverv1.Document) error {
	at := uint64(0)
	for {
		resp, err := c.Retriever.ReadDocument(ctx, &retrieverv1.ReadDocumentRequest{
			Workspace: a.workspace, DocumentId: d.GetDocumentId(), Version: d.GetLiveVersion(), Range: &retrieverv1.ByteRange{Start: at, End: d.GetTextBytes()},
		})
		if err != nil {
			return err
		}
		if a.json {
			err = a.out.message(resp)
		} else if _, err = fmt.Fprint(a.out.w, clean(resp.GetText())); err != nil {
			err = fmt.Errorf("write: %w", err)
		}
		if err != nil {
			return err
		}
		end := resp.GetRange().GetEnd()
		if end >= resp.GetTotalBytes() || end <= at {
			break
		}
		at = end
	}
	if !a.json {
		a.out.printf("\n")
	}
	return nil
}

func (a *app) docsRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "rm DOCUMENT...",
		Aliases: []string{"remove"},
		Short:   "Remove documents, named by id or source URI, with everything made from them",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			return a.each(args, func(name string) error { return a.remove(ctx, c, name) })
		}),
	}
}

func (a *app) remove(ctx context.Context, c *client.Client, name string) error {
	d, err := a.document(ctx, c, name)
	if err != nil {
		return err
	}
	resp, err := c.Retriever.DeleteDocument(ctx, &retrieverv1.DeleteDocumentRequest{Workspace: a.workspace, DocumentId: d.GetDocumentId()})
	if err != nil {
		return err
	}
	if a.json {
		return a.out.message(resp)
	}
	a.out.printf("removed %s (%d chunks)\n", oneLine(d.GetSourceUri(), 0), resp.GetRemovedChunks())
	return nil
}

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

func (a *app) docsRetry() *cobra.Command {
	var all, permanent bool
	var prefix string
	var reasons []string
	c := &cobra.Command{
		Use:   "retry [DOCUMENT...]",
		Short: "Queue failed documents again: those named by id or source URI, or with --failed all",
		Long: `Queue failed documents again: those named by id or source URI, or with --failed all that failed of something that may be over, such
as a store that was away. Documents that are the reason themselves (empty, encrypted, not readable) would only fail again: they
are left, unless they are named, their --reason is, or --permanent says to try them too, as after an upgrade with a mended parser.

"ragmesh docs list --state failed" shows what failed, of what.`,
		Example: "  ragmesh docs retry --failed\n  ragmesh docs retry --failed --reason PARSER_FAILED --source reports/\n  ragmesh docs retry docs/fees.md",
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			if all == (len(args) > 0) {
				return usagef("name documents, or say --failed for all that failed")
			}
			if len(args) > 0 && (prefix != "" || len(reasons) > 0 || permanent) {
				return usagef("--source, --reason and --permanent go with --failed")
			}
			req := &retrieverv1.RetryDocumentsRequest{Workspace: a.workspace, SourcePrefix: prefix, Reasons: reasons, IncludePermanent: permanent}
			for _, name := range args {
				d, err := a.document(ctx, c, name)
				if err != nil {
					return err
				}
				req.DocumentIds = append(req.DocumentIds, d.GetDocumentId())
			}
			return a.retryAll(ctx, c, req)
		}),
	}
	c.Flags().BoolVar(&all, "failed", false, "all documents that failed of something that may be over")
	c.Flags().BoolVar(&permanent, "permanent", false, "with --failed: also those that are the reason themselves")
	c.Flags().StringVar(&prefix, "source", "", "with --failed: only documents whose source URI starts with this")
	c.Flags().StringSliceVar(&reasons, "reason", nil, "with --failed: only documents that failed for this reason, as docs list shows it; may be repeated")
	return c
}

// retryAll queues documents again until none is left, waiting where the queue is full.
func (a *app) retryAll(ctx context.Context, c *client.Client, req *retrieverv1.RetryDocumentsRequest) error {
	total := &retrieverv1.RetryDocumentsResponse{}
	for {
		resp, err := c.Retriever.RetryDocuments(ctx, req)
		if f, ok := asFault(err); ok && f.Reason == fault.QueueFull {
			if err := a.pause(ctx, f.RetryAfter); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		total.Retried += resp.GetRetried()
		total.Permanent = resp.GetPermanent()
		if resp.GetRemaining() == 0 || resp.GetRetried() == 0 {
			total.Remaining = resp.GetRemaining()
			break
		}
	}
	if a.json {
		return a.out.message(total)
	}
	a.out.printf("%d documents queued again", total.GetRetried())
	if n := total.GetPermanent(); n > 0 {
		a.out.printf("; %d left, which would fail again (--permanent tries them too)", n)
	}
	a.out.printf("\n")
	return nil
}

// pause waits for as long as the server says.
func (a *app) pause(ctx context.Context, d time.Duration) error {
	return repeat.Pause(ctx, max(d, time.Second))
}

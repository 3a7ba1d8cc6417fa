package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

func (a *app) docsAccess() *cobra.Command {
	var readers []string
	var everyone, admins bool
	c := &cobra.Command{
		Use:   "access DOCUMENT...",
		Short: "Show or change who may read documents, named by id or source URI",
		Long: `Show or change who may read documents, named by id or source URI. Without a flag it shows.

A document that names readers exists for them and the workspace's administrators only: in searches, answers, conversations and lists. A reader
is "user:NAME", "group:NAME", "service:NAME" or "key:ID". The change counts at once, for answers given before too.`,
		Example: "  ragmesh docs access docs/salaries.md --reader group:hr --reader user:ann@example.com\n  ragmesh docs access docs/salaries.md --everyone",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			chosen := 0
			for _, set := range []bool{len(readers) > 0, everyone, admins} {
				if set {
					chosen++
				}
			}
			if chosen > 1 {
				return usagef("--reader, --everyone and --admins-only exclude each other")
			}
			return a.each(args, func(name string) error {
				d, err := a.document(ctx, c, name)
				if err != nil {
					return err
				}
				if chosen > 0 {
					req := &retrieverv1.SetDocumentAccessRequest{Workspace: a.workspace, DocumentId: d.GetDocumentId()}
					if !everyone {
						req.Access = &retrieverv1.AccessList{Readers: readers}
					}
					resp, err := c.Retriever.SetDocumentAccess(ctx, req)
					if err != nil {
						return err
					}
					d = resp.GetDocument()
				}
				if a.json {
					return a.out.message(&retrieverv1.SetDocumentAccessResponse{Document: d})
				}
				a.out.printf("%s: %s\n", oneLine(d.GetSourceUri(), 0), readersOf(d))
				return nil
			})
		}),
	}
	addReaders(c, &readers)
	c.Flags().BoolVar(&everyone, "everyone", false, "everybody in the workspace may read it")
	c.Flags().BoolVar(&admins, "admins-only", false, "nobody but the workspace's administrators may read it")
	return c
}

func addReaders(c *cobra.Command, readers *[]string) {
	c.Flags().StringArrayVar(readers, "reader", nil, "who may read it beside the workspace's administrators, e.g. group:hr; may be repeated")
}

// readersOf says who may read a document.
func readersOf(d *retrieverv1.Document) string {
	switch {
	case d.GetAccess() == nil:
		return "everybody in the workspace"
	case len(d.GetAccess().GetReaders()) == 0:
		return "administrators only"
	}
	names := make([]string, len(d.GetAccess().GetReaders()))
	for i, r := range d.GetAccess().GetReaders() {
		names[i] = oneLine(r, 0)
	}
	return strings.Join(names, ", ")
}

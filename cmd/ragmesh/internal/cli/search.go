package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// excerptLines is how much of a passage search shows.
const excerptLines = 4

func (a *app) search() *cobra.Command {
	var top uint32
	var strategy string
	var prefixes []string
	c := &cobra.Command{
		Use:   "search QUERY",
		Short: "Find the passages that match a query",
		Args:  cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			resp, err := c.Retriever.Search(ctx, &retrieverv1.SearchRequest{
				Workspace: a.workspace, Query: strings.Join(args, " "), Strategy: strategy, TopK: top,
				Filter: &retrieverv1.Filter{SourcePrefixes: prefixes},
			})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.showPassages(resp)
			return nil
		}),
	}
	c.Flags().Uint32VarP(&top, "top", "n", 0, "most passages to show, 1 to 100 (default: the strategy's)")
	c.Flags().StringVar(&strategy, "strategy", "", "retrieval strategy (default: the configured one)")
	c.Flags().StringSliceVar(&prefixes, "source", nil, "only documents whose source URI starts with this; may be repeated")
	return c
}

func (a *app) showPassages(resp *retrieverv1.SearchResponse) {
	for i, p := range resp.GetPassages() {
		a.out.printf("%d. %s\n", i+1, a.out.style(bold, heading(p.GetTitle(), p.GetHeadingPath())))
		a.out.printf("   %s\n", a.out.style(dim, place(p.GetSourceUri(), p.GetRange())+"  score "+score(p.GetScore())))
		for _, line := range wrap(p.GetText(), min(a.out.width, maxTextWidth)-3, excerptLines) {
			a.out.printf("   %s\n", line)
		}
	}
	if len(resp.GetPassages()) == 0 {
		a.out.printf("Nothing matches in workspace %s.\n", a.workspace)
	}
	a.showDegradations(resp.GetDegradations())
}

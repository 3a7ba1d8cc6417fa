package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

// stale is how old the knowledge of other processes' usage may be before that is said.
const stale = 30 * time.Second

func (a *app) usage() *cobra.Command {
	var by []string
	req := &llmv1.GetUsageRequest{}
	c := &cobra.Command{
		Use:   "usage",
		Short: "Show what models were used for, what that cost, and what is left of budgets",
		Long: "Show what models were used for in a workspace: requests, tokens and cost, and what is left of its budgets. Costs are in the currency of the prices " +
			"in llm-gateway.yaml; days are in UTC. It needs the role admin.",
		Example: "  ragmesh usage\n  ragmesh usage --by day,key --from 2026-11-01 --to 2026-11-21 -w team",
		Args:    cobra.NoArgs,
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			for _, name := range by {
				d, ok := dimensions()[name]
				if !ok {
					return usagef("usage is told apart by day, key, model, not by %q", name)
				}
				req.By = append(req.By, d)
			}
			req.Workspace = a.workspace
			resp, err := c.Models.GetUsage(ctx, req)
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			a.showUsage(resp, by)
			return nil
		}),
	}
	c.Flags().StringSliceVar(&by, "by", []string{"model"}, "what rows are told apart by: day, key, model")
	c.Flags().StringVar(&req.FirstDay, "from", "", "first day, such as 2026-11-01; the first of the month if not given")
	c.Flags().StringVar(&req.LastDay, "to", "", "last day; today if not given")
	return c
}

func dimensions() map[string]llmv1.UsageDimension {
	return map[string]llmv1.UsageDimension{
		"day": llmv1.UsageDimension_USAGE_DIMENSION_DAY, "key": llmv1.UsageDimension_USAGE_DIMENSION_KEY, "model": llmv1.UsageDimension_USAGE_DIMENSION_MODEL,
	}
}

func (a *app) showUsage(resp *llmv1.GetUsageResponse, by []string) {
	if t := resp.GetTotal(); t.GetRequests()+t.GetFailed()+t.GetUnsettled() == 0 {
		a.out.printf("No models were used in workspace %s in these days.\n", a.workspace)
	} else {
		a.usageTable(resp, by)
	}
	a.usageBudgets(resp)
	t := resp.GetTotal()
	notes := []struct {
		n    uint64
		one  string
		many string
	}{
		{t.GetUnsettled(), "1 request was at a provider when its process ended; it counts with the most that it may have cost", "%d requests were at a provider when their process ended; they count with the most that they may have cost, " + money(t.GetUnsettledMicros())},
		{t.GetUnpriced(), "1 try has no price, so that its cost is missing; prices are in llm-gateway.yaml", "%d tries have no price, so that their cost is missing; prices are in llm-gateway.yaml"},
		{t.GetEstimated(), "1 try was counted here, because its provider did not", "%d tries were counted here, because their provider did not"},
	}
	for _, n := range notes {
		switch {
		case n.n == 1:
			a.out.printf("\n%s.", n.one)
		case n.n > 1:
			a.out.printf("\n"+n.many+".", n.n)
		}
	}
	switch at := resp.GetKnownAt(); {
	case at == nil:
		a.out.printf("\nIt is not known what other processes used: NATS has not answered yet.")
	case time.Since(at.AsTime()) > stale:
		a.out.printf("\nWhat other processes used is known until %s: NATS does not answer.", at.AsTime().Format(time.RFC3339))
	}
	a.out.printf("\n")
}

// usageTable shows the rows, and their sum.
func (a *app) usageTable(resp *llmv1.GetUsageResponse, by []string) {
	var header []string
	for _, name := range by {
		header = append(header, strings.ToUpper(name))
	}
	header = append(header, "REQUESTS", "CACHED", "FAILED", "PROMPT", "COMPLETION", "COST")
	row := func(r *llmv1.UsageRow, names func(string) string) []string {
		var out []string
		for _, name := range by {
			out = append(out, names(name))
		}
		n := func(n uint64) string { return strconv.FormatUint(n, 10) }
		return append(out, n(r.GetRequests()), n(r.GetCached()), n(r.GetFailed()), n(r.GetPromptTokens()), n(r.GetCompletionTokens()), money(r.GetCostMicros()))
	}
	var rows [][]string
	for _, r := range resp.GetRows() {
		rows = append(rows, row(r, func(name string) string {
			switch name {
			case "day":
				return r.GetDay()
			case "key":
				return oneLine(r.GetKey(), 40)
			}
			return oneLine(strings.TrimSuffix(r.GetModel()+" "+targetName(r), " "), 60)
		}))
	}
	if len(by) == 0 { // the one row is the sum
		rows = nil
	}
	sum := row(resp.GetTotal(), func(string) string { return "" })
	if len(by) > 0 {
		sum[0] = "all"
	}
	a.out.table(header, append(rows, sum))
}

func targetName(r *llmv1.UsageRow) string {
	if r.GetProvider() == "" {
		return "" // the cache's, and what never came to a target
	}
	return r.GetProvider() + "/" + r.GetProviderModel()
}

func (a *app) usageBudgets(resp *llmv1.GetUsageResponse) {
	if len(resp.GetBudgets()) == 0 {
		return
	}
	rows := make([][]string, 0, len(resp.GetBudgets()))
	for _, b := range resp.GetBudgets() {
		whose, period := "whole workspace", "day"
		if b.GetKey() != "" {
			whose = oneLine(b.GetKey(), 40)
		}
		if b.GetMonth() {
			period = "month"
		}
		rows = append(rows, []string{
			whose, period, fmt.Sprintf("%.2f", float64(b.GetLimitMicros())/1e6), money(b.GetSpentMicros()), money(b.GetReservedMicros()), b.GetResetsAt().AsTime().Format(time.RFC3339),
		})
	}
	a.out.printf("\n")
	a.out.table([]string{"BUDGET", "OF A", "LIMIT", "SPENT", "RESERVED", "UNTIL"}, rows)
	if resp.GetShadow() {
		a.out.printf("Limits and budgets are in shadow: they refuse nothing.\n")
	}
}

// money shows millionths of the currency.
func money(micros uint64) string { return fmt.Sprintf("%.4f", float64(micros)/1e6) }

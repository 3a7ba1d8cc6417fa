package rpc

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/fault"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
)

// Usage is what was used; *[ledger.Ledger] is one.
type Usage interface {
	Usage(workspace string, first, last ledger.Day) []ledger.Entry
	KnownAt() time.Time
}

// Budgets are what may be spent; *[account.Book] is one.
type Budgets interface {
	Budgets(workspace string, keys []string) []account.Budget
	Shadow() bool
}

// Accounts are what is known of usage and money.
type Accounts struct {
	Usage   Usage
	Budgets Budgets
	// Forget forgets what a deleted workspace left behind.
	Forget func(ctx context.Context, workspace string) error
}

const (
	// maxDays is how many days one answer covers: as many as are kept.
	maxDays = 400
	maxRows = 10_000
)

// GetUsage says what models were used for in a workspace.
func (h *Handler) GetUsage(_ context.Context, r *llmv1.GetUsageRequest) (*llmv1.GetUsageResponse, error) {
	first, last, err := h.days(r)
	if err != nil {
		return nil, err
	}
	sums, total, keys := sumUp(h.accounts.Usage.Usage(r.GetWorkspace(), first, last), r.GetBy())
	out := &llmv1.GetUsageResponse{Total: rowOf(usageKey{}, total), Shadow: h.accounts.Budgets.Shadow()}
	for _, k := range slices.SortedFunc(maps.Keys(sums), usageKey.compare) {
		if len(out.GetRows()) == maxRows {
			break
		}
		out.Rows = append(out.Rows, rowOf(k, *sums[k]))
	}
	for _, b := range h.accounts.Budgets.Budgets(r.GetWorkspace(), keys) {
		out.Budgets = append(out.Budgets, &llmv1.UsageBudget{
			Key: b.Key, LimitMicros: b.Limit, SpentMicros: b.Spent, ReservedMicros: b.Reserved, ResetsAt: timestamppb.New(b.Resets), Month: b.Month,
		})
	}
	if at := h.accounts.Usage.KnownAt(); !at.IsZero() {
		out.KnownAt = timestamppb.New(at)
	}
	return out, nil
}

// sumUp adds up entries by what they are told apart by, and all of them, and returns the keys there are.
func sumUp(entries []ledger.Entry, dimensions []llmv1.UsageDimension) (sums map[usageKey]*ledger.Numbers, total ledger.Numbers, keys []string) {
	by := func(d llmv1.UsageDimension) bool { return slices.Contains(dimensions, d) }
	sums = map[usageKey]*ledger.Numbers{}
	seen := map[string]bool{}
	for _, e := range entries {
		var k usageKey
		if by(llmv1.UsageDimension_USAGE_DIMENSION_DAY) {
			k.day = e.Day
		}
		if by(llmv1.UsageDimension_USAGE_DIMENSION_KEY) {
			k.key = e.Key
		}
		if by(llmv1.UsageDimension_USAGE_DIMENSION_MODEL) {
			k.target = e.Target
		}
		if sums[k] == nil {
			sums[k] = &ledger.Numbers{}
		}
		sums[k].Add(e.Numbers)
		total.Add(e.Numbers)
		seen[e.Key] = true
	}
	return sums, total, slices.Sorted(maps.Keys(seen))
}

// days are those that a request is about.
func (h *Handler) days(r *llmv1.GetUsageRequest) (first, last ledger.Day, err error) {
	last = ledger.DayOf(h.clock())
	first = last.First()
	refused := func(field, why string) error {
		return fault.New(fault.Invalid, fault.InvalidRequest, "the days are not as they must be: %s", why).WithField(field, why)
	}
	if s := r.GetLastDay(); s != "" {
		if last, err = ledger.ParseDay(s); err != nil {
			return 0, 0, refused("last_day", err.Error())
		}
		first = min(first, last.First())
	}
	if s := r.GetFirstDay(); s != "" {
		if first, err = ledger.ParseDay(s); err != nil {
			return 0, 0, refused("first_day", err.Error())
		}
	}
	switch {
	case first > last:
		return 0, 0, refused("first_day", "it is after the last one")
	case last-first >= maxDays:
		return 0, 0, refused("first_day", "at most 400 days at once")
	}
	return first, last, nil
}

// usageKey is what rows are told apart by; what they are not is zero.
type usageKey struct {
	day    ledger.Day
	key    string
	target ledger.Target
}

func (k usageKey) compare(o usageKey) int {
	return cmp.Or(cmp.Compare(k.day, o.day), strings.Compare(k.key, o.key), strings.Compare(k.target.Route, o.target.Route),
		strings.Compare(k.target.Provider, o.target.Provider), strings.Compare(k.target.Model, o.target.Model))
}

func rowOf(k usageKey, n ledger.Numbers) *llmv1.UsageRow {
	out := &llmv1.UsageRow{
		Key: k.key, Model: k.target.Route, Provider: k.target.Provider, ProviderModel: k.target.Model,
		Requests: n.Requests, Cached: n.Cached, Failed: n.Failed, Unsettled: n.Unsettled,
		PromptTokens: n.Prompt, CachedPromptTokens: n.CachedPrompt, CompletionTokens: n.Completion,
		CostMicros: n.Cost, UnsettledMicros: n.UnsettledCost, Unpriced: n.Unpriced, Estimated: n.Estimated,
	}
	if k.day != 0 {
		out.Day = k.day.String()
	}
	return out
}

// DeleteWorkspace forgets a workspace.
func (h *Handler) DeleteWorkspace(ctx context.Context, r *llmv1.DeleteWorkspaceRequest) (*llmv1.DeleteWorkspaceResponse, error) {
	if err := h.accounts.Forget(ctx, r.GetWorkspace()); err != nil {
		return nil, err
	}
	return &llmv1.DeleteWorkspaceResponse{}, nil
}

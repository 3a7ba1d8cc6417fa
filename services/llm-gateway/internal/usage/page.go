package usage

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
)

func encode(p ledger.Page) ([]byte, error) {
	m := &eventv1.UsageRecorded{Workspace: p.Workspace, Day: p.Day.String(), Node: p.Node, Life: p.Life}
	for _, r := range p.Rows {
		m.Rows = append(m.Rows, &eventv1.UsageRow{
			Key: r.Key, Route: r.Route, Provider: r.Provider, Model: r.Model,
			Requests: r.Requests, Cached: r.Cached, Failed: r.Failed, Unsettled: r.Unsettled,
			PromptTokens: r.Prompt, CachedPromptTokens: r.CachedPrompt, CompletionTokens: r.Completion,
			CostMicros: r.Cost, UnsettledMicros: r.UnsettledCost, Unpriced: r.Unpriced, Estimated: r.Estimated,
		})
	}
	payload, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode usage: %w", err)
	}
	return payload, nil
}

func decode(payload []byte) (ledger.Page, error) {
	var m eventv1.UsageRecorded
	if err := proto.Unmarshal(payload, &m); err != nil {
		return ledger.Page{}, fmt.Errorf("decode usage: %w", err)
	}
	day, err := ledger.ParseDay(m.GetDay())
	if err != nil {
		return ledger.Page{}, fmt.Errorf("decode usage: %w", err)
	}
	p := ledger.Page{Workspace: m.GetWorkspace(), Node: m.GetNode(), Day: day, Life: m.GetLife()}
	for _, r := range m.GetRows() {
		p.Rows = append(p.Rows, ledger.Row{
			Key: r.GetKey(), Target: ledger.Target{Route: r.GetRoute(), Provider: r.GetProvider(), Model: r.GetModel()},
			Numbers: ledger.Numbers{
				Requests: r.GetRequests(), Cached: r.GetCached(), Failed: r.GetFailed(), Unsettled: r.GetUnsettled(),
				Prompt: r.GetPromptTokens(), CachedPrompt: r.GetCachedPromptTokens(), Completion: r.GetCompletionTokens(),
				Cost: r.GetCostMicros(), UnsettledCost: r.GetUnsettledMicros(), Unpriced: r.GetUnpriced(), Estimated: r.GetEstimated(),
			},
		})
	}
	return p, nil
}

package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/fault"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// models is a gateway with one prompt.
type models struct {
	llmv1connect.UnimplementedLLMServiceHandler
}

func (models) ListPrompts(context.Context, *llmv1.ListPromptsRequest) (*llmv1.ListPromptsResponse, error) {
	return &llmv1.ListPromptsResponse{Prompts: []*llmv1.Prompt{{
		PromptId: "default", Revision: "abc", Description: "Answers.", CanaryPromptId: "next", CanaryPercent: 2.5,
		Variables: []*llmv1.PromptVariable{{Name: "company", Required: true}, {Name: "tone"}},
	}}}, nil
}

func (models) RenderPrompt(_ context.Context, r *llmv1.RenderPromptRequest) (*llmv1.RenderPromptResponse, error) {
	if r.GetGenerate().GetVariables()["company"] == "" {
		return nil, fault.New(fault.Invalid, fault.InvalidRequest, "the values for prompt %q are not as it declares them", "default").
			WithField("variables.company", "must be given: a string")
	}
	return &llmv1.RenderPromptResponse{
		Messages: []*llmv1.Message{
			{Role: llmv1.Role_ROLE_SYSTEM, Content: "You speak for " + r.GetGenerate().GetVariables()["company"] + ".\x1b[31m"},
			{Role: llmv1.Role_ROLE_USER, Content: r.GetGenerate().GetQuestion()},
		},
		Started: &llmv1.Started{PromptId: "next", CanaryOf: "default", PromptRevision: "abc", Model: "main", Provider: "openai"}, PromptTokens: 12,
	}, nil
}

func (models) GetUsage(_ context.Context, r *llmv1.GetUsageRequest) (*llmv1.GetUsageResponse, error) {
	row := &llmv1.UsageRow{Requests: 12, Cached: 2, Failed: 1, PromptTokens: 3000, CachedPromptTokens: 1000, CompletionTokens: 640, CostMicros: 1_234_567, Unpriced: 3, Unsettled: 1, UnsettledMicros: 5}
	out := &llmv1.GetUsageResponse{Total: row, Shadow: true, Budgets: []*llmv1.UsageBudget{{LimitMicros: 5_000_000, SpentMicros: 1_234_567, Month: true, ResetsAt: timestamppb.New(time.Unix(0, 0))}}}
	if r.GetFirstDay() == "2026-01-01" {
		return &llmv1.GetUsageResponse{Total: &llmv1.UsageRow{}, KnownAt: timestamppb.Now()}, nil
	}
	if len(r.GetBy()) > 0 {
		out.Rows = []*llmv1.UsageRow{{Day: "2026-11-21", Key: "key:ci\x1b", Model: "default", Provider: "openai", ProviderModel: "gpt", Requests: 11}}
	}
	return out, nil
}

func TestUsage(t *testing.T) {
	t.Parallel()
	url := serve(t, &edge{})
	got := run(t, t.Context(), "", "usage", "--by", "day,key,model", "--server", url, "-w", "bank")
	for _, want := range []string{
		"2026-11-21", "key:ci", "default", "openai/gpt", "1.2346", "whole workspace", "5.00", "month", "shadow", "not known what other processes used",
		"3 tries have no price", "1 request was at a provider when its process ended",
	} {
		if !strings.Contains(got.stdout+got.stderr, want) {
			t.Errorf("usage lacks %q: %+v", want, got)
		}
	}
	if got.code != 0 || strings.Contains(got.stdout, "\x1b") {
		t.Errorf("usage: %+v", got)
	}
	if got := run(t, t.Context(), "", "usage", "--from", "2026-01-01", "--server", url, "-w", "bank"); got.code != 0 || !strings.Contains(got.stdout, "No models were used") {
		t.Errorf("usage of nothing: %+v", got)
	}
	if got := run(t, t.Context(), "", "usage", "--by", "moon", "--server", url); got.code != 2 || !strings.Contains(got.stderr, "day, key, model") {
		t.Errorf("usage by what there is not: %+v", got)
	}
	if got := run(t, t.Context(), "", "usage", "--json", "--server", url, "-w", "bank"); !strings.Contains(got.stdout, `"costMicros"`) {
		t.Errorf("usage --json: %+v", got)
	}
}

func TestPrompts(t *testing.T) {
	t.Parallel()
	url := serve(t, &edge{})
	got := run(t, t.Context(), "", "prompts", "list", "--server", url)
	if got.code != 0 || !strings.Contains(got.stdout, "company* tone") || !strings.Contains(got.stdout, "next 2.5 %") {
		t.Errorf("prompts list: %+v", got)
	}
	got = run(t, t.Context(), "", "prompts", "render", "What", "now?", "--variable", "company=The Bank", "--server", url, "-w", "bank")
	for _, want := range []string{"system\nYou speak for The Bank.", "user\nWhat now?", "prompt next, revision abc, about 12 tokens, for main (openai)", "canary of default"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("prompts render lacks %q: %+v", want, got)
		}
	}
	if strings.Contains(got.stdout, "\x1b") {
		t.Error("a prompt's control characters reach the terminal")
	}
	got = run(t, t.Context(), "", "prompts", "render", "What now?", "--server", url, "-w", "bank")
	if got.code != 1 || !strings.Contains(got.stderr, "variables.company") {
		t.Errorf("prompts render without a variable: %+v", got)
	}
}

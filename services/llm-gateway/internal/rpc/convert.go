package rpc

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ragmesh/ragmesh/libs/fault"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/answer"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/prompt"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// stage names this service in degradations.
const stage = "llm-gateway"

func requestOf(r *llmv1.GenerateRequest) (answer.Request, error) {
	out := answer.Request{
		Ask: ask.Request{
			Workspace: r.GetWorkspace(), Question: r.GetQuestion(), Language: r.GetLanguage(), Instructions: r.GetInstructions(),
			Variables: r.GetVariables(),
		},
		PromptID: r.GetPromptId(), Model: r.GetModel(), Session: r.GetSession(), MaxTokens: int(r.GetMaxTokens()),
		Temperature: r.Temperature, TopP: r.TopP, Stop: r.GetStop(), Cache: modeOf(r.GetCache()),
	}
	for _, m := range r.GetHistory() {
		out.Ask.History = append(out.Ask.History, ask.Message{Role: roleOf(m.GetRole()), Content: m.GetContent()})
	}
	seen := make(map[uint32]bool)
	for _, s := range r.GetSources() {
		source, err := sourceOf(s)
		if err != nil {
			return answer.Request{}, err
		}
		if seen[s.GetNumber()] {
			return answer.Request{}, invalidSource("every source needs a number of its own")
		}
		seen[s.GetNumber()] = true
		out.Ask.Sources = append(out.Ask.Sources, source)
	}
	return out, nil
}

func modeOf(m llmv1.CacheMode) cache.Mode {
	return map[llmv1.CacheMode]cache.Mode{
		llmv1.CacheMode_CACHE_MODE_OFF: cache.Off, llmv1.CacheMode_CACHE_MODE_ON: cache.On,
		llmv1.CacheMode_CACHE_MODE_READ_ONLY: cache.ReadOnly, llmv1.CacheMode_CACHE_MODE_REFRESH: cache.Refresh,
	}[m]
}

func invalidSource(description string) error {
	return fault.New(fault.Invalid, fault.InvalidRequest, "the sources are not as they must be").WithField("sources", description)
}

func sourceOf(s *llmv1.Source) (ask.Source, error) {
	out := ask.Source{Number: int(s.GetNumber()), ID: s.GetId()}
	switch {
	case s.GetNumber() == 0 || s.GetNumber() > 9999:
		return ask.Source{}, invalidSource("numbers are 1 to 9999")
	case s.GetPassage() != nil:
		p := s.GetPassage()
		out.Document, out.Offset = p.GetDocumentId(), int(min(p.GetRange().GetStart(), 1<<40))
		out.Title, out.Headings, out.Text, out.Score = p.GetTitle(), p.GetHeadingPath(), p.GetText(), p.GetScore()
	case s.GetToolResult() != nil:
		t := s.GetToolResult()
		out.Text, out.Tool = t.GetText(), &ask.Tool{Name: t.GetTool(), Failure: t.GetError().GetMessage()}
		if t.GetError() != nil && out.Tool.Failure == "" {
			out.Tool.Failure = "the call failed"
		}
	default:
		return ask.Source{}, invalidSource("a source is a passage or a tool result")
	}
	return out, nil
}

func roleOf(r llmv1.Role) ask.Role {
	switch r {
	case llmv1.Role_ROLE_SYSTEM:
		return ask.System
	case llmv1.Role_ROLE_ASSISTANT:
		return ask.Assistant
	default:
		return ask.User
	}
}

func messagesOf(messages []ask.Message) []*llmv1.Message {
	roles := map[ask.Role]llmv1.Role{
		ask.System: llmv1.Role_ROLE_SYSTEM, ask.User: llmv1.Role_ROLE_USER, ask.Assistant: llmv1.Role_ROLE_ASSISTANT,
	}
	out := make([]*llmv1.Message, len(messages))
	for i, m := range messages {
		out[i] = &llmv1.Message{Role: roles[m.Role], Content: m.Content}
	}
	return out
}

func startedOf(a answer.Asked, s route.Started, revision string) *llmv1.Started {
	out := &llmv1.Started{
		PromptId: a.Template.ID, CanaryOf: a.CanaryOf, PromptHash: a.Rendered.Hash, PromptRevision: a.Template.Revision,
		Model: a.Route, Provider: s.Name, ProviderModel: s.Model, Rung: count(s.Rung), ConfigRevision: revision, Cached: s.Cached,
	}
	for _, source := range a.Rendered.Sources {
		out.SourceIds = append(out.SourceIds, source.ID)
	}
	for _, skip := range s.Skipped {
		out.Degradations = append(out.Degradations, &retrieverv1.Degradation{
			Stage: stage, Reason: strings.ToLower(fault.ReasonName(skip.Fault.Reason)), Message: clip(skip.Name+": "+skip.Fault.Message, 300),
		})
	}
	return out
}

func usageOf(u provider.Usage) *llmv1.Usage {
	return &llmv1.Usage{
		PromptTokens: count(u.Prompt), CompletionTokens: count(u.Completion), CachedPromptTokens: count(u.Cached),
		Estimated: u.Estimated, CostMicros: u.CostMicros,
	}
}

// maxTries is how many tries an answer names.
const maxTries = 64

func triesOf(tries []route.Tried) []*llmv1.Try {
	var out []*llmv1.Try
	for _, t := range tries[:min(len(tries), maxTries)] {
		out = append(out, &llmv1.Try{
			Provider: t.Rung.Provider, ProviderModel: t.Rung.Model, Rung: count(t.Rung.Number), Outcome: t.Outcome,
			Duration: durationpb.New(t.Took), Usage: usageOf(t.Usage),
		})
	}
	return out
}

func finishOf(f provider.Finish) llmv1.FinishReason {
	switch f {
	case provider.Length:
		return llmv1.FinishReason_FINISH_REASON_LENGTH
	case provider.Filtered:
		return llmv1.FinishReason_FINISH_REASON_FILTERED
	case provider.Abstained:
		return llmv1.FinishReason_FINISH_REASON_ABSTAINED
	default:
		return llmv1.FinishReason_FINISH_REASON_STOP
	}
}

// count makes a wire number of one that a provider may have sent.
func count(n int) uint32 {
	return uint32(min(max(n, 0), 1<<31-1))
}

// clip cuts s to at most limit bytes, between characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func promptOf(t *prompt.Template) *llmv1.Prompt {
	out := &llmv1.Prompt{
		PromptId: t.ID, Revision: t.Revision, Description: t.Description, CanaryPromptId: t.Canary.Prompt, CanaryPercent: t.Canary.Percent,
		HasOutputSchema: t.Schema != nil,
	}
	for _, name := range slices.Sorted(maps.Keys(t.Variables)) {
		v := t.Variables[name]
		variable := &llmv1.PromptVariable{Name: name, Type: v.Kind(), Description: v.Description, Required: v.Default == nil, OneOf: v.OneOf}
		if v.Default != nil {
			variable.DefaultValue = *v.Default
		}
		out.Variables = append(out.Variables, variable)
	}
	return out
}

func targetsOf(targets []route.Status) []*llmv1.Target {
	states := map[breaker.State]llmv1.TargetState{
		breaker.Closed: llmv1.TargetState_TARGET_STATE_CLOSED, breaker.Open: llmv1.TargetState_TARGET_STATE_OPEN,
		breaker.HalfOpen: llmv1.TargetState_TARGET_STATE_HALF_OPEN,
	}
	var out []*llmv1.Target
	for _, t := range targets {
		out = append(out, &llmv1.Target{Provider: t.Provider, ProviderModel: t.Model, State: states[t.State], InFlight: count(t.InFlight)})
	}
	return out
}

// Package record is a turn on the wire: it translates between the domain's turn and the contract's messages, for the
// handlers that send turns and the store that writes them.
package record

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/evidence"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Codec writes turns as the payload of the turns stream.
type Codec struct{}

// Encode returns a TurnRecorded.
func (Codec) Encode(t turn.Turn) ([]byte, error) {
	data, err := proto.Marshal(&eventv1.TurnRecorded{Turn: Turn(t)})
	if err != nil {
		return nil, fmt.Errorf("encode turn: %w", err)
	}
	return data, nil
}

// Decode reads a TurnRecorded.
func (Codec) Decode(data []byte) (turn.Turn, error) {
	var event eventv1.TurnRecorded
	if err := proto.Unmarshal(data, &event); err != nil {
		return turn.Turn{}, fmt.Errorf("decode turn: %w", err)
	}
	if event.GetTurn() == nil {
		return turn.Turn{}, fmt.Errorf("decode turn: the record holds none")
	}
	return FromTurn(event.GetTurn()), nil
}

// Turn returns the contract's form of t.
func Turn(t turn.Turn) *dialogv1.Turn {
	out := &dialogv1.Turn{
		TurnId: t.ID, SessionId: t.Session, Workspace: t.Workspace, RequestId: t.RequestID, User: t.User,
		ReplacesTurnId: t.Replaces, Withheld: t.Withheld, IndexSequence: t.Index, EarlierDocumentIds: t.Earlier,
		Question: t.Question, StandaloneQuestion: t.Standalone, Plan: Plan(t.Plan),
		Evidence: &dialogv1.Evidence{Score: t.Evidence.Score, Threshold: t.Evidence.Threshold, Sufficient: t.Evidence.Sufficient, Missing: t.Evidence.Missing},
		Answer:   t.Answer, Outcome: dialogv1.Outcome(t.Outcome), Degradations: Degradations(t.Degradations),
		FinishReason: llmv1.FinishReason(t.Finish), ConfigRevisions: t.Revisions, StartedAt: timestamp(t.StartedAt), CompletedAt: timestamp(t.CompletedAt),
		TraceId: t.TraceID, Language: t.Language, TimeToFirstToken: duration(t.FirstToken),
		Usage: &llmv1.Usage{PromptTokens: t.Usage.Prompt, CompletionTokens: t.Usage.Completion, Estimated: t.Usage.Estimated, CostMicros: t.Usage.CostMicros},
	}
	for _, s := range t.Sources {
		out.Sources = append(out.Sources, Source(s))
	}
	for _, c := range t.Citations {
		out.Citations = append(out.Citations, Citation(c))
	}
	if t.Failure != nil {
		out.Failure = &dialogv1.TurnFailure{Reason: t.Failure.Reason, Message: t.Failure.Message}
	}
	for _, s := range t.Stages {
		out.Stages = append(out.Stages, &dialogv1.StageRecord{
			Name: s.Name, Service: s.Service, Offset: durationpb.New(s.Offset), Duration: durationpb.New(s.Duration), Status: s.Status,
			InputJson: s.Input, OutputJson: s.Output, Error: s.Error,
		})
	}
	if g := t.Generation; g != nil {
		out.Generation = &llmv1.Started{
			PromptId: g.PromptID, CanaryOf: g.CanaryOf, Cached: g.Cached, PromptHash: g.PromptHash, PromptRevision: g.PromptRevision, SourceIds: g.SourceIDs, Model: g.Model,
			Provider: g.Provider, ProviderModel: g.ProviderModel, Rung: g.Rung, ConfigRevision: g.Revision, Degradations: Degradations(g.Degradations),
		}
	}
	return out
}

// FromTurn returns the domain's form of m.
func FromTurn(m *dialogv1.Turn) turn.Turn {
	t := turn.Turn{
		ID: m.GetTurnId(), Session: m.GetSessionId(), Workspace: m.GetWorkspace(), RequestID: m.GetRequestId(), User: m.GetUser(),
		Replaces: m.GetReplacesTurnId(), Withheld: m.GetWithheld(), Index: m.GetIndexSequence(), Earlier: m.GetEarlierDocumentIds(),
		Question: m.GetQuestion(), Standalone: m.GetStandaloneQuestion(), Plan: fromPlan(m.GetPlan()),
		Evidence: turn.Evidence{Score: m.GetEvidence().GetScore(), Threshold: m.GetEvidence().GetThreshold(), Sufficient: m.GetEvidence().GetSufficient(), Missing: m.GetEvidence().GetMissing()},
		Answer:   m.GetAnswer(), Outcome: known(m.GetOutcome()), Degradations: FromDegradations(m.GetDegradations()),
		Finish: finish(m.GetFinishReason()), Revisions: m.GetConfigRevisions(), StartedAt: m.GetStartedAt().AsTime(), CompletedAt: m.GetCompletedAt().AsTime(),
		TraceID: m.GetTraceId(), Language: m.GetLanguage(), FirstToken: m.GetTimeToFirstToken().AsDuration(), Usage: FromUsage(m.GetUsage()),
	}
	for _, s := range m.GetSources() {
		t.Sources = append(t.Sources, fromSource(s))
	}
	for _, c := range m.GetCitations() {
		t.Citations = append(t.Citations, fromCitation(c))
	}
	if f := m.GetFailure(); f != nil {
		t.Failure = &turn.Failure{Reason: f.GetReason(), Message: f.GetMessage()}
	}
	for _, s := range m.GetStages() {
		t.Stages = append(t.Stages, turn.Stage{
			Name: s.GetName(), Service: s.GetService(), Offset: s.GetOffset().AsDuration(), Duration: s.GetDuration().AsDuration(), Status: s.GetStatus(),
			Input: s.GetInputJson(), Output: s.GetOutputJson(), Error: s.GetError(),
		})
	}
	if m.GetGeneration() != nil {
		t.Generation = FromStarted(m.GetGeneration())
	}
	return t
}

// known maps an outcome of a newer build to one this build has a name for.
func known(o dialogv1.Outcome) turn.Outcome {
	if o < 0 || o > dialogv1.Outcome(turn.Failed) {
		return turn.Failed
	}
	return turn.Outcome(o)
}

func finish(f llmv1.FinishReason) turn.Finish {
	if f < 0 || f > llmv1.FinishReason(turn.FinishAbstained) {
		return turn.FinishStop
	}
	return turn.Finish(f)
}

// Plan returns the contract's form of p.
func Plan(p plan.Plan) *dialogv1.Plan {
	out := &dialogv1.Plan{Intents: p.Intents, Retrieve: p.Retrieve, Planner: "rules", PromptId: p.PromptID, Strategy: p.Strategy}
	for _, c := range p.Calls {
		out.Calls = append(out.Calls, &dialogv1.PlannedCall{CallId: c.ID, Tool: c.Tool, ArgumentsJson: c.Arguments})
	}
	return out
}

func fromPlan(m *dialogv1.Plan) plan.Plan {
	p := plan.Plan{Intents: m.GetIntents(), Retrieve: m.GetRetrieve(), PromptID: m.GetPromptId(), Strategy: m.GetStrategy()}
	for _, c := range m.GetCalls() {
		p.Calls = append(p.Calls, plan.Call{ID: c.GetCallId(), Tool: c.GetTool(), Arguments: c.GetArgumentsJson()})
	}
	return p
}

// Citation returns the contract's form of c.
func Citation(c turn.Citation) *dialogv1.Citation {
	out := &dialogv1.Citation{
		Number: c.Number, SourceId: c.SourceID, AnswerRange: byteRange(uint64(c.Start), uint64(c.End)), Quote: c.Quote,
		Support: support(c.Support), Score: c.Score, DocumentId: c.DocumentID, Title: c.Title, SourceUri: c.URI, Claim: c.Claim,
	}
	if c.DocumentID != "" {
		out.SourceRange = byteRange(c.SourceStart, c.SourceEnd)
	}
	return out
}

func fromCitation(m *dialogv1.Citation) turn.Citation {
	return turn.Citation{
		Citation: citing.Citation{
			Marker: citing.Marker{Number: m.GetNumber(), Start: int(m.GetAnswerRange().GetStart()), End: int(m.GetAnswerRange().GetEnd())},
			Claim:  m.GetClaim(), Quote: m.GetQuote(), Support: fromSupport(m.GetSupport()), Score: m.GetScore(),
		},
		SourceID: m.GetSourceId(), SourceStart: m.GetSourceRange().GetStart(), SourceEnd: m.GetSourceRange().GetEnd(),
		DocumentID: m.GetDocumentId(), Title: m.GetTitle(), URI: m.GetSourceUri(),
	}
}

func support(s evidence.Support) dialogv1.Support {
	switch s {
	case evidence.Supported:
		return dialogv1.Support_SUPPORT_SUPPORTED
	case evidence.Unverified:
		return dialogv1.Support_SUPPORT_UNVERIFIED
	default:
		return dialogv1.Support_SUPPORT_UNSUPPORTED
	}
}

func fromSupport(s dialogv1.Support) evidence.Support {
	switch s {
	case dialogv1.Support_SUPPORT_SUPPORTED:
		return evidence.Supported
	case dialogv1.Support_SUPPORT_UNVERIFIED:
		return evidence.Unverified
	default:
		return evidence.Unsupported
	}
}

// Degradations returns the contract's form of list.
func Degradations(list []turn.Degradation) []*retrieverv1.Degradation {
	out := make([]*retrieverv1.Degradation, 0, len(list))
	for _, d := range list {
		out = append(out, &retrieverv1.Degradation{Stage: d.Stage, Reason: d.Reason, Message: d.Message})
	}
	return out
}

// FromDegradations returns the domain's form of list.
func FromDegradations(list []*retrieverv1.Degradation) []turn.Degradation {
	var out []turn.Degradation
	for _, d := range list {
		out = append(out, turn.Degradation{Stage: d.GetStage(), Reason: d.GetReason(), Message: d.GetMessage()})
	}
	return out
}

// FromStarted returns the domain's form of m.
func FromStarted(m *llmv1.Started) *turn.Generation {
	return &turn.Generation{
		PromptID: m.GetPromptId(), CanaryOf: m.GetCanaryOf(), Cached: m.GetCached(), PromptHash: m.GetPromptHash(), PromptRevision: m.GetPromptRevision(), SourceIDs: m.GetSourceIds(), Model: m.GetModel(),
		Provider: m.GetProvider(), ProviderModel: m.GetProviderModel(), Rung: m.GetRung(), Revision: m.GetConfigRevision(), Degradations: FromDegradations(m.GetDegradations()),
	}
}

// FromUsage returns the domain's form of m.
func FromUsage(m *llmv1.Usage) turn.Usage {
	return turn.Usage{Prompt: m.GetPromptTokens(), Completion: m.GetCompletionTokens(), Estimated: m.GetEstimated(), CostMicros: m.GetCostMicros()}
}

// FromCompleted returns the domain's form of m.
func FromCompleted(m *llmv1.Completed) *turn.Completion {
	return &turn.Completion{Finish: finish(m.GetFinishReason()), Usage: FromUsage(m.GetUsage())}
}

// Source returns the contract's form of s.
func Source(s turn.Source) *llmv1.Source {
	out := &llmv1.Source{Number: s.Number, Id: s.ID}
	switch {
	case s.Passage != nil:
		out.Kind = &llmv1.Source_Passage{Passage: passage(s.Passage)}
	case s.Tool != nil:
		out.Kind = &llmv1.Source_ToolResult{ToolResult: toolResult(s.Tool)}
	}
	return out
}

func fromSource(m *llmv1.Source) turn.Source {
	s := turn.Source{Number: m.GetNumber(), ID: m.GetId()}
	switch kind := m.GetKind().(type) {
	case *llmv1.Source_ToolResult:
		t := FromToolResult(kind.ToolResult)
		s.Tool = &t
	default:
		p := FromPassage(m.GetPassage())
		s.Passage = &p
	}
	return s
}

func passage(p *turn.Passage) *retrieverv1.Passage {
	out := &retrieverv1.Passage{
		ChunkId: p.ChunkID, DocumentId: p.DocumentID, Version: p.Version, SourceUri: p.SourceURI, Title: p.Title, HeadingPath: p.Headings,
		Range: byteRange(p.Start, p.End), Text: p.Text, Language: p.Language, Score: p.Score, ScoreParts: p.ScoreParts,
	}
	for _, r := range p.Pages {
		region := &retrieverv1.PageRegion{Page: r.Page}
		for _, b := range r.Boxes {
			region.Boxes = append(region.Boxes, &retrieverv1.Box{Left: b.Left, Bottom: b.Bottom, Right: b.Right, Top: b.Top})
		}
		out.Pages = append(out.Pages, region)
	}
	return out
}

// FromPassage returns the domain's form of m.
func FromPassage(m *retrieverv1.Passage) turn.Passage {
	p := turn.Passage{
		ChunkID: m.GetChunkId(), DocumentID: m.GetDocumentId(), Version: m.GetVersion(), SourceURI: m.GetSourceUri(), Title: m.GetTitle(), Headings: m.GetHeadingPath(),
		Start: m.GetRange().GetStart(), End: m.GetRange().GetEnd(), Text: m.GetText(), Language: m.GetLanguage(), Score: m.GetScore(), ScoreParts: m.GetScoreParts(),
	}
	for _, r := range m.GetPages() {
		region := turn.PageRegion{Page: r.GetPage()}
		for _, b := range r.GetBoxes() {
			region.Boxes = append(region.Boxes, turn.Box{Left: b.GetLeft(), Bottom: b.GetBottom(), Right: b.GetRight(), Top: b.GetTop()})
		}
		p.Pages = append(p.Pages, region)
	}
	return p
}

func toolResult(t *turn.ToolResult) *toolsv1.ToolResult {
	out := &toolsv1.ToolResult{CallId: t.CallID, Tool: t.Tool, Arguments: Struct(t.Arguments), Text: t.Text, Duration: durationpb.New(t.Duration), Truncated: t.Truncated}
	if t.Data != "" {
		var v any
		if json.Unmarshal([]byte(t.Data), &v) == nil {
			out.Data, _ = structpb.NewValue(v) // of JSON, every value can be made
		}
	}
	if t.Error != nil {
		out.Error = &toolsv1.ToolError{Reason: t.Error.Reason, Message: t.Error.Message, Retryable: t.Error.Retryable}
	}
	return out
}

// FromToolResult returns the domain's form of m.
func FromToolResult(m *toolsv1.ToolResult) turn.ToolResult {
	t := turn.ToolResult{CallID: m.GetCallId(), Tool: m.GetTool(), Text: m.GetText(), Duration: m.GetDuration().AsDuration(), Truncated: m.GetTruncated()}
	if m.GetArguments() != nil {
		t.Arguments = encode(m.GetArguments().AsMap())
	}
	if m.GetData() != nil {
		t.Data = encode(m.GetData().AsInterface())
	}
	if e := m.GetError(); e != nil {
		t.Error = &turn.ToolError{Reason: e.GetReason(), Message: e.GetMessage(), Retryable: e.GetRetryable()}
	}
	return t
}

// encode is JSON of values that came from protobuf; NaN, which has none, leaves nothing.
func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(data)
}

// Struct reads a JSON object; what is none gives an empty one.
func Struct(object string) *structpb.Struct {
	out := &structpb.Struct{}
	if err := out.UnmarshalJSON([]byte(object)); err != nil {
		return &structpb.Struct{Fields: map[string]*structpb.Value{}}
	}
	return out
}

func byteRange(start, end uint64) *retrieverv1.ByteRange {
	return &retrieverv1.ByteRange{Start: start, End: end}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

package dialog_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/services/dialog"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

const limitQuestion = "What is the daily transfer limit?"

func TestChat(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "r-1"})

	want := []string{
		"started", "rewrite:started", "rewrite:ok", "plan:started", "plan:ok", "plan", "retrieve:started", "retrieve:ok",
		"evidence:started", "evidence:ok", "source", "generate:started", "delta", "citation", "delta", "generate:ok", "verify:started", "verify:ok", "completed",
	}
	if diff := cmp.Diff(want, h.kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for i, e := range h.events {
		if e.GetSeq() != uint64(i)+1 {
			t.Fatalf("event %d has seq %d", i, e.GetSeq())
		}
	}
	if want := "The daily transfer limit is 50,000 dollars [1]."; h.text != want || h.turn.GetAnswer() != want {
		t.Errorf("answer %q, streamed %q, want %q", h.turn.GetAnswer(), h.text, want)
	}
	if len(h.citations) != 1 {
		t.Fatalf("%d citations", len(h.citations))
	}
	c := h.citations[0]
	quote := "The daily transfer limit is 50,000 dollars."
	if c.GetQuote() != quote || c.GetSupport() != dialogv1.Support_SUPPORT_SUPPORTED || c.GetClaim() != "The daily transfer limit is 50,000 dollars" || c.GetTitle() != "Transfers" {
		t.Errorf("citation %v", c)
	}
	if start := 1000 + uint64(strings.Index(limits, quote)); c.GetSourceRange().GetStart() != start || c.GetSourceRange().GetEnd() != start+uint64(len(quote)) {
		t.Errorf("source range %v, want from %d", c.GetSourceRange(), start)
	}
	if r := c.GetAnswerRange(); h.text[r.GetStart():r.GetEnd()] != "[1]" {
		t.Errorf("answer range %v", r)
	}
	if h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_ANSWERED || h.stored != dialogv1.Stored_STORED_STREAM || h.degraded() != "" {
		t.Errorf("outcome %v, stored %v, degraded %q", h.turn.GetOutcome(), h.stored, h.degraded())
	}
	if diff := cmp.Diff(map[string]string{"dialog": "abc123", "retriever": "r1", "llm-gateway": "g1"}, h.turn.GetConfigRevisions()); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
	if h.turn.GetTimeToFirstToken().AsDuration() <= 0 || h.turn.GetUsage().GetCompletionTokens() != 10 || h.turn.GetWorkspace() != "default" || h.turn.GetUser() != "local" {
		t.Errorf("turn %v", h.turn)
	}

	got, err := m.chat.GetTurn(t.Context(), &dialogv1.GetTurnRequest{TurnId: h.started.GetTurnId()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h.turn, got.GetTurn(), protocmp.Transform()); diff != "" {
		t.Errorf("turn read back (-sent +read):\n%s", diff)
	}
	sessions, err := m.chat.ListSessions(t.Context(), &dialogv1.ListSessionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if s := sessions.GetSessions(); len(s) != 1 || s[0].GetTitle() != limitQuestion || s[0].GetTurnCount() != 1 || s[0].GetSessionId() != h.started.GetSessionId() {
		t.Errorf("sessions %v", s)
	}
}

func TestFollowUp(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	first := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	m.ask(t, &dialogv1.ChatRequest{Question: "When does it reset?", SessionId: first.started.GetSessionId()})
	if diff := cmp.Diff([]string{limitQuestion, "When does the daily transfer limit reset?"}, m.retriever.queries()); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	history := m.llm.last().GetHistory()
	if len(history) != 2 || history[0].GetRole() != llmv1.Role_ROLE_USER || strings.Contains(history[1].GetContent(), "[1]") {
		t.Errorf("history %v", history)
	}
	turns, err := m.chat.ListTurns(t.Context(), &dialogv1.ListTurnsRequest{SessionId: first.started.GetSessionId(), PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(turns.GetTurns()) != 1 || turns.GetTurns()[0].GetTurnId() != first.started.GetTurnId() || turns.GetNextPageToken() == "" {
		t.Fatalf("first page %v", turns)
	}
	turns, err = m.chat.ListTurns(t.Context(), &dialogv1.ListTurnsRequest{SessionId: first.started.GetSessionId(), PageSize: 1, PageToken: turns.GetNextPageToken()})
	if err != nil {
		t.Fatal(err)
	}
	if len(turns.GetTurns()) != 1 || turns.GetTurns()[0].GetStandaloneQuestion() != "When does the daily transfer limit reset?" || turns.GetNextPageToken() != "" {
		t.Errorf("second page %v", turns)
	}
}

func TestTools(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.llm.generate = func(_ context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
		return say(r, out, "12 * 7 = 84 [1].")
	}
	h := m.ask(t, &dialogv1.ChatRequest{Question: "What is 12*7?"})
	if h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_ANSWERED || len(m.retriever.queries()) != 0 {
		t.Errorf("outcome %v, searches %v", h.turn.GetOutcome(), m.retriever.queries())
	}
	if len(h.citations) != 1 || h.citations[0].GetSourceId() != "call-1" || h.citations[0].GetTitle() != "calculator" || h.citations[0].GetSourceRange() != nil || h.citations[0].GetSupport() != dialogv1.Support_SUPPORT_SUPPORTED {
		t.Errorf("citations %v", h.citations)
	}
	if len(h.sources) != 1 || h.sources[0].GetToolResult().GetText() != "12 * 7 = 84" || h.sources[0].GetToolResult().GetArguments().GetFields()["expression"].GetStringValue() != "12*7" {
		t.Errorf("sources %v", h.sources)
	}
}

func TestSmallTalk(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	h := m.ask(t, &dialogv1.ChatRequest{Question: "你好"})
	if h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_ANSWERED || !strings.HasPrefix(h.text, "你好") || len(m.retriever.queries()) != 0 || m.llm.last() != nil {
		t.Errorf("%q %v", h.text, h.turn)
	}
}

func TestAbstain(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for question, want := range map[string]string{
		"Who invented the quantum toaster?": "I can't answer this",
		"谁发明了量子烤面包机？":                       "无法回答",
	} {
		h := m.ask(t, &dialogv1.ChatRequest{Question: question})
		if h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_ABSTAINED || !strings.Contains(h.text, want) || h.turn.GetEvidence().GetSufficient() {
			t.Errorf("%s: %v %q", question, h.turn.GetOutcome(), h.text)
		}
	}
	if m.llm.last() != nil {
		t.Error("the model was asked")
	}
}

func TestImpossibleMarkersAreDropped(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.llm.generate = func(_ context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
		r.Sources = r.GetSources()[:1] // only the first one fits the budget
		return say(r, out, "The monthly fee is 12 euros【1，", "2】. Nothing more [7].")
	}
	h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	if h.text != "The monthly fee is 12 euros[1]. Nothing more." {
		t.Errorf("answer %q", h.text)
	}
	if len(h.citations) != 1 || h.citations[0].GetSupport() != dialogv1.Support_SUPPORT_UNSUPPORTED {
		t.Errorf("citations %v", h.citations)
	}
}

func TestDegraded(t *testing.T) {
	t.Parallel()
	type faults struct {
		search   func(context.Context, *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error)
		list     func(context.Context) (*toolsv1.ListToolsResponse, error)
		call     func(context.Context, *toolsv1.CallRequest) (*toolsv1.CallResponse, error)
		generate func(context.Context, *llmv1.GenerateRequest, *connect.ServerStream[llmv1.GenerateResponse]) error
	}
	searchHangs := func(ctx context.Context, _ *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
		return nil, hang(ctx)
	}
	generateFails := func(context.Context, *llmv1.GenerateRequest, *connect.ServerStream[llmv1.GenerateResponse]) error {
		return unavailable()
	}
	const sum = "What is 12*7?"
	tests := map[string]struct {
		question string
		faults   faults
		outcome  dialogv1.Outcome
		degraded string
		says     string
	}{
		"retriever fails": {limitQuestion, faults{search: func(context.Context, *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
			return nil, unavailable()
		}}, dialogv1.Outcome_OUTCOME_ABSTAINED, "retriever/unavailable", "could not be searched"},
		"retriever hangs": {limitQuestion, faults{search: searchHangs}, dialogv1.Outcome_OUTCOME_ABSTAINED, "retriever/timeout", "could not be searched"},
		"retriever panics": {limitQuestion, faults{search: func(context.Context, *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
			panic("oh")
		}}, dialogv1.Outcome_OUTCOME_ABSTAINED, "retriever/error", "could not be searched"},
		"retriever is degraded itself": {limitQuestion, faults{search: func(context.Context, *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
			return &retrieverv1.SearchResponse{Passages: passages(limits), Degradations: []*retrieverv1.Degradation{{Stage: "embed", Reason: "keyword_only"}}}, nil
		}}, dialogv1.Outcome_OUTCOME_ANSWERED, "embed/keyword_only", "50,000"},
		"tools can't be listed": {sum, faults{list: func(context.Context) (*toolsv1.ListToolsResponse, error) { return nil, unavailable() }},
			dialogv1.Outcome_OUTCOME_ABSTAINED, "tools/unavailable", "can't answer"},
		"tools away, not needed": {limitQuestion, faults{list: func(context.Context) (*toolsv1.ListToolsResponse, error) { return nil, unavailable() }},
			dialogv1.Outcome_OUTCOME_ANSWERED, "", "50,000"},
		"tool hangs": {sum, faults{call: func(ctx context.Context, _ *toolsv1.CallRequest) (*toolsv1.CallResponse, error) {
			return nil, hang(ctx)
		}},
			dialogv1.Outcome_OUTCOME_ABSTAINED, "tools/timeout", "calculator"},
		"tool says it failed": {sum, faults{call: func(context.Context, *toolsv1.CallRequest) (*toolsv1.CallResponse, error) {
			return &toolsv1.CallResponse{Result: &toolsv1.ToolResult{Error: &toolsv1.ToolError{Reason: "TOOL_FAILED", Message: "division by zero"}}}, nil
		}}, dialogv1.Outcome_OUTCOME_ABSTAINED, "tools/tool_failed", "division by zero"},
		"gateway fails at once": {limitQuestion, faults{generate: generateFails}, dialogv1.Outcome_OUTCOME_ANSWERED, "llm-gateway/unavailable", "The daily transfer limit is 50,000 dollars. [1]"},
		"gateway says nothing": {limitQuestion, faults{generate: func(ctx context.Context, _ *llmv1.GenerateRequest, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
			return hang(ctx)
		}}, dialogv1.Outcome_OUTCOME_ANSWERED, "llm-gateway/timeout", "The daily transfer limit is 50,000 dollars. [1]"},
		"gateway falls silent after a sentence": {limitQuestion, faults{generate: func(ctx context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
			if err := begin(r, out, "It is 50,000 dollars [1]. And"); err != nil {
				return err
			}
			return hang(ctx)
		}}, dialogv1.Outcome_OUTCOME_ANSWERED, "llm-gateway/timeout", "It is 50,000 dollars [1]. And"},
		"gateway's stream is cut within a sentence": {limitQuestion, faults{generate: func(_ context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
			return begin(r, out, "It is [")
		}}, dialogv1.Outcome_OUTCOME_ANSWERED, "llm-gateway/unavailable", "The daily transfer limit is 50,000 dollars. [1]"},
		"gateway fails, a tool has the answer": {sum, faults{generate: generateFails}, dialogv1.Outcome_OUTCOME_ANSWERED, "llm-gateway/unavailable", "12 * 7 = 84 [1]"},
		"retriever hangs and gateway fails": {limitQuestion, faults{search: searchHangs, generate: generateFails},
			dialogv1.Outcome_OUTCOME_ABSTAINED, "retriever/timeout", "could not be searched"},
	}
	const soon = 300 * time.Millisecond
	late := map[string]func(*turn.Budget){
		"retriever hangs":                       func(b *turn.Budget) { b.Retrieve = soon },
		"retriever hangs and gateway fails":     func(b *turn.Budget) { b.Retrieve = soon },
		"tool hangs":                            func(b *turn.Budget) { b.Tools = soon },
		"gateway says nothing":                  func(b *turn.Budget) { b.FirstToken = soon },
		"gateway falls silent after a sentence": func(b *turn.Budget) { b.Idle = soon },
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMesh(t, func(cfg *dialog.Config) {
				if shorten := late[name]; shorten != nil {
					shorten(&cfg.Turn.Budget)
				}
			})
			m.retriever.search, m.tools.list, m.tools.call, m.llm.generate = tc.faults.search, tc.faults.list, tc.faults.call, tc.faults.generate
			h := m.ask(t, &dialogv1.ChatRequest{Question: tc.question})
			if h.turn.GetOutcome() != tc.outcome || h.degraded() != tc.degraded || !strings.Contains(h.text, tc.says) || h.text != h.turn.GetAnswer() {
				t.Errorf("outcome %v, degraded %q, answer %q", h.turn.GetOutcome(), h.degraded(), h.text)
			}
			if h.stored != dialogv1.Stored_STORED_STREAM {
				t.Errorf("stored %v", h.stored)
			}
			for _, c := range h.citations {
				if c.GetSupport() != dialogv1.Support_SUPPORT_SUPPORTED {
					t.Errorf("citation %v", c)
				}
			}
		})
	}
}

func TestNamedThingsThatAreNotThere(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.retriever.search = func(_ context.Context, r *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
		if r.GetStrategy() != "" {
			return nil, fault.New(fault.NotFound, fault.StrategyNotFound, "there is no strategy %s", r.GetStrategy())
		}
		return &retrieverv1.SearchResponse{Passages: passages(limits)}, nil
	}
	m.llm.generate = func(_ context.Context, r *llmv1.GenerateRequest, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
		return fault.New(fault.NotFound, fault.PromptNotFound, "there is no prompt %s", r.GetPromptId())
	}
	for reason, request := range map[string]*dialogv1.ChatRequest{
		"STRATEGY_NOT_FOUND": {Question: limitQuestion, Strategy: "nope"},
		"PROMPT_NOT_FOUND":   {Question: limitQuestion, PromptId: "nope"},
	} {
		if h := m.ask(t, request); h.failed.GetReason() != reason || h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_FAILED {
			t.Errorf("%s: %v", reason, h.failed)
		}
	}
	for reason, request := range map[fault.Reason]*dialogv1.ChatRequest{
		fault.SessionNotFound:   {Question: "x", SessionId: "nope"},
		fault.WorkspaceNotFound: {Question: "x", Workspace: "nope"},
		fault.InvalidRequest:    {Question: "  "},
	} {
		if _, err := m.try(t.Context(), request); fault.ReasonOf(err) != reason {
			t.Errorf("%v: %v", reason, err)
		}
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.llm.generate = func(ctx context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
		if err := begin(r, out, "The daily"); err != nil {
			return err
		}
		return hang(ctx)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := m.chat.Chat(ctx, &dialogv1.ChatRequest{Question: limitQuestion})
	if err != nil {
		t.Fatal(err)
	}
	var h heard
	for stream.Receive() {
		h.take(stream.Msg())
		if h.text != "" {
			cancel()
		}
	}
	_ = stream.Close()
	eventually(t, "the end of the generation", func() bool { return m.llm.ended.Load() == 1 })
	var turn *dialogv1.Turn
	eventually(t, "the interrupted turn", func() bool {
		got, err := m.chat.GetTurn(t.Context(), &dialogv1.GetTurnRequest{TurnId: h.started.GetTurnId()})
		turn = got.GetTurn()
		return err == nil
	})
	if turn.GetOutcome() != dialogv1.Outcome_OUTCOME_INTERRUPTED || turn.GetAnswer() != "The daily" {
		t.Errorf("outcome %v, answer %q", turn.GetOutcome(), turn.GetAnswer())
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	m := newMesh(t, func(cfg *dialog.Config) {
		cfg.Turn.Budget.Heartbeat, cfg.Turn.Budget.Retrieve = 50*time.Millisecond, time.Second
	})
	m.retriever.search = func(ctx context.Context, _ *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
		return nil, hang(ctx)
	}
	if h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion}); !slices.Contains(h.kinds, "heartbeat") {
		t.Errorf("events %v", h.kinds)
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	request := &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "once"}
	first := m.ask(t, request)
	again := m.ask(t, request)
	if diff := cmp.Diff(first.turn, again.turn, protocmp.Transform()); diff != "" {
		t.Errorf("the same request again (-first +again):\n%s", diff)
	}
	if again.text != first.text || len(again.citations) != 1 || again.kinds[0] != "started" || len(m.llm.asked) != 1 {
		t.Errorf("replayed %v %q, model asked %d times", again.kinds, again.text, len(m.llm.asked))
	}
	if _, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: "Another one?", RequestId: "once"}); fault.ReasonOf(err) != fault.RequestIDReused {
		t.Errorf("another question: %v", err)
	}

	running := make(chan struct{})
	m.llm.mu.Lock()
	m.llm.generate = func(ctx context.Context, _ *llmv1.GenerateRequest, _ *connect.ServerStream[llmv1.GenerateResponse]) error {
		close(running)
		return hang(ctx)
	}
	m.llm.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = m.try(ctx, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "twice"})
	}()
	<-running
	if _, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "twice"}); fault.ReasonOf(err) != fault.RequestInProgress {
		t.Errorf("while it runs: %v", err)
	}
	cancel()
	<-done
}

func TestSessions(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx := t.Context()
	first := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	second := m.ask(t, &dialogv1.ChatRequest{Question: "你好"})
	page, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.GetSessions()) != 1 || page.GetSessions()[0].GetSessionId() != second.started.GetSessionId() {
		t.Fatalf("first page %v", page)
	}
	page, err = m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{PageSize: 1, PageToken: page.GetNextPageToken()})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.GetSessions()) != 1 || page.GetSessions()[0].GetSessionId() != first.started.GetSessionId() || page.GetNextPageToken() != "" {
		t.Errorf("second page %v", page)
	}
	id := first.started.GetSessionId()
	renamed, err := m.chat.RenameSession(ctx, &dialogv1.RenameSessionRequest{SessionId: id, Title: "Limits"})
	if err != nil || renamed.GetSession().GetTitle() != "Limits" {
		t.Errorf("rename: %v %v", renamed, err)
	}
	if _, err := m.chat.SendFeedback(ctx, &dialogv1.SendFeedbackRequest{TurnId: first.started.GetTurnId(), Verdict: dialogv1.Verdict_VERDICT_DOWN, Tags: []string{"wrong"}}); err != nil {
		t.Errorf("feedback: %v", err)
	}
	if _, err := m.chat.SendFeedback(ctx, &dialogv1.SendFeedbackRequest{TurnId: "nope", Verdict: dialogv1.Verdict_VERDICT_UP}); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("feedback for no turn: %v", err)
	}
	deleted, err := m.chat.DeleteSession(ctx, &dialogv1.DeleteSessionRequest{SessionId: id})
	if err != nil || deleted.GetRemovedTurns() != 1 {
		t.Errorf("delete: %v %v", deleted, err)
	}
	// eval hears of it by then, and deletes its copy.
	var audited eventv1.Audited
	if last, err := m.bus.Last(ctx, bus.Events, bus.EventSubject("audit", "default")); err != nil {
		t.Errorf("nobody is told of the deletion: %v", err)
	} else if err := proto.Unmarshal(last.Data, &audited); err != nil || audited.GetAction() != "session.delete" || audited.GetTarget() != id || !audited.GetAllowed() {
		t.Errorf("the deletion is told as %v, %v", &audited, err)
	}
	if _, err := m.chat.GetTurn(ctx, &dialogv1.GetTurnRequest{TurnId: first.started.GetTurnId()}); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("a deleted turn: %v", err)
	}
	if _, err := m.chat.ListTurns(ctx, &dialogv1.ListTurnsRequest{SessionId: id}); fault.ReasonOf(err) != fault.SessionNotFound {
		t.Errorf("a deleted session's turns: %v", err)
	}
	if _, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{PageToken: "%"}); fault.ReasonOf(err) != fault.InvalidRequest {
		t.Errorf("a strange page token: %v", err)
	}
}

func TestDeadlineOfTheCaller(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.llm.generate = func(ctx context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
		for begin(r, out, "Still talking. ") == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
		return errors.New("gone")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // of which a tenth is kept for the end
	defer cancel()
	h, err := m.try(ctx, &dialogv1.ChatRequest{Question: limitQuestion})
	if err != nil {
		t.Fatalf("the answer came after its caller's deadline: %v", err)
	}
	if h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_ANSWERED || h.degraded() != "llm-gateway/timeout" {
		t.Errorf("outcome %v, degraded %q", h.turn.GetOutcome(), h.degraded())
	}
}

package dialog_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// fakeEval has one turn.
type fakeEval struct {
	evalv1connect.UnimplementedEvalServiceHandler
	mu   sync.Mutex
	turn *dialogv1.Turn
}

func (f *fakeEval) keep(t *dialogv1.Turn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn = proto.CloneOf(t)
}

func (f *fakeEval) GetTrace(ctx context.Context, r *evalv1.GetTraceRequest) (*evalv1.GetTraceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.turn == nil {
		return f.UnimplementedEvalServiceHandler.GetTrace(ctx, r)
	}
	return &evalv1.GetTraceResponse{Turn: proto.CloneOf(f.turn), Spans: []*evalv1.Span{{Name: "Search", Attributes: map[string]string{"query": "transfer limit of 50,000"}}}}, nil
}

func (f *fakeEval) Replay(context.Context, *evalv1.ReplayRequest) (*evalv1.ReplayResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &evalv1.ReplayResponse{Original: proto.CloneOf(f.turn), Replayed: proto.CloneOf(f.turn)}, nil
}

func nothingReadable(context.Context, *retrieverv1.CheckDocumentsRequest) ([]string, error) {
	return nil, nil
}

func nobodyAnswers(context.Context, *retrieverv1.CheckDocumentsRequest) ([]string, error) {
	return nil, unavailable()
}

// told are words of the document and of what was derived from it.
func told(t *testing.T, m proto.Message) []string {
	t.Helper()
	data, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, word := range []string{"50,000", "五万", "midnight", "transfers.md", "Transfers", "0a0a0a0a", "chunk-1"} {
		if strings.Contains(string(data), word) {
			out = append(out, word)
		}
	}
	return out
}

// TestWithheld takes a document away from a turn's asker and reads the turn back in every way there is.
func TestWithheld(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx := t.Context()
	evals := evalv1connect.NewEvalServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
	h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "once"})
	if len(told(t, h.turn)) < 6 {
		t.Fatalf("the turn tells only %v", told(t, h.turn))
	}
	session := h.started.GetSessionId()
	m.eval.keep(h.turn)

	read := map[string]func() (proto.Message, *dialogv1.Turn, error){
		"GetTurn": func() (proto.Message, *dialogv1.Turn, error) {
			got, err := m.chat.GetTurn(ctx, &dialogv1.GetTurnRequest{TurnId: h.turn.GetTurnId()})
			return got, got.GetTurn(), err
		},
		"ListTurns": func() (proto.Message, *dialogv1.Turn, error) {
			got, err := m.chat.ListTurns(ctx, &dialogv1.ListTurnsRequest{SessionId: session})
			if err != nil || len(got.GetTurns()) != 1 {
				t.Fatalf("turns: %v, %v", got, err)
			}
			return got, got.GetTurns()[0], err
		},
		"GetTrace": func() (proto.Message, *dialogv1.Turn, error) {
			got, err := evals.GetTrace(ctx, &evalv1.GetTraceRequest{TurnId: h.turn.GetTurnId()})
			return got, got.GetTurn(), err
		},
		"Replay": func() (proto.Message, *dialogv1.Turn, error) {
			got, err := evals.Replay(ctx, &evalv1.ReplayRequest{TurnId: h.turn.GetTurnId()})
			return got, got.GetReplayed(), err
		},
		"ExportSession": func() (proto.Message, *dialogv1.Turn, error) {
			stream, err := m.chat.ExportSession(ctx, &dialogv1.ExportSessionRequest{SessionId: session, Format: dialogv1.ExportFormat_EXPORT_FORMAT_JSON})
			if err != nil {
				return nil, nil, err
			}
			var file strings.Builder
			for stream.Receive() {
				file.Write(stream.Msg().GetData())
			}
			if err := stream.Err(); err != nil {
				return nil, nil, err
			}
			_, turns, _ := strings.Cut(file.String(), `"turns":[`)
			got := &dialogv1.Turn{}
			err = protojson.Unmarshal([]byte(strings.TrimSuffix(strings.TrimSpace(turns), "]}")), got)
			return got, got, err
		},
	}
	for _, c := range []struct {
		name     string
		check    func(context.Context, *retrieverv1.CheckDocumentsRequest) ([]string, error)
		withheld bool
		degraded bool
	}{
		{"taken away", nothingReadable, true, false},
		{"nobody can say", nobodyAnswers, true, true},
		{"given back", nil, false, false},
	} {
		m.retriever.checks(c.check)
		for how, get := range read {
			all, got, err := get()
			if err != nil {
				t.Errorf("%s, %s: %v", c.name, how, err)
				continue
			}
			if got.GetWithheld() != c.withheld || got.GetQuestion() != limitQuestion || got.GetOutcome() != dialogv1.Outcome_OUTCOME_ANSWERED {
				t.Errorf("%s, %s: %v", c.name, how, got)
			}
			if words := told(t, all); c.withheld && len(words) > 0 {
				t.Errorf("%s, %s tells %v: %v", c.name, how, words, all)
			} else if !c.withheld && len(words) < 6 {
				t.Errorf("%s, %s tells only %v", c.name, how, words)
			}
			if degraded := len(got.GetDegradations()) > 0; degraded != c.degraded {
				t.Errorf("%s, %s: degradations %v", c.name, how, got.GetDegradations())
			}
		}
	}

	// The same request again, by the protocol that repeats it.
	m.retriever.checks(nothingReadable)
	again := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "once"})
	if !again.turn.GetWithheld() || again.text != "" || len(again.sources) != 0 {
		t.Errorf("replayed: %v", again.events)
	}
	for _, e := range again.events {
		if words := told(t, e); len(words) > 0 {
			t.Errorf("replayed event tells %v", words)
		}
	}
	m.retriever.checks(nobodyAnswers)
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "once"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("replayed while nobody can say: %v", err)
	}
}

// TestWithheldHistory: what may not be read any more is given neither to the rewriter nor to the model, and a turn that was
// answered with it goes with it.
func TestWithheldHistory(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	first := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	session := first.started.GetSessionId()
	// Other documents answer the follow-up, which repeats what the first turn said.
	m.retriever.search = func(context.Context, *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
		other := passages(limits)
		other[0].DocumentId = "0b0b0b0b-0000-5000-8000-000000000002"
		return &retrieverv1.SearchResponse{Passages: other}, nil
	}
	second := m.ask(t, &dialogv1.ChatRequest{Question: "When does it reset?", SessionId: session})
	if len(m.llm.last().GetHistory()) == 0 || len(second.turn.GetEarlierDocumentIds()) != 1 {
		t.Fatalf("history %v, earlier documents %v", m.llm.last().GetHistory(), second.turn.GetEarlierDocumentIds())
	}
	withoutFirst := func(_ context.Context, r *retrieverv1.CheckDocumentsRequest) (readable []string, err error) {
		for _, id := range r.GetDocumentIds() {
			if !strings.HasPrefix(id, "0a") {
				readable = append(readable, id)
			}
		}
		return readable, nil
	}
	m.retriever.checks(withoutFirst)
	turns, err := m.chat.ListTurns(t.Context(), &dialogv1.ListTurnsRequest{SessionId: session})
	if err != nil || len(turns.GetTurns()) != 2 || !turns.GetTurns()[0].GetWithheld() || !turns.GetTurns()[1].GetWithheld() {
		t.Errorf("turns %v, %v", turns, err)
	}
	for _, c := range []struct { // in this order: what is asked without a history may be read afterwards
		name  string
		check func(context.Context, *retrieverv1.CheckDocumentsRequest) ([]string, error)
	}{{"history_withheld", withoutFirst}, {"history_unchecked", nobodyAnswers}} {
		name := c.name
		m.retriever.checks(c.check)
		third := m.ask(t, &dialogv1.ChatRequest{Question: "And when does it reset?", SessionId: session})
		if history := m.llm.last().GetHistory(); len(history) != 0 || strings.Contains(third.turn.GetStandaloneQuestion(), "transfer") {
			t.Errorf("%s: history %v, rewritten %q", name, history, third.turn.GetStandaloneQuestion())
		}
		if !strings.Contains(third.degraded(), name) {
			t.Errorf("degraded %q, want %s", third.degraded(), name)
		}
	}
}

// TestTracesOfOthers: viewers get at their own traces, editors at others' as far as they may read what they come from.
func TestTracesOfOthers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	ctx := t.Context()
	m.as(t, bootstrap)
	secrets := map[identity.Role]string{}
	for _, role := range []identity.Role{identity.Viewer, identity.Editor} {
		made, err := m.keys.CreateKey(ctx, &dialogv1.CreateKeyRequest{Name: role.String(), Role: dialogv1.AccessRole(role)})
		if err != nil {
			t.Fatal(err)
		}
		secrets[role] = made.GetSecret()
	}
	m.eval.keep(&dialogv1.Turn{
		TurnId: "t", SessionId: "s", Workspace: "default", User: "key:somebody", Question: limitQuestion, Answer: "50,000 dollars [1].",
		Sources: []*llmv1.Source{{Number: 1, Kind: &llmv1.Source_Passage{Passage: passages(limits)[0]}}},
	})
	trace := func(key string) (*dialogv1.Turn, error) {
		m.as(t, key)
		got, err := evalv1connect.NewEvalServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...).GetTrace(ctx, &evalv1.GetTraceRequest{TurnId: "t"})
		return got.GetTurn(), err
	}
	if _, err := trace(secrets[identity.Viewer]); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("a viewer's look at somebody else's trace: %v", err)
	}
	if got, err := trace(secrets[identity.Editor]); err != nil || got.GetWithheld() || got.GetAnswer() == "" {
		t.Errorf("an editor's: %v, %v", got, err)
	}
	m.retriever.checks(nothingReadable)
	if got, err := trace(secrets[identity.Editor]); err != nil || !got.GetWithheld() || len(told(t, got)) > 0 {
		t.Errorf("an editor's who may not read its document: %v, %v", got, err)
	}
}

package dialog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/services/dialog"
)

// keyOf makes a key for the default workspace, asked for with the bootstrap key.
func (m *mesh) keyOf(t *testing.T, name string, role dialogv1.AccessRole) string {
	t.Helper()
	m.as(t, bootstrap)
	made, err := m.keys.CreateKey(t.Context(), &dialogv1.CreateKeyRequest{Name: name, Role: role, Workspaces: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	return made.GetSecret()
}

func (m *mesh) turns(t *testing.T, session string, replaced bool) []string {
	t.Helper()
	list, err := m.chat.ListTurns(t.Context(), &dialogv1.ListTurnsRequest{SessionId: session, IncludeReplaced: replaced})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, tu := range list.GetTurns() {
		out = append(out, tu.GetQuestion())
	}
	return out
}

func (m *mesh) session(t *testing.T, id string) *dialogv1.Session {
	t.Helper()
	list, err := m.chat.ListSessions(t.Context(), &dialogv1.ListSessionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.GetSessions() {
		if s.GetSessionId() == id {
			return s
		}
	}
	t.Fatalf("there is no session %s", id)
	return nil
}

func (m *mesh) export(ctx context.Context, session string, format dialogv1.ExportFormat) (name, kind, file string, err error) {
	stream, err := m.chat.ExportSession(ctx, &dialogv1.ExportSessionRequest{SessionId: session, Format: format})
	if err != nil {
		return "", "", "", err
	}
	defer stream.Close()
	var b strings.Builder
	for stream.Receive() {
		p := stream.Msg()
		if p.GetFileName() != "" {
			name, kind = p.GetFileName(), p.GetContentType()
		}
		if len(p.GetData()) > 1<<20 {
			return "", "", "", fmt.Errorf("a piece has %d bytes", len(p.GetData()))
		}
		b.Write(p.GetData())
	}
	return name, kind, b.String(), stream.Err()
}

// everything is what can be done with a session and a turn of it, besides asking.
func (m *mesh) everything(session, turn string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"GetTurn": func(ctx context.Context) error {
			_, err := m.chat.GetTurn(ctx, &dialogv1.GetTurnRequest{TurnId: turn})
			return err
		},
		"ListTurns": func(ctx context.Context) error {
			_, err := m.chat.ListTurns(ctx, &dialogv1.ListTurnsRequest{SessionId: session})
			return err
		},
		"ExportSession": func(ctx context.Context) error {
			_, _, _, err := m.export(ctx, session, dialogv1.ExportFormat_EXPORT_FORMAT_JSON)
			return err
		},
		"SendFeedback": func(ctx context.Context) error {
			_, err := m.chat.SendFeedback(ctx, &dialogv1.SendFeedbackRequest{TurnId: turn, Verdict: dialogv1.Verdict_VERDICT_UP})
			return err
		},
		"RenameSession": func(ctx context.Context) error {
			_, err := m.chat.RenameSession(ctx, &dialogv1.RenameSessionRequest{SessionId: session, Title: "Mine"})
			return err
		},
		"StopTurn": func(ctx context.Context) error {
			_, err := m.chat.StopTurn(ctx, &dialogv1.StopTurnRequest{TurnId: turn})
			return err
		},
		"Chat": func(ctx context.Context) error {
			_, err := m.try(ctx, &dialogv1.ChatRequest{SessionId: session, Question: limitQuestion})
			return err
		},
		"Chat, replacing": func(ctx context.Context) error {
			_, err := m.try(ctx, &dialogv1.ChatRequest{SessionId: session, ReplacesTurnId: turn, Question: limitQuestion})
			return err
		},
		"DeleteSession": func(ctx context.Context) error {
			_, err := m.chat.DeleteSession(ctx, &dialogv1.DeleteSessionRequest{SessionId: session})
			return err
		},
	}
}

// A session is its user's. Others get the same words as for one that is not there; administrators may look and delete.
func TestSessionsBelongToWhoBeganThem(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	alice, bob := m.keyOf(t, "alice", dialogv1.AccessRole_ACCESS_ROLE_EDITOR), m.keyOf(t, "bob", dialogv1.AccessRole_ACCESS_ROLE_EDITOR)
	admin := m.keyOf(t, "admin", dialogv1.AccessRole_ACCESS_ROLE_ADMIN)
	ctx := t.Context()
	m.as(t, alice)
	hers := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "r1"})
	session, turn := hers.started.GetSessionId(), hers.started.GetTurnId()

	m.as(t, bob)
	none := m.everything("nosession", "noturn")
	for name, call := range m.everything(session, turn) {
		err, absent := call(ctx), none[name](ctx)
		same := strings.NewReplacer(session, "nosession", turn, "noturn").Replace(fmt.Sprint(err))
		if fault.KindOf(err) != fault.NotFound || same != fmt.Sprint(absent) || fault.ReasonOf(err) != fault.ReasonOf(absent) {
			t.Errorf("%s of another's: %v, of none: %v", name, err, absent)
		}
	}
	for _, r := range []*dialogv1.ListSessionsRequest{{}, {PageSize: 1}} {
		if list, err := m.chat.ListSessions(ctx, r); err != nil || len(list.GetSessions()) != 0 {
			t.Errorf("another's list: %v %v", list, err)
		}
	}
	if _, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{AllUsers: true}); fault.ReasonOf(err) != fault.RoleTooLow {
		t.Errorf("everybody's sessions for an editor: %v", err)
	}
	his := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "r1"})
	if his.started.GetTurnId() == turn || his.turn.GetUser() == hers.turn.GetUser() {
		t.Error("the same request id led to another's turn")
	}

	m.as(t, admin)
	list, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{AllUsers: true})
	if err != nil || len(list.GetSessions()) != 2 {
		t.Errorf("everybody's sessions for an administrator: %v %v", list, err)
	}
	if list, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{}); err != nil || len(list.GetSessions()) != 0 {
		t.Errorf("the administrator's own: %v %v", list, err)
	}
	calls := m.everything(session, turn)
	for name, want := range map[string]fault.Kind{"RenameSession": fault.NotFound, "StopTurn": fault.NotFound, "Chat": fault.NotFound, "Chat, replacing": fault.NotFound} {
		if err := calls[name](ctx); fault.KindOf(err) != want {
			t.Errorf("%s by an administrator: %v", name, err)
		}
	}
	for _, name := range []string{"GetTurn", "ListTurns", "ExportSession", "SendFeedback", "DeleteSession"} {
		if err := calls[name](ctx); err != nil {
			t.Errorf("%s by an administrator: %v", name, err)
		}
	}
	m.as(t, alice)
	if err := m.everything(session, turn)["GetTurn"](ctx); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a turn of a deleted session: %v", err)
	}
}

func TestReplacedTurns(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx := t.Context()
	one := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	session := one.started.GetSessionId()
	ask := func(question, replaces string) heard {
		t.Helper()
		return m.ask(t, &dialogv1.ChatRequest{Question: question, SessionId: session, ReplacesTurnId: replaces})
	}
	two := ask("When does it reset?", "")
	asked := m.llm.last()

	again := ask("When does it reset?", two.started.GetTurnId())
	if diff := cmp.Diff([]string{limitQuestion, "When does it reset?"}, m.turns(t, session, false)); diff != "" {
		t.Errorf("after the same question again (-want +got):\n%s", diff)
	}
	if again.turn.GetReplacesTurnId() != two.started.GetTurnId() || again.turn.GetStandaloneQuestion() != two.turn.GetStandaloneQuestion() {
		t.Errorf("again: %v", again.turn)
	}
	if got := m.llm.last(); len(got.GetHistory()) != len(asked.GetHistory()) || !proto.Equal(got.GetHistory()[0], asked.GetHistory()[0]) {
		t.Errorf("the model was given the history %v, the first time %v", got.GetHistory(), asked.GetHistory())
	}
	if n := m.session(t, session).GetTurnCount(); n != 2 {
		t.Errorf("%d turns", n)
	}

	// What took a turn's place can be replaced too, and so can what it took the place of.
	third := ask("When does the limit reset?", again.started.GetTurnId())
	ask("And who says so?", "")
	if diff := cmp.Diff([]string{limitQuestion, "When does the limit reset?", "And who says so?"}, m.turns(t, session, false)); diff != "" {
		t.Errorf("after an edit of the edit (-want +got):\n%s", diff)
	}
	branch := ask("Is there a daily transfer limit?", two.started.GetTurnId())
	if diff := cmp.Diff([]string{limitQuestion, "Is there a daily transfer limit?"}, m.turns(t, session, false)); diff != "" {
		t.Errorf("after going on from a turn that was replaced (-want +got):\n%s", diff)
	}
	if all := m.turns(t, session, true); len(all) != 6 {
		t.Errorf("with those that were replaced: %q", all)
	}
	if got, err := m.chat.GetTurn(ctx, &dialogv1.GetTurnRequest{TurnId: third.started.GetTurnId()}); err != nil || got.GetTurn().GetQuestion() != "When does the limit reset?" {
		t.Errorf("a replaced turn: %v %v", got, err)
	}

	// The first one: nothing was before it, and the title follows.
	first := ask("Hi, could you tell me what the daily transfer limit is?", one.started.GetTurnId())
	if s := m.session(t, session); s.GetTurnCount() != 1 || s.GetTitle() != "What the daily transfer limit is?" || !strings.Contains(first.turn.GetStages()[0].GetInputJson(), `"history":0`) {
		t.Errorf("after the first was replaced: %v, %v", s, first.turn.GetStages()[0])
	}
	if _, err := m.chat.RenameSession(ctx, &dialogv1.RenameSessionRequest{SessionId: session, Title: "Limits"}); err != nil {
		t.Fatal(err)
	}
	ask(limitQuestion, first.started.GetTurnId())
	if s := m.session(t, session); s.GetTitle() != "Limits" || s.GetTurnCount() != 1 {
		t.Errorf("after it was renamed: %v", s)
	}
	for page := ""; ; {
		list, err := m.chat.ListTurns(ctx, &dialogv1.ListTurnsRequest{SessionId: session, IncludeReplaced: true, PageSize: 3, PageToken: page})
		if err != nil {
			t.Fatal(err)
		}
		if page = list.GetNextPageToken(); page == "" {
			break
		}
	}

	other := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	for _, c := range []struct {
		request *dialogv1.ChatRequest
		want    fault.Reason
	}{
		{&dialogv1.ChatRequest{SessionId: session, ReplacesTurnId: other.started.GetTurnId()}, fault.TurnNotFound},
		{&dialogv1.ChatRequest{SessionId: session, ReplacesTurnId: "nope"}, fault.TurnNotFound},
		{&dialogv1.ChatRequest{SessionId: "nope", ReplacesTurnId: branch.started.GetTurnId()}, fault.SessionNotFound},
		{&dialogv1.ChatRequest{ReplacesTurnId: branch.started.GetTurnId()}, fault.InvalidRequest},
	} {
		c.request.Question = limitQuestion
		if _, err := m.try(ctx, c.request); fault.ReasonOf(err) != c.want {
			t.Errorf("%v: %v", c.request, err)
		}
	}
}

// The same request again is the same turn, also when it took another's place.
func TestReplacingOnce(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	one := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	request := &dialogv1.ChatRequest{Question: limitQuestion, SessionId: one.started.GetSessionId(), ReplacesTurnId: one.started.GetTurnId(), RequestId: "again"}
	if first, second := m.ask(t, request), m.ask(t, request); first.started.GetTurnId() != second.started.GetTurnId() {
		t.Error("answered twice")
	}
	request.ReplacesTurnId = ""
	if _, err := m.try(t.Context(), request); fault.ReasonOf(err) != fault.RequestIDReused {
		t.Errorf("the same request id for the end of the conversation: %v", err)
	}
}

// talks makes the model begin to answer and then wait for ever.
func (m *mesh) talks(t *testing.T) {
	t.Helper()
	m.llm.mu.Lock()
	defer m.llm.mu.Unlock()
	m.llm.generate = func(ctx context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
		if err := begin(r, out, "The daily "); err != nil {
			return err
		}
		return hang(ctx)
	}
}

// running asks a question whose answer begins and goes on until it is stopped. It returns the turn's start, and its end later.
func (m *mesh) running(t *testing.T, request *dialogv1.ChatRequest) (*dialogv1.ChatStarted, <-chan heard) {
	t.Helper()
	m.talks(t)
	stream, err := m.chat.Chat(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan *dialogv1.ChatStarted, 1), make(chan heard, 1)
	go func() {
		defer stream.Close()
		var h heard
		for stream.Receive() {
			before := h.text
			if h.take(stream.Msg()); before == "" && h.text != "" {
				started <- h.started
			}
		}
		ended <- h
	}()
	select {
	case s := <-started:
		return s, ended
	case h := <-ended:
		t.Fatalf("the turn ended by itself: %v", h.turn)
		return nil, nil
	}
}

func slow(cfg *dialog.Config) {
	cfg.Turn.Budget.Idle, cfg.Turn.Budget.FirstToken = cfg.Turn.Budget.Turn, cfg.Turn.Budget.Turn
}

func TestStopTurn(t *testing.T) {
	t.Parallel()
	m := newMesh(t, slow)
	ctx := t.Context()
	started, ended := m.running(t, &dialogv1.ChatRequest{Question: limitQuestion})
	stop := &dialogv1.StopTurnRequest{TurnId: started.GetTurnId()}
	if _, err := m.chat.StopTurn(ctx, stop); err != nil {
		t.Fatal(err)
	}
	got, err := m.chat.GetTurn(ctx, &dialogv1.GetTurnRequest{TurnId: started.GetTurnId()})
	if err != nil || got.GetTurn().GetOutcome() != dialogv1.Outcome_OUTCOME_INTERRUPTED || got.GetTurn().GetAnswer() != "The daily " {
		t.Errorf("what was stopped: %v %v", got, err)
	}
	if h := <-ended; h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_INTERRUPTED || h.text != "The daily " {
		t.Errorf("who asked heard %v", h.kinds)
	}
	eventually(t, "the end of the model's work", func() bool { return m.llm.ended.Load() == 1 })
	if _, err := m.chat.StopTurn(ctx, stop); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := m.chat.StopTurn(ctx, &dialogv1.StopTurnRequest{TurnId: "nope"}); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("none: %v", err)
	}
	m.llm.mu.Lock()
	m.llm.generate = nil
	m.llm.mu.Unlock()
	if h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, SessionId: started.GetSessionId(), ReplacesTurnId: started.GetTurnId()}); h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_ANSWERED {
		t.Errorf("asked again: %v", h.turn)
	}
	if diff := cmp.Diff([]string{limitQuestion}, m.turns(t, started.GetSessionId(), false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStopTurnOfAnotherUser(t *testing.T) {
	t.Parallel()
	m := newMesh(t, slow, authenticated(t))
	alice, bob := m.keyOf(t, "alice", dialogv1.AccessRole_ACCESS_ROLE_VIEWER), m.keyOf(t, "bob", dialogv1.AccessRole_ACCESS_ROLE_ADMIN)
	m.as(t, alice)
	started, ended := m.running(t, &dialogv1.ChatRequest{Question: limitQuestion})
	m.as(t, bob)
	if _, err := m.chat.StopTurn(t.Context(), &dialogv1.StopTurnRequest{TurnId: started.GetTurnId()}); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("another's running turn: %v", err)
	}
	if _, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion, SessionId: started.GetSessionId()}); fault.ReasonOf(err) != fault.SessionNotFound {
		t.Errorf("another's session whose first turn runs: %v", err)
	}
	m.as(t, alice)
	if _, err := m.chat.StopTurn(t.Context(), &dialogv1.StopTurnRequest{TurnId: started.GetTurnId()}); err != nil {
		t.Error(err)
	}
	<-ended
}

// two returns two replicas of dialog on one NATS.
func two(t *testing.T, change ...func(*dialog.Config)) (a, b *mesh) {
	t.Helper()
	server := bustest.NewServer(t, "")
	return newMeshOn(t, bustest.Join(t, server), change...), newMeshOn(t, bustest.Join(t, server), change...)
}

func TestStopTurnOfAnotherReplica(t *testing.T) {
	t.Parallel()
	a, b := two(t, slow)
	started, ended := a.running(t, &dialogv1.ChatRequest{Question: limitQuestion})
	// A second question comes to the other replica before the session is written.
	h := b.ask(t, &dialogv1.ChatRequest{Question: "你好", SessionId: started.GetSessionId()})
	if h.started.GetSessionId() != started.GetSessionId() {
		t.Errorf("asked in session %s", h.started.GetSessionId())
	}
	if _, err := b.chat.StopTurn(t.Context(), &dialogv1.StopTurnRequest{TurnId: started.GetTurnId()}); err != nil {
		t.Fatal(err)
	}
	if h := <-ended; h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_INTERRUPTED {
		t.Errorf("outcome %v", h.turn.GetOutcome())
	}
	eventually(t, "the end of the model's work", func() bool { return a.llm.ended.Load() == 1 })
	if _, err := b.chat.StopTurn(t.Context(), &dialogv1.StopTurnRequest{TurnId: "nope"}); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("none: %v", err)
	}
	eventually(t, "both turns in the session, in their order", func() bool {
		return b.session(t, started.GetSessionId()).GetTurnCount() == 2 && slices.Equal(b.turns(t, started.GetSessionId(), false), []string{limitQuestion, "你好"})
	})
	if s := b.session(t, started.GetSessionId()); s.GetTitle() != limitQuestion {
		t.Errorf("the title is %q", s.GetTitle())
	}
}

// Many questions at once in one session, to two replicas: all of them are there once, in order, and counted.
func TestManyTurnsAtOnce(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	first := a.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	session := first.started.GetSessionId()
	var group sync.WaitGroup
	for i := range 12 {
		m, request := []*mesh{a, b}[i%2], &dialogv1.ChatRequest{Question: fmt.Sprintf("What is the daily transfer limit of account %d?", i), SessionId: session}
		if i%4 == 3 {
			request.ReplacesTurnId = first.started.GetTurnId()
		}
		group.Go(func() {
			if h, err := m.try(t.Context(), request); err != nil || h.turn.GetSessionId() != session || h.stored != dialogv1.Stored_STORED_STREAM {
				t.Errorf("%s: %v %v", request.GetQuestion(), h.turn, err)
			}
		})
	}
	group.Wait()
	if all := a.turns(t, session, true); len(all) != 13 {
		t.Errorf("%d turns are kept: %q", len(all), all)
	}
	eventually(t, "the count of the conversation's turns", func() bool { return int(a.session(t, session).GetTurnCount()) == len(b.turns(t, session, false)) })
	list, err := b.chat.ListTurns(t.Context(), &dialogv1.ListTurnsRequest{SessionId: session})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list.GetTurns()); n == 0 || list.GetTurns()[0].GetReplacesTurnId() == "" || !slices.IsSortedFunc(list.GetTurns(), func(x, y *dialogv1.Turn) int { return strings.Compare(x.GetTurnId(), y.GetTurnId()) }) {
		t.Errorf("the conversation is %v", list)
	}
	if s := a.session(t, session); s.GetTitle() != list.GetTurns()[0].GetQuestion() {
		t.Errorf("title %q, first question %q", s.GetTitle(), list.GetTurns()[0].GetQuestion())
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx := t.Context()
	one := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	session := one.started.GetSessionId()
	m.ask(t, &dialogv1.ChatRequest{Question: "never mind", SessionId: session})
	edited := "# 你好，请问每日转账限额是多少？\n<script>"
	var gone string
	for range 20 { // more than a page
		h := m.ask(t, &dialogv1.ChatRequest{Question: edited, SessionId: session})
		gone = h.started.GetTurnId()
	}
	m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, SessionId: session, ReplacesTurnId: gone})

	name, kind, file, err := m.export(ctx, session, dialogv1.ExportFormat_EXPORT_FORMAT_MARKDOWN)
	if err != nil || name != "what-is-the-daily-transfer-limit.md" || !strings.HasPrefix(kind, "text/markdown") {
		t.Errorf("%s %s %v", name, kind, err)
	}
	if strings.Count(file, "\n## ") != 22 || strings.Contains(file, "<script") || !strings.HasPrefix(file, "# "+limitQuestion+"\n") || !strings.Contains(file, "> The daily transfer limit is 50,000 dollars.") ||
		!strings.Contains(file, "`transfers.md`") || !strings.Contains(file, "每日转账限额是多少？") {
		t.Errorf("exported:\n%s", file)
	}
	name, kind, file, err = m.export(ctx, session, dialogv1.ExportFormat_EXPORT_FORMAT_JSON)
	if err != nil || name != "what-is-the-daily-transfer-limit.json" || kind != "application/json" {
		t.Errorf("%s %s %v", name, kind, err)
	}
	var whole struct {
		Session json.RawMessage   `json:"session"`
		Turns   []json.RawMessage `json:"turns"`
	}
	if err := json.Unmarshal([]byte(file), &whole); err != nil || len(whole.Turns) != 22 {
		t.Fatalf("%d turns, %v", len(whole.Turns), err)
	}
	var s dialogv1.Session
	var tu dialogv1.Turn
	if err := protojson.Unmarshal(whole.Session, &s); err != nil || s.GetSessionId() != session || s.GetTurnCount() != 22 {
		t.Errorf("session %v, %v", &s, err)
	}
	if err := protojson.Unmarshal(whole.Turns[0], &tu); err != nil || tu.GetTurnId() != one.started.GetTurnId() || len(tu.GetCitations()) != 1 {
		t.Errorf("turn %v, %v", &tu, err)
	}
}

func TestFeedback(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx := t.Context()
	h := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	filter := bus.FeedbackSubject("default", h.started.GetSessionId(), h.started.GetTurnId(), "*")
	send := func(v dialogv1.Verdict, tags ...string) error {
		_, err := m.chat.SendFeedback(ctx, &dialogv1.SendFeedbackRequest{TurnId: h.started.GetTurnId(), Verdict: v, Tags: tags, Comment: "because"})
		return err
	}
	for _, v := range []dialogv1.Verdict{dialogv1.Verdict_VERDICT_UP, dialogv1.Verdict_VERDICT_DOWN, dialogv1.Verdict_VERDICT_UP, dialogv1.Verdict_VERDICT_DOWN} {
		if err := send(v, " Wrong", "outdated", "wrong", "过时"); err != nil {
			t.Fatal(err)
		}
	}
	n, err := m.bus.Count(ctx, bus.Events, filter)
	if err != nil || n != 1 {
		t.Errorf("%d judgements are kept, %v", n, err)
	}
	last, err := m.bus.Last(ctx, bus.Events, filter)
	if err != nil {
		t.Fatal(err)
	}
	var event eventv1.FeedbackGiven
	if err := proto.Unmarshal(last.Data, &event); err != nil || event.GetVerdict() != dialogv1.Verdict_VERDICT_DOWN || !slices.Equal(event.GetTags(), []string{"wrong", "outdated", "过时"}) || event.GetUser() != "local" {
		t.Errorf("kept: %v, %v", &event, err)
	}
	for _, tag := range []string{"", "not a word", "a.b", "<b>", "-x", strings.Repeat("a", 33)} {
		if err := send(dialogv1.Verdict_VERDICT_UP, tag); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", tag, err)
		}
	}
	if _, err := m.chat.DeleteSession(ctx, &dialogv1.DeleteSessionRequest{SessionId: h.started.GetSessionId()}); err != nil {
		t.Fatal(err)
	}
	if n, err := m.bus.Count(ctx, bus.Events, filter); err != nil || n != 0 {
		t.Errorf("%d judgements of a deleted session, %v", n, err)
	}
}

// A turn that was under way while its session was deleted does not bring it back, and its request id is free.
func TestDeleteWhileATurnRuns(t *testing.T) {
	t.Parallel()
	m := newMesh(t, slow)
	ctx := t.Context()
	first := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "once"})
	session := first.started.GetSessionId()
	started, ended := m.running(t, &dialogv1.ChatRequest{Question: limitQuestion, SessionId: session})
	if _, err := m.chat.DeleteSession(ctx, &dialogv1.DeleteSessionRequest{SessionId: session}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.chat.StopTurn(ctx, &dialogv1.StopTurnRequest{TurnId: started.GetTurnId()}); fault.KindOf(err) != fault.NotFound && err != nil {
		t.Error(err)
	}
	<-ended
	if n, err := m.bus.Count(ctx, bus.Turns, bus.TurnSubject("default", session, "*")); err != nil || n != 0 {
		t.Errorf("%d turns are left, %v", n, err)
	}
	if list, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{}); err != nil || len(list.GetSessions()) != 0 {
		t.Errorf("sessions %v %v", list, err)
	}
	m.llm.mu.Lock()
	m.llm.generate = nil
	m.llm.mu.Unlock()
	if again := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "once"}); again.started.GetTurnId() == first.started.GetTurnId() {
		t.Error("the request id leads to a deleted turn")
	}
}

// Without NATS nobody can tell what is in a session: what needs it is refused as such, what can do without goes on.
func TestSessionsWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	server := bustest.NewServer(t, "")
	m := newMeshOn(t, bustest.Join(t, server), slow)
	ctx := t.Context()
	first := m.ask(t, &dialogv1.ChatRequest{Question: limitQuestion})
	session := first.started.GetSessionId()
	server.Shutdown()
	eventually(t, "the news that NATS is away", func() bool { ok, _ := m.bus.Healthy(); return !ok })
	for name, err := range m.everything(session, first.started.GetTurnId()) {
		if name == "Chat" {
			continue
		}
		if err := err(ctx); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	started, ended := m.running(t, &dialogv1.ChatRequest{Question: limitQuestion, SessionId: session})
	if _, err := m.chat.StopTurn(ctx, &dialogv1.StopTurnRequest{TurnId: started.GetTurnId()}); err != nil {
		t.Errorf("a turn of this process can't be stopped: %v", err)
	}
	if h := <-ended; h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_INTERRUPTED || h.stored != dialogv1.Stored_STORED_SPOOLED || !strings.Contains(h.degraded(), "session_unavailable") {
		t.Errorf("it ended as %v, stored %v, degraded %s", h.turn.GetOutcome(), h.stored, h.degraded())
	}
	if _, err := m.chat.StopTurn(ctx, &dialogv1.StopTurnRequest{TurnId: started.GetTurnId()}); err != nil {
		t.Errorf("one that has ended: %v", err)
	}
}

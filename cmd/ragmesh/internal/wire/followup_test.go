package wire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// rewriting is a provider, as one is on the wire, that says what say returns when it is asked to rewrite.
func rewriting(t *testing.T, say func(r *http.Request, asked string) (text string, ok bool)) string {
	t.Helper()
	mock := mockllm.New(1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var request struct {
			Messages []struct{ Role, Content string }
		}
		if err := json.Unmarshal(body, &request); err != nil || len(request.Messages) == 0 || !strings.Contains(request.Messages[0].Content, "rewrite the person's last question") {
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			mock.ServeHTTP(w, r)
			return
		}
		text, ok := say(r, request.Messages[len(request.Messages)-1].Content)
		if !ok {
			http.Error(w, `{"error":{"message":"no","type":"server_error"}}`, http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, word := range strings.SplitAfter(text, " ") {
			chunk, _ := json.Marshal(map[string]any{"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": []any{map[string]any{"index": 0, "delta": map[string]any{"content": word}}}})
			_, _ = fmt.Fprintf(w, "data: %s\n\n", chunk)
		}
		_, _ = io.WriteString(w, `data: {"id":"1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v1"
}

// turn asks and returns the whole turn.
func (s *system) turn(ctx context.Context, question, session string) (*dialogv1.Turn, error) {
	stream, err := s.chat.Chat(ctx, &dialogv1.ChatRequest{Question: question, SessionId: session})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		if turn := stream.Msg().GetCompleted().GetTurn(); turn != nil {
			return turn, nil
		}
	}
	return nil, stream.Err()
}

// A follow-up goes to the provider and back through all services; a provider that fails leaves it to the rules, and a caller that
// goes away ends the provider's work.
func TestFollowUpsByModel(t *testing.T) {
	t.Parallel()
	const better = "Who may apply for the gold card?"
	var mode atomic.Value
	mode.Store("say")
	asked, left := make(chan string, 8), make(chan struct{})
	leaves := sync.OnceFunc(func() { close(left) }) // on a busy machine it may be asked twice
	url := rewriting(t, func(r *http.Request, question string) (string, bool) {
		switch mode.Load() {
		case "fail":
			return "", false
		case "hang":
			asked <- question
			<-r.Context().Done()
			leaves()
			return "", false
		}
		asked <- question
		return better, true
	})
	dir := t.TempDir()
	// However busy the machine, no stage is late: without its session a turn has nothing to rewrite its question by.
	write(t, dir, "dialog.yaml", "turn: {follow_up: {by: model}, budget: {turn: 5m, plan: 10s, rewrite: 30s, retrieve: 1m, tools: 1m, first_token: 1m, idle: 1m, save: 10s}}\n")
	write(t, dir, "llm-gateway.yaml", "default_model: m\nmodels: {m: {targets: [{provider: p, model: mock-len4}]}}\nproviders: {p: {type: openai, base_url: "+url+"}}\n")
	s := up(t, dir)
	first, err := s.turn(t.Context(), "What is the gold card?", "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.turn(t.Context(), "And who may apply?", first.GetSessionId())
	if err != nil {
		t.Fatal(err)
	}
	if question := <-asked; got.GetStandaloneQuestion() != better || !strings.Contains(question, "And who may apply?") {
		t.Errorf("the follow-up became %q; the provider was asked %q", got.GetStandaloneQuestion(), question)
	}
	if said := rewriteOf(got); !strings.Contains(said, `"by":"model"`) {
		t.Errorf("the trace says %s", said)
	}

	mode.Store("fail")
	if got, err = s.turn(t.Context(), "How do I cancel it?", first.GetSessionId()); err != nil {
		t.Fatal(err)
	}
	if want := "How do I cancel the gold card?"; got.GetStandaloneQuestion() != want || !slices.ContainsFunc(got.GetDegradations(), func(d *retrieverv1.Degradation) bool { return d.GetStage() == "rewrite" }) {
		t.Errorf("with a provider that fails the follow-up became %q, want %q, said as a degradation: %v", got.GetStandaloneQuestion(), want, got.GetDegradations())
	}

	mode.Store("hang")
	ctx, cancel := context.WithCancel(t.Context())
	type end struct {
		turn *dialogv1.Turn
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		turn, err := s.turn(ctx, "Is it free?", first.GetSessionId())
		ended <- end{turn, err}
	}()
	select {
	case <-asked:
	case e := <-ended:
		t.Fatalf("the provider was not asked: %v, %v", e.err, e.turn)
	}
	cancel()
	<-left
	if e := <-ended; e.err == nil {
		t.Error("the turn completed though its caller went away")
	}
}

// rewriteOf returns what the trace says of the rewriting.
func rewriteOf(turn *dialogv1.Turn) string {
	for _, stage := range turn.GetStages() {
		if stage.GetName() == "rewrite" {
			return stage.GetOutputJson()
		}
	}
	return ""
}

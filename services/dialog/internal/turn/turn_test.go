package turn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// peers plays everything a turn needs.
type peers struct {
	search   func(context.Context) (turn.Found, error)
	call     func(context.Context, plan.Call) (turn.ToolResult, error)
	generate func(context.Context, turn.Generate) (turn.Stream, error)
	history  func(context.Context) ([]turn.Turn, bool, error)
	claim    func(context.Context) (*turn.Turn, error)
	readable func(context.Context, []string) ([]string, error)
	plan     func() plan.Plan

	mu    sync.Mutex
	saved []turn.Turn
}

func (p *peers) Search(ctx context.Context, _ turn.Search) (turn.Found, error) {
	if p.search != nil {
		return p.search(ctx)
	}
	return turn.Found{Passages: []turn.Passage{{ChunkID: "c", DocumentID: "d", Title: "T", Text: fact, End: uint64(len(fact))}}}, nil
}

func (p *peers) Readable(ctx context.Context, _ string, documents []string) ([]string, error) {
	if p.readable != nil {
		return p.readable(ctx, documents)
	}
	return documents, nil
}

func (p *peers) Enabled(context.Context, string) ([]string, error) { return []string{"tool"}, nil }

func (p *peers) Call(ctx context.Context, _ string, c plan.Call) (turn.ToolResult, string, error) {
	r, err := p.call(ctx, c)
	return r, "t", err
}

func (p *peers) Generate(ctx context.Context, g turn.Generate) (turn.Stream, error) {
	if p.generate != nil {
		return p.generate(ctx, g)
	}
	return parts(g, fact+" [1]"), nil
}

func (p *peers) History(ctx context.Context, _, _, _ string, _ int) (turn.Past, error) {
	if p.history != nil {
		turns, known, err := p.history(ctx)
		return turn.Past{Turns: turns, Known: known, Found: true}, err
	}
	return turn.Past{Known: true, Found: true}, nil
}

func (p *peers) Save(_ context.Context, t turn.Turn) (turn.Stored, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved = append(p.saved, t)
	return turn.StoredStream, nil
}

func (p *peers) Claim(ctx context.Context, _ turn.Question, _, _ string) (*turn.Turn, error) {
	if p.claim != nil {
		return p.claim(ctx)
	}
	return nil, nil // nothing earlier
}

func (p *peers) Plan(string, func(string) bool) plan.Plan {
	if p.plan != nil {
		return p.plan()
	}
	return plan.Plan{Retrieve: true}
}

const (
	fact     = "The daily transfer limit is 50,000 dollars."
	question = "What is the daily transfer limit?"
)

// stream is an answer from memory.
type stream struct{ parts []turn.Part }

func parts(g turn.Generate, texts ...string) *stream {
	started := &turn.Generation{Provider: "fake"}
	for _, s := range g.Sources {
		started.SourceIDs = append(started.SourceIDs, s.ID)
	}
	s := &stream{parts: []turn.Part{{Started: started}}}
	for _, t := range texts {
		s.parts = append(s.parts, turn.Part{Text: t})
	}
	s.parts = append(s.parts, turn.Part{Completed: &turn.Completion{Finish: turn.FinishStop}})
	return s
}

func (s *stream) Next() (turn.Part, error) {
	if len(s.parts) == 0 {
		return turn.Part{}, io.EOF
	}
	p := s.parts[0]
	s.parts = s.parts[1:]
	return p, nil
}

func (s *stream) Close() error { return nil }

// patient gives everything time, on a busy machine too. Tests of what is late shorten the budgets that it exceeds.
func patient() turn.Config {
	cfg := turn.Defaults()
	b := &cfg.Budget
	b.Plan, b.Save, b.Rewrite, b.Retrieve, b.Tools, b.FirstToken = 10*time.Second, 10*time.Second, 20*time.Second, 20*time.Second, 20*time.Second, 20*time.Second
	return cfg
}

func answerer(t testing.TB, p *peers, change ...func(*turn.Config)) *turn.Answerer {
	t.Helper()
	cfg := patient()
	for _, c := range change {
		c(&cfg)
	}
	var mu sync.Mutex
	n := 0
	a, err := turn.New(cfg, turn.Deps{
		Retriever: p, Tools: p, Model: p, Store: p, Planner: p, Now: time.Now, Revision: "rev",
		NewID: func() string {
			mu.Lock()
			defer mu.Unlock()
			n++
			return fmt.Sprintf("id-%d", n)
		},
		Tracer: noop.NewTracerProvider().Tracer(""), Log: func(context.Context) zerolog.Logger { return zerolog.Nop() },
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ask(t testing.TB, a *turn.Answerer, q turn.Question) (turn.Turn, []turn.Event) {
	t.Helper()
	var events []turn.Event
	if err := a.Ask(t.Context(), q, func(e turn.Event) error {
		events = append(events, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	last := events[len(events)-1]
	switch {
	case last.Completed != nil:
		return last.Completed.Turn, events
	case last.Failed != nil:
		return last.Failed.Turn, events
	}
	t.Fatalf("the last event is %+v", last)
	return turn.Turn{}, nil
}

// TestRecordIsBounded answers with the largest of everything that peers can send.
func TestRecordIsBounded(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("字", 100_000)
	p := &peers{
		plan: func() plan.Plan {
			out := plan.Plan{Retrieve: true, PromptID: "p"}
			for i := range plan.MaxCalls {
				out.Calls = append(out.Calls, plan.Call{ID: fmt.Sprintf("call-%d", i+1), Tool: strings.Repeat("t", 128), Arguments: `{"a":"` + strings.Repeat("\\u0001", 600) + `"}`})
			}
			for i := range 200 {
				out.Intents = append(out.Intents, fmt.Sprintf("intent-%d", i))
			}
			return out
		},
		call: func(_ context.Context, c plan.Call) (turn.ToolResult, error) {
			return turn.ToolResult{CallID: c.ID, Tool: c.Tool, Arguments: c.Arguments, Text: huge, Data: "[" + strings.Repeat("1,", 900) + "1]"}, nil
		},
		search: func(context.Context) (turn.Found, error) {
			f := turn.Found{Strategy: huge, Revision: huge}
			for i := range 100 {
				f.Passages = append(f.Passages, turn.Passage{
					ChunkID: fmt.Sprintf("chunk-%d", i), DocumentID: "d", SourceURI: "s" + huge, Title: huge, Headings: []string{huge, huge, huge}, Text: fact + huge, End: 1 << 20,
					ScoreParts: map[string]float64{"bm25": 1},
				})
				f.Degradations = append(f.Degradations, turn.Degradation{Stage: huge, Reason: huge, Message: huge})
			}
			return f, nil
		},
		generate: func(_ context.Context, g turn.Generate) (turn.Stream, error) {
			var texts []string
			for range 3000 {
				texts = append(texts, strings.Repeat("限额", 30)+"[1][2][3][4][5]。\x00\"\n")
			}
			return parts(g, texts...), nil
		},
	}
	q := turn.Question{Workspace: "w", User: "u", Text: strings.Repeat("限", (32<<10)/3)}
	got, _ := ask(t, answerer(t, p), q)
	data, err := record.Codec{}.Encode(got)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KiB: %d sources, %d citations, %d stages, %d degradations", len(data)>>10, len(got.Sources), len(got.Citations), len(got.Stages), len(got.Degradations))
	if len(data) > turn.MaxRecord {
		t.Errorf("the record has %d bytes", len(data))
	}
	if got.Outcome != turn.Answered || got.Finish != turn.FinishLength || len(got.Sources) < 3 || len(got.Citations) < 40 {
		t.Errorf("outcome %v, finish %v", got.Outcome, got.Finish)
	}
}

// TestTwoAtOnce holds that retriever and tools run at the same time: each waits for the other.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	searching, calling := make(chan struct{}), make(chan struct{})
	p := &peers{
		plan: func() plan.Plan {
			return plan.Plan{Retrieve: true, Calls: []plan.Call{{ID: "call-1", Tool: "tool", Arguments: "{}"}}}
		},
		search: func(ctx context.Context) (turn.Found, error) {
			close(searching)
			select {
			case <-calling:
				return turn.Found{Passages: []turn.Passage{{ChunkID: "c", Text: fact}}}, nil
			case <-ctx.Done():
				return turn.Found{}, ctx.Err()
			}
		},
		call: func(ctx context.Context, c plan.Call) (turn.ToolResult, error) {
			close(calling)
			select {
			case <-searching:
				return turn.ToolResult{CallID: c.ID, Tool: c.Tool, Text: "ok"}, nil
			case <-ctx.Done():
				return turn.ToolResult{}, ctx.Err()
			}
		},
	}
	got, _ := ask(t, answerer(t, p), turn.Question{Workspace: "w", Text: question})
	if len(got.Degradations) > 0 || len(got.Sources) != 2 || got.Sources[0].Tool == nil || got.Sources[1].Number != 2 {
		t.Errorf("degradations %v, sources %+v", got.Degradations, got.Sources)
	}
}

// TestPeersThatIgnoreTheirDeadline holds that a turn goes on without a call that does not end.
func TestPeersThatIgnoreTheirDeadline(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	silent := func(context.Context, turn.Generate) (turn.Stream, error) { <-release; return nil, io.EOF }
	a := answerer(t, &peers{search: func(context.Context) (turn.Found, error) { <-release; return turn.Found{}, nil }, generate: silent},
		func(c *turn.Config) { c.Budget.Retrieve = 200 * time.Millisecond })
	got, _ := ask(t, a, turn.Question{Workspace: "w", Text: question})
	if diff := cmp.Diff("retriever/timeout", degraded(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, _ = ask(t, answerer(t, &peers{generate: silent}, func(c *turn.Config) { c.Budget.FirstToken = 200 * time.Millisecond }), turn.Question{Workspace: "w", Text: question})
	if diff := cmp.Diff("llm-gateway/timeout", degraded(got)); diff != "" || !strings.Contains(got.Answer, fact) {
		t.Errorf("answer %q (-want +got):\n%s", got.Answer, diff)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain while calls hang: %v", err)
	}
	close(release)
	if err := a.Drain(t.Context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	if err := a.Ask(t.Context(), turn.Question{Workspace: "w", Text: question}, nil); fault.ReasonOf(err) != fault.Draining {
		t.Errorf("a question while draining: %v", err)
	}
}

// TestFailedTool holds that who asked is told to change the question only when that can help.
func TestFailedTool(t *testing.T) {
	t.Parallel()
	wrong := func(context.Context, plan.Call) (turn.ToolResult, error) {
		return turn.ToolResult{Error: &turn.ToolError{Message: "division by zero"}}, nil
	}
	outage := func(context.Context, plan.Call) (turn.ToolResult, error) {
		return turn.ToolResult{Error: &turn.ToolError{Message: "the service does not answer", Retryable: true}}, nil
	}
	away := func(context.Context, plan.Call) (turn.ToolResult, error) {
		return turn.ToolResult{}, fault.New(fault.Unavailable, fault.ToolFailed, "tools does not answer")
	}
	slow := func(ctx context.Context, _ plan.Call) (turn.ToolResult, error) {
		<-ctx.Done()
		return turn.ToolResult{}, ctx.Err()
	}
	tests := map[string]struct {
		call     func(context.Context, plan.Call) (turn.ToolResult, error)
		question string
		want     string
	}{
		"wrong values":          {wrong, "what is 1/0", "Please check the values in your question and try again."},
		"wrong values, Chinese": {wrong, "一除以零等于多少", "请检查问题中的数据后再试一次。"},
		"outage":                {outage, "where is order 7", "Please ask again in a few minutes."},
		"outage, Chinese":       {outage, "订单七在哪里", "请稍后再问一次。"},
		"tools away":            {away, "where is order 7", "Please ask again in a few minutes."},
		"tools too slow":        {slow, "where is order 7", "Please ask again in a few minutes."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &peers{call: tc.call, plan: func() plan.Plan {
				return plan.Plan{Calls: []plan.Call{{ID: "call-1", Tool: "tool", Arguments: "{}"}}}
			}}
			got, _ := ask(t, answerer(t, p, func(c *turn.Config) {
				if name == "tools too slow" {
					c.Budget.Tools = 200 * time.Millisecond
				}
			}), turn.Question{Workspace: "w", Text: tc.question})
			if got.Outcome != turn.Abstained || !strings.HasSuffix(got.Answer, "\n\n"+tc.want) {
				t.Errorf("outcome %v, answer %q, want it to end with %q", got.Outcome, got.Answer, tc.want)
			}
		})
	}
}

func degraded(t turn.Turn) string {
	var out []string
	for _, d := range t.Degradations {
		out = append(out, d.Stage+"/"+d.Reason)
	}
	return strings.Join(out, " ")
}

func TestStoreAway(t *testing.T) {
	t.Parallel()
	away := fault.New(fault.Unavailable, fault.StoreUnavailable, "away")
	p := &peers{
		history: func(context.Context) ([]turn.Turn, bool, error) { return nil, false, away },
		claim:   func(context.Context) (*turn.Turn, error) { return nil, away },
	}
	got, _ := ask(t, answerer(t, p), turn.Question{Workspace: "w", Session: "s", RequestID: "r", Text: question})
	if want := "session/session_unavailable session/dedupe_unavailable"; got.Outcome != turn.Answered || degraded(got) != want {
		t.Errorf("outcome %v, degraded %q", got.Outcome, degraded(got))
	}
}

func TestClientThatStopsReading(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	p := &peers{generate: func(ctx context.Context, g turn.Generate) (turn.Stream, error) {
		return &endless{ctx: ctx, ended: ended}, nil
	}}
	a := answerer(t, p)
	err := a.Ask(t.Context(), turn.Question{Workspace: "w", Text: question}, func(e turn.Event) error {
		if e.Delta != "" {
			return errors.New("gone")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := a.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(p.saved) != 1 || p.saved[0].Outcome != turn.Interrupted {
		t.Errorf("saved %+v", p.saved)
	}
}

// endless talks until its context ends.
type endless struct {
	ctx   context.Context // as a stream has it
	ended chan struct{}
	once  sync.Once
}

func (e *endless) Next() (turn.Part, error) {
	if err := e.ctx.Err(); err != nil {
		return turn.Part{}, err
	}
	return turn.Part{Text: "more and "}, nil
}

func (e *endless) Close() error {
	e.once.Do(func() { close(e.ended) })
	return nil
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	searching, release := make(chan struct{}), make(chan struct{})
	p := &peers{search: func(ctx context.Context) (turn.Found, error) {
		close(searching)
		<-release
		return turn.Found{}, nil
	}}
	a := answerer(t, p, func(c *turn.Config) { c.Limit = 1 })
	done := make(chan error, 1)
	go func() {
		done <- a.Ask(t.Context(), turn.Question{Workspace: "w", Text: question}, func(turn.Event) error { return nil })
	}()
	<-searching
	if err := a.Ask(t.Context(), turn.Question{Workspace: "w", Text: question}, nil); fault.ReasonOf(err) != fault.Overloaded {
		t.Errorf("one too many: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestNothingIsLeftBehind runs turns that end in every way and counts goroutines.
func TestNothingIsLeftBehind(t *testing.T) { // counts goroutines
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	short := func(c *turn.Config) {
		c.Budget.Retrieve, c.Budget.FirstToken = 10*time.Millisecond, 10*time.Millisecond
	}
	all := []*turn.Answerer{
		answerer(t, &peers{}, short),
		answerer(t, &peers{search: func(ctx context.Context) (turn.Found, error) { return turn.Found{}, hang(ctx) }}, short),
		answerer(t, &peers{generate: func(ctx context.Context, _ turn.Generate) (turn.Stream, error) { return nil, hang(ctx) }}, short),
	}
	run := func() {
		for _, a := range all {
			ask(t, a, turn.Question{Workspace: "w", Text: question})
		}
	}
	run()
	before := runtime.NumGoroutine()
	for range 30 {
		run()
	}
	for _, a := range all {
		if err := a.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+5; runtime.Gosched() { // who is done may not be gone yet
		if time.Now().After(end) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

func BenchmarkTurn(b *testing.B) {
	p := &peers{search: func(context.Context) (turn.Found, error) {
		var f turn.Found
		for i := range 8 {
			text := fact + strings.Repeat(" Cards are sent by post within five working days of the application.", 20)
			f.Passages = append(f.Passages, turn.Passage{ChunkID: fmt.Sprintf("c%d", i), DocumentID: "d", Title: "Transfers", Text: text, End: uint64(len(text))})
		}
		return f, nil
	}}
	a := answerer(b, p)
	for b.Loop() {
		ask(b, a, turn.Question{Workspace: "w", Text: question})
		p.saved = nil
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := turn.Defaults().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*turn.Config){
		"no budget":     func(c *turn.Config) { c.Budget.Retrieve = 0 },
		"a long budget": func(c *turn.Config) { c.Budget.Turn = time.Hour },
		"top_k":         func(c *turn.Config) { c.TopK = 21 },
		"threshold":     func(c *turn.Config) { c.Threshold = 2 },
		"nobody":        func(c *turn.Config) { c.Limit = 0 },
	} {
		c := turn.Defaults()
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

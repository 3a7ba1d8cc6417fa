package turn_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// models says which names lead to a language model.
type models func(name string) (bool, error)

func (m models) Real(_ context.Context, name string) (bool, error) { return m(name) }

// rewriter is a gateway whose model says what say returns when it is to rewrite, and answers otherwise.
func rewriter(say func(context.Context, turn.Generate) (turn.Stream, error)) *peers {
	return &peers{
		history: func(context.Context) ([]turn.Turn, bool, error) {
			return []turn.Turn{{ID: "1", Question: question, Standalone: question, Answer: fact + " [1]", Outcome: turn.Answered}}, true, nil
		},
		generate: func(ctx context.Context, g turn.Generate) (turn.Stream, error) {
			if g.PromptID == turn.RewritePrompt {
				return say(ctx, g)
			}
			return parts(g, fact+" [1]"), nil
		},
	}
}

func says(text string) func(context.Context, turn.Generate) (turn.Stream, error) {
	return func(_ context.Context, g turn.Generate) (turn.Stream, error) { return parts(g, text), nil }
}

// rewrites asks a follow-up and returns the standalone question, the stage that made it and the degradations.
func rewrites(t *testing.T, p *peers, known models, by, question string) (string, map[string]any, turn.Turn) {
	t.Helper()
	cfg := patient()
	cfg.FollowUp.By = by
	cfg.Budget.Rewrite = time.Minute
	if by == "slow" {
		cfg.FollowUp.By = turn.ByModel
		cfg.Budget.Rewrite = 20 * time.Millisecond
	}
	a, err := turn.New(cfg, turn.Deps{
		Retriever: p, Tools: p, Model: p, Models: known, Store: p, Planner: p, Now: time.Now, Revision: "rev", NewID: func() string { return "id" },
		Tracer: noop.NewTracerProvider().Tracer(""), Log: func(context.Context) zerolog.Logger { return zerolog.Nop() },
	})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := ask(t, a, turn.Question{Workspace: "w", Session: "s", Text: question})
	for _, stage := range got.Stages {
		if stage.Name == "rewrite" {
			var out map[string]any
			if err := json.Unmarshal([]byte(stage.Output), &out); err != nil {
				t.Fatal(err)
			}
			out["status"] = stage.Status
			return got.Standalone, out, got
		}
	}
	t.Fatal("there is no rewrite stage")
	return "", nil, got
}

func TestRewriteByModel(t *testing.T) {
	t.Parallel()
	is := models(func(string) (bool, error) { return true, nil })
	none := models(func(string) (bool, error) { return false, nil })
	away := models(func(string) (bool, error) {
		return false, fault.New(fault.Unavailable, fault.ServiceUnavailable, "away")
	})
	hangs := func(ctx context.Context, _ turn.Generate) (turn.Stream, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	fails := func(context.Context, turn.Generate) (turn.Stream, error) {
		return nil, fault.New(fault.Unavailable, fault.ServiceUnavailable, "away")
	}
	extractive := func(_ context.Context, g turn.Generate) (turn.Stream, error) {
		s := parts(g, "What is the whole daily transfer limit?")
		s.parts[0].Started.Provider = "extractive"
		return s, nil
	}
	const follow, byRules = "Can it be raised?", "Can the daily transfer limit be raised?"
	const better = "Can the daily transfer limit of 50,000 dollars be raised?"
	tests := []struct {
		name     string
		say      func(context.Context, turn.Generate) (turn.Stream, error)
		models   models
		by       string
		question string
		want     string
		instead  string // why rules did it
		degraded bool
	}{
		{"the model's", says(better), is, turn.ByModel, follow, better, "", false},
		{"with quotation marks and a lead", says("Standalone question: \"" + better + "\"\n"), is, turn.ByModel, follow, better, "", false},
		{"rules only", says(better), is, turn.ByRules, follow, byRules, "", false},
		{"auto, and the rules are sure", says(better), is, turn.ByBoth, follow, byRules, "", false},
		{"auto, and they are not", says("Who may raise the daily transfer limit?"), is, turn.ByBoth, "Who may do so?", "Who may raise the daily transfer limit?", "", false},
		{"auto, without a model", says("Who may raise the daily transfer limit?"), none, turn.ByBoth, "Who may do so?", "Who may do so?", "", false},
		{"auto, a model that fails is no degradation", fails, is, turn.ByBoth, "Who may do so?", "Who may do so?", "unavailable", false},
		{"model, without one", says(better), none, turn.ByModel, follow, byRules, "refused", true},
		{"the gateway is away", says(better), away, turn.ByModel, follow, byRules, "unavailable", true},
		{"it fails", fails, is, turn.ByModel, follow, byRules, "unavailable", true},
		{"it is late", hangs, is, "slow", follow, byRules, "timeout", true},
		{"the built-in one answers instead", extractive, is, turn.ByModel, follow, byRules, "unavailable", true},
		{"it answers", says("Yes.\nUp to 80,000 dollars."), is, turn.ByModel, follow, byRules, "not one line", true},
		{"it makes up a number", says("Can the daily transfer limit be raised to 80,000?"), is, turn.ByModel, follow, byRules, "a name or number nobody mentioned", true},
		{"it makes up a name", says("Can the daily transfer limit of Acme be raised?"), is, turn.ByModel, follow, byRules, "a name or number nobody mentioned", true},
		{"it loses a number", says("Can the daily transfer limit be raised?"), is, turn.ByModel, "Can it be raised to 60,000?", "Can the daily transfer limit be raised to 60,000?", "a name or number is missing", true},
		{"it answers in another language", says("每日转账限额可以提高吗？"), is, turn.ByModel, follow, byRules, "another language", true},
		{"it says nothing", says(" "), is, turn.ByModel, follow, byRules, "empty", true},
		{"it says too much", says(strings.Repeat("the limit ", 100)), is, turn.ByModel, follow, byRules, "too long", true},
		{"it never ends", says(strings.Repeat("the limit ", 1000)), is, turn.ByModel, follow, byRules, "too long", true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, stage, whole := rewrites(t, rewriter(tc.say), tc.models, tc.by, tc.question)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			instead, _ := stage["instead"].(string)
			if instead != tc.instead {
				t.Errorf("rules did it because of %q, want %q", instead, tc.instead)
			}
			if (stage["by"] == "model") != (tc.want != byRules && tc.instead == "" && tc.want != tc.question) {
				t.Errorf("the stage says it was done by %v", stage["by"])
			}
			if degraded := len(whole.Degradations) > 0; degraded != tc.degraded || (stage["status"] == turn.StatusDegraded) != tc.degraded {
				t.Errorf("degradations %v, stage %v; want them: %v", whole.Degradations, stage["status"], tc.degraded)
			}
			if whole.Outcome != turn.Answered && whole.Outcome != turn.Abstained {
				t.Errorf("the turn ended %v", whole.Outcome)
			}
		})
	}
}

// A first question leans on nothing: no model is asked about it.
func TestFirstQuestionIsNotRewritten(t *testing.T) {
	t.Parallel()
	p := rewriter(func(context.Context, turn.Generate) (turn.Stream, error) {
		t.Error("the model was asked")
		return nil, context.Canceled
	})
	p.history = nil
	if got, _, _ := rewrites(t, p, func(string) (bool, error) { return true, nil }, turn.ByModel, "Can it be raised?"); got != "Can it be raised?" {
		t.Errorf("got %q", got)
	}
}

// A caller that goes away ends the model's work on its follow-up.
func TestRewriteEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	p := rewriter(func(ctx context.Context, _ turn.Generate) (turn.Stream, error) {
		cancel()
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	})
	cfg := patient()
	cfg.FollowUp.By, cfg.Budget.Rewrite = turn.ByModel, time.Minute
	a, err := turn.New(cfg, turn.Deps{
		Retriever: p, Tools: p, Model: p, Models: models(func(string) (bool, error) { return true, nil }), Store: p, Planner: p, Now: time.Now,
		NewID: func() string { return "id" }, Tracer: noop.NewTracerProvider().Tracer(""), Log: func(context.Context) zerolog.Logger { return zerolog.Nop() },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Ask(ctx, turn.Question{Workspace: "w", Session: "s", Text: "Can it be raised?"}, func(turn.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.saved) != 1 || p.saved[0].Outcome != turn.Interrupted {
		t.Errorf("saved %+v, want one interrupted turn", p.saved)
	}
}

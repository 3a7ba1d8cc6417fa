package turn_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// told returns what the model is told of the conversation before a question.
func told(t *testing.T, history []turn.Turn, question string, change func(*turn.Config)) []turn.Message {
	t.Helper()
	var got []turn.Message
	p := &peers{
		history: func(context.Context) ([]turn.Turn, bool, error) { return history, true, nil },
		generate: func(_ context.Context, g turn.Generate) (turn.Stream, error) {
			got = g.History
			return parts(g, fact+" [1]"), nil
		},
	}
	anyway := func(c *turn.Config) { c.Threshold = 1e-9 }
	if end, _ := ask(t, answerer(t, p, anyway, change), turn.Question{Workspace: "w", Session: "s", Text: question}); end.Outcome != turn.Answered {
		t.Fatalf("the turn ended %v: %v", end.Outcome, end.Failure)
	}
	return got
}

// conversation is n turns with long answers, the first of which holds a fact.
func conversation(n int, question, claim, filler string) []turn.Turn {
	var out []turn.Turn
	for i := range n {
		q, answer := fmt.Sprintf(filler, i), strings.Repeat(fmt.Sprintf(filler, i)+" ", 40)
		h := turn.Turn{ID: fmt.Sprintf("%02d", i), Question: q, Standalone: q, Answer: answer + "[1]", Outcome: turn.Answered}
		if i == 0 {
			h.Question, h.Standalone, h.Answer = question, question, answer+claim+" [1]"
			h.Citations = []turn.Citation{
				{Citation: citing.Citation{Claim: "Not so.", Support: evidence.Unsupported}},
				{Citation: citing.Citation{Claim: claim, Support: evidence.Supported}},
			}
		}
		out = append(out, h)
	}
	return out
}

func tokens(messages []turn.Message) int {
	n := 0
	for _, m := range messages {
		n += 4 + text.EstimateTokens(m.Text) // as the llm-gateway counts
	}
	return n
}

func all(messages []turn.Message) string {
	var b strings.Builder
	for _, m := range messages {
		b.WriteString(m.Text + "\n")
	}
	return b.String()
}

func TestMemory(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ first, claim, filler, question string }{
		"English": {
			"What is my customer number?", "The customer number is QX-4711.", "Sentence %d is about the opening hours of the branch in the city.",
			"What is the daily transfer limit?",
		},
		"Chinese": {"我的客户号是多少？", "客户号是 QX-4711。", "第 %d 句话说的是市中心支行的营业时间和节假日安排。", "每天的转账限额 daily transfer limit 是多少？"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			history := conversation(11, tc.first, tc.claim, tc.filler)
			got := told(t, history, tc.question, func(*turn.Config) {})
			if n := tokens(got); n > turn.Defaults().Tokens || n < turn.Defaults().Tokens/3 {
				t.Errorf("%d tokens; want at most %d, and not too few", n, turn.Defaults().Tokens)
			}
			if s := all(got); !strings.Contains(s, tc.claim) || !strings.Contains(s, tc.first) || strings.Contains(s, "Not so.") {
				t.Errorf("what the first turn said is not there:\n%s", s)
			}
			if last := got[len(got)-1]; !last.Assistant || !strings.Contains(last.Text, fmt.Sprintf(tc.filler, 10)) || len(last.Text) < 39*len(tc.filler) {
				t.Errorf("the last turn is not there word for word: %+v", last)
			}
			for i, m := range got {
				if m.Assistant != (i%2 == 1) {
					t.Fatalf("message %d is out of turn", i)
				}
			}

			history[0].Withheld = true
			if s := all(told(t, history, tc.question, func(*turn.Config) {})); strings.Contains(s, tc.claim) || strings.Contains(s, tc.first) {
				t.Errorf("a withheld turn is there:\n%s", s)
			}
			history[0].Withheld = false
			if s := all(told(t, history, tc.question, func(c *turn.Config) { c.Memory = 0 })); strings.Contains(s, tc.claim) {
				t.Errorf("there is memory beyond the turns that are read:\n%s", s)
			}
			for budget := 0; budget < 700; budget += 7 {
				got := told(t, history, tc.question, func(c *turn.Config) { c.Tokens = budget })
				if n := tokens(got); n > budget {
					t.Fatalf("%d tokens of %d", n, budget)
				}
			}
		})
	}
}

// With little room, what the question speaks of is kept rather than what was said last.
func TestMemoryKeepsWhatIsAskedAbout(t *testing.T) {
	t.Parallel()
	const first, claim = "What is the daily transfer limit for students?", "The daily transfer limit for students is 900 dollars."
	history := conversation(80, first, claim, "Sentence %d is about the opening hours of the branch.")
	got := told(t, history, "What is the daily transfer limit?", func(c *turn.Config) { c.Memory, c.Tokens = 100, 400 })
	if s := all(got); !strings.Contains(s, claim) {
		t.Errorf("it is not there:\n%s", s)
	}
	got = told(t, history, "What is the daily transfer limit?", func(c *turn.Config) { c.Memory, c.Tokens = 100, 16_000 })
	if len(got) > 64 {
		t.Errorf("%d messages; the gateway takes 64", len(got))
	}
}

package fair_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/services/dialog/internal/fair"
)

func TestQuestions(t *testing.T) {
	t.Parallel()
	cfg := fair.Config{User: fair.Share{Rate: 60, Burst: 2}, Workspace: fair.Share{Rate: 600, Burst: 3}}
	q := fair.NewQuestions()
	now := time.Unix(1_000_000, 0)
	ask := func(workspace, user string) error {
		return q.Take(cfg, line.Party{Workspace: workspace, User: user}, now)
	}
	for i := range 2 {
		if err := ask("a", "x"); err != nil {
			t.Fatalf("question %d: %v", i, err)
		}
	}
	err := ask("a", "x")
	if fault.ReasonOf(err) != fault.RateLimited || fault.As(err).RetryAfter != time.Second {
		t.Errorf("the third: %v, %v", err, fault.As(err).RetryAfter)
	}
	if err := ask("a", "y"); err != nil {
		t.Errorf("another user: %v", err)
	}
	if err := ask("a", "z"); fault.ReasonOf(err) != fault.RateLimited || fault.As(err).RetryAfter != 100*time.Millisecond {
		t.Errorf("the workspace's fourth: %v, %v", err, fault.As(err).RetryAfter)
	}
	if err := ask("b", "z"); err != nil {
		t.Errorf("in another workspace: %v", err)
	}
	now = now.Add(time.Second)
	if err := ask("a", "x"); err != nil {
		t.Errorf("when it said to come back: %v", err)
	}
	cfg.User.Rate, cfg.Workspace.Rate = 0, 0
	for range 100 {
		if err := ask("a", "x"); err != nil {
			t.Fatalf("without a bound: %v", err)
		}
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	c := fair.NewCalls()
	now := time.Unix(1_000_000, 0)
	limits := fair.CallLimits{Rate: 10, Burst: 3, Running: 2}
	first, err := c.Begin(limits, "x", now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Begin(limits, "x", now); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Begin(limits, "x", now); fault.ReasonOf(err) != fault.RateLimited || !strings.Contains(err.Error(), "under way") {
		t.Errorf("the third at once: %v", err)
	}
	first()
	first() // counts once
	if _, err := c.Begin(limits, "x", now); fault.ReasonOf(err) != fault.RateLimited || fault.As(err).RetryAfter != 100*time.Millisecond {
		t.Errorf("the fourth in a moment: %v", err)
	}
	now = now.Add(100 * time.Millisecond)
	if _, err := c.Begin(limits, "x", now); err != nil {
		t.Errorf("when it said to come back: %v", err)
	}
	if _, err := c.Begin(limits, "y", now); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

// What is remembered of callers is bounded, however many there are.
func TestCallersAreForgotten(t *testing.T) {
	t.Parallel()
	m := fair.NewMeters()
	now := time.Unix(1_000_000, 0)
	if m.Take("first", 1, 1, now) != 0 || m.Take("first", 1, 1, now) == 0 {
		t.Fatal("one may come, and then not at once another")
	}
	for i := range 1 << 15 {
		m.Take(fmt.Sprint(i), 1, 1, now)
	}
	if m.Take("first", 1, 1, now) != 0 {
		t.Error("a caller is remembered for ever")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := fair.Defaults().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*fair.Config){
		"user.questions_per_minute": func(c *fair.Config) { c.User.Rate = -1 },
		"weights.team":              func(c *fair.Config) { c.Weights = map[string]int{"team": 0} },
		"waiting.timeout":           func(c *fair.Config) { c.Waiting.Patience = 0 },
		"calls.max_running":         func(c *fair.Config) { c.Calls.Running = 0 },
		"request_size":              func(c *fair.Config) { c.Request = 1 },
	} {
		cfg := fair.Defaults()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

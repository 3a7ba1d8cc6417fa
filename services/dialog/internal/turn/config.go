package turn

import (
	"errors"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/evidence"
)

// Config bounds a turn.
type Config struct {
	Budget    Budget   `yaml:"budget"`
	TopK      int      `yaml:"top_k" doc:"Passages asked of the retriever. Count, 1 to 20; 0 means the strategy's."`
	History   int      `yaml:"history_turns" doc:"Earlier turns that follow-ups are understood from and that the model is given word for word. Count, 0 to 20."`
	Memory    int      `yaml:"memory_turns" doc:"Earlier turns of which the model is given the question and the first supported sentence where they don't fit word for word. Count, 0 to 100; 0 for none."`
	FollowUp  FollowUp `yaml:"follow_up"`
	Tokens    int      `yaml:"history_tokens" doc:"Most tokens of earlier turns given to the model, word for word or condensed. Count, 0 to 16000."`
	Threshold float64  `yaml:"evidence_threshold" doc:"Least probability that the sources hold the answer to go on with, 0 to 1; below it the assistant abstains. 0 means the one measured on the reference sets."`
	Limit     int      `yaml:"max_running" doc:"Turns that run at once in this process; more wait for their places, see limits.waiting. Count, 1 to 100000."`
	Computing int      `yaml:"max_computing" doc:"Turns that compute at once, rather than wait for something, while there is more to do than processors; it bounds nothing else. Count, 1 to 10000; 0 for twice the processors."`
}

// FollowUp says how follow-ups are made standalone.
type FollowUp struct {
	By    string `yaml:"by" oneof:"rules,model,auto" doc:"What makes a follow-up standalone: rules; a model, with rules where it fails; or auto, rules, and a model where there is one and they are not sure."`
	Model string `yaml:"model" doc:"The model to ask, a name from llm-gateway.yaml; empty for the default one."`
}

// remembered is how many earlier turns are read. Without history there is no memory.
func (c Config) remembered() int {
	if c.History == 0 {
		return 0
	}
	return max(c.History, c.Memory)
}

// Budget is how long a turn and its stages may take.
type Budget struct {
	Turn       time.Duration `yaml:"turn" doc:"The whole turn. Duration, 50ms to 10m."`
	Plan       time.Duration `yaml:"plan" doc:"Loading the session, and planning. Duration, 10ms to 10s."`
	Rewrite    time.Duration `yaml:"rewrite" doc:"Making a follow-up standalone with a model. Duration, 10ms to 30s."`
	Retrieve   time.Duration `yaml:"retrieve" doc:"The search. Duration, 10ms to 1m."`
	Tools      time.Duration `yaml:"tools" doc:"The tool calls, all at once. Duration, 10ms to 1m."`
	FirstToken time.Duration `yaml:"first_token" doc:"From asking the model to its first text. Duration, 10ms to 5m."`
	Idle       time.Duration `yaml:"idle" doc:"From one text of the model to the next. Duration, 10ms to 5m."`
	Save       time.Duration `yaml:"save" doc:"Writing the turn. Duration, 10ms to 10s."`
	Heartbeat  time.Duration `yaml:"heartbeat" doc:"Silence after which the client is told that the turn goes on. Duration, 10ms to 1m."`
}

// Defaults returns the contract's budgets.
func Defaults() Config {
	return Config{
		Budget: Budget{
			Turn: time.Minute, Plan: 500 * time.Millisecond, Rewrite: 3 * time.Second, Retrieve: 2 * time.Second, Tools: 5 * time.Second,
			FirstToken: 15 * time.Second, Idle: 20 * time.Second, Save: 500 * time.Millisecond, Heartbeat: 15 * time.Second,
		},
		TopK: 8, History: 6, Memory: 24, FollowUp: FollowUp{By: ByBoth}, Tokens: 1500, Limit: 512,
	}
}

// Validate says what is out of bounds.
func (c Config) Validate() error {
	var wrong []error
	duration := func(name string, d, least, most time.Duration) {
		if d < least || d > most {
			wrong = append(wrong, config.Invalid("budget."+name, "must be %s to %s, not %s", least, most, d))
		}
	}
	b := c.Budget
	duration("turn", b.Turn, 50*time.Millisecond, 10*time.Minute)
	duration("plan", b.Plan, 10*time.Millisecond, 10*time.Second)
	duration("rewrite", b.Rewrite, 10*time.Millisecond, 30*time.Second)
	duration("retrieve", b.Retrieve, 10*time.Millisecond, time.Minute)
	duration("tools", b.Tools, 10*time.Millisecond, time.Minute)
	duration("first_token", b.FirstToken, 10*time.Millisecond, 5*time.Minute)
	duration("idle", b.Idle, 10*time.Millisecond, 5*time.Minute)
	duration("save", b.Save, 10*time.Millisecond, 10*time.Second)
	duration("heartbeat", b.Heartbeat, 10*time.Millisecond, time.Minute)
	count := func(name string, n, least, most int) {
		if n < least || n > most {
			wrong = append(wrong, config.Invalid(name, "must be %d to %d, not %d", least, most, n))
		}
	}
	count("top_k", c.TopK, 0, 20)
	count("history_turns", c.History, 0, 20)
	count("memory_turns", c.Memory, 0, 100)
	if !slices.Contains([]string{ByRules, ByModel, ByBoth}, c.FollowUp.By) {
		wrong = append(wrong, config.Invalid("follow_up.by", "must be rules, model or auto, not %q", c.FollowUp.By))
	}
	count("history_tokens", c.Tokens, 0, 16_000)
	count("max_running", c.Limit, 1, 100_000)
	count("max_computing", c.Computing, 0, 10_000)
	if c.Threshold < 0 || c.Threshold > 1 {
		wrong = append(wrong, config.Invalid("evidence_threshold", "must be 0 to 1, not %g", c.Threshold))
	}
	return errors.Join(wrong...)
}

func (c Config) threshold() float64 {
	if c.Threshold == 0 {
		return evidence.Threshold
	}
	return c.Threshold
}

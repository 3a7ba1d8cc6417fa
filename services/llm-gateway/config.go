package llmgateway

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/prompt"
)

// Port is where llm-gateway serves calls when it is a process on a laptop.
const Port = 8083

// Config is llm-gateway's configuration.
type Config struct {
	process.Config `yaml:",inline" doc:"-"`
	DefaultModel   string              `yaml:"default_model" live:"true" doc:"Model for requests and prompts that name none. Empty for the model default, else extractive."`
	Models         map[string]Model    `yaml:"models" live:"true" doc:"Models by name; each is a route over targets."`
	Providers      map[string]Provider `yaml:"providers" live:"true" doc:"Providers by name. Those built in are always there: extractive, which answers, and local, which makes vectors and reranks."`
	Budget         Budget              `yaml:"budget" live:"true"`
	Limits         Limits              `yaml:"limits"`
	API            API                 `yaml:"api"`
	Keys           []Key               `yaml:"keys" live:"true" doc:"API keys with which other applications use OpenAI's HTTP API; without any, nobody can."`
	Breaker        Breaker             `yaml:"breaker" live:"true"`
	Account        Account             `yaml:"account" live:"true"`
	Cache          Cache               `yaml:"cache" live:"true"`

	DefaultEmbedding string               `yaml:"default_embedding" live:"true" doc:"Embedding model for requests that name none. Empty for the only one there is."`
	Embeddings       map[string]Embedding `yaml:"embeddings" live:"true" doc:"Embedding models by name."`
	DefaultReranker  string               `yaml:"default_reranker" live:"true" doc:"Rerank model for requests that name none. Empty for the only one there is."`
	Rerankers        map[string]Reranker  `yaml:"rerankers" live:"true" doc:"Rerank models by name."`
}

// Model is a route.
type Model struct {
	Targets           []Target `yaml:"targets" doc:"What is tried, in order, until one sends its first text. 1 to 8."`
	WithoutExtractive bool     `yaml:"without_extractive" doc:"Fail when every target fails, instead of answering with the extractive model."`
	Cache             string   `yaml:"cache" oneof:",off,on,read-only,refresh" doc:"Whether answers are kept for whoever asks exactly the same again, in the same workspace: on, read-only, refresh (made again and kept), or off, which is the default. Requests may say otherwise."`

	Begin time.Duration `yaml:"begin" doc:"Time in which an answer must have begun as long as there is a target left: waits, retries and all tries together. Of it, 3s are kept for each target below the one that is tried. Duration, up to 10m; 0 for the longest first_token of its targets and 3s more."`
}

// Target is a rung of a route.
type Target struct {
	Provider string `yaml:"provider" doc:"Name of a provider, or extractive."`
	Model    string `yaml:"model" doc:"The provider's own model name; none for extractive."`
	Price    Price  `yaml:"price" doc:"What its tokens cost, for the cost of turns and the metrics."`

	Weight     int           `yaml:"weight" doc:"Share of the requests for which it is the first target, beside the other targets with a weight; a session stays with its target. Targets without stand below all those with one. Count, up to 1000; 0 for none."`
	Retries    *int          `yaml:"retries" doc:"Tries after the first, before its first token. Count, 0 to 5; limits.retries when not given."`
	FirstToken time.Duration `yaml:"first_token" doc:"Time to its first token or sign of work. Duration, 10ms to 10m; 0 for limits.first_token."`
	Idle       time.Duration `yaml:"idle" doc:"Longest silence after that. Duration, 10ms to 10m; 0 for limits.idle."`
	Timeout    time.Duration `yaml:"timeout" doc:"Longest try, from its beginning to the end of the answer. Duration, 10ms to 1h; 0 for no bound but limits.timeout."`
}

// Price is what a target's tokens cost.
type Price struct {
	Prompt       float64 `yaml:"prompt" doc:"Prompts. Per million tokens, in one currency for all targets; 0 when not known."`
	CachedPrompt float64 `yaml:"cached_prompt" doc:"The part of prompts that the provider has in its own cache. Per million tokens, in the same currency; as other prompts when 0."`
	Completion   float64 `yaml:"completion" doc:"Answers. Per million tokens, in the same currency."`
}

// Budget bounds prompts and answers.
type Budget struct {
	Context int `yaml:"context" doc:"Sources of a prompt. Estimated tokens, 0 to 1000000."`
	History int `yaml:"history" doc:"Earlier messages of a prompt. Estimated tokens, 0 to 1000000."`
	Answer  int `yaml:"answer" doc:"Answers, where neither request nor prompt says it. Tokens, 1 to 32768."`
	Total   int `yaml:"total" doc:"Whole prompt, instructions and examples included. Estimated tokens, 256 to 1000000."`
}

// Limits bounds time and concurrency.
type Limits struct {
	FirstToken time.Duration `yaml:"first_token" live:"true" doc:"Time to a target's first token. Duration, 10ms to 10m."`
	Idle       time.Duration `yaml:"idle" live:"true" doc:"Longest silence of a target after that. Duration, 10ms to 10m."`
	Heartbeat  time.Duration `yaml:"heartbeat" live:"true" doc:"Longest silence of a stream to its caller. Duration, 10ms to 1m."`
	Timeout    time.Duration `yaml:"timeout" live:"true" doc:"Longest answer, waits and all tries together. Duration, 1s to 1h."`
	Retries    int           `yaml:"retries" live:"true" doc:"Tries of a target after the first, before its first token, when its provider fails or asks to come back in a time that is there. Count, 0 to 5."`
	Concurrent int           `yaml:"concurrent" live:"true" doc:"Answers under way; more wait in a line that workspaces and keys share fairly. Count, 1 to 10000."`
	Queue      int           `yaml:"queue" live:"true" doc:"Requests that wait, in that line and in each provider's own; more are refused as overloaded. Count, 0 to 10000."`
	QueueWait  time.Duration `yaml:"queue_wait" live:"true" doc:"Longest wait for a place in a line; after that, a provider's next target is asked. Duration, 10ms to 5m."`
	Vectors    int           `yaml:"vectors" doc:"Embedding and rerank calls under way; more are refused as overloaded. Count, 1 to 1000."`
	Vector     time.Duration `yaml:"vector_timeout" live:"true" doc:"Longest call to an embedding or rerank model. Duration, 10ms to 10m."`
}

// Defaults returns the configuration without any file: the extractive model only.
func Defaults() Config {
	return Config{
		Config: process.Defaults(Port),
		Models: map[string]Model{extractive.Name: {Targets: []Target{{Provider: extractive.Name}}}},
		API:    API{MaxBody: 8 << 20},
		Budget: Budget{Context: 6000, History: 1500, Answer: 1000, Total: 16_000},
		// A route begins within first_token and 3 s more, which is less than dialog waits for a first text, 15 s: a provider that
		// hangs leaves time for the rung below it.
		Limits: Limits{
			FirstToken: 10 * time.Second, Idle: 20 * time.Second, Heartbeat: 15 * time.Second, Timeout: 10 * time.Minute, Retries: 1,
			Concurrent: 256, Queue: 256, QueueWait: 5 * time.Second, Vectors: 32, Vector: 30 * time.Second,
		},
		Breaker: Breaker{Failures: 5, Of: 10, Rest: 15 * time.Second},
		Cache:   Cache{Age: time.Hour, Bytes: 256 << 10},
	}
}

// Reference writes the page of llm-gateway.yaml and of prompts.
func Reference(w io.Writer) error {
	if err := config.Reference(w, "llm-gateway", Defaults()); err != nil {
		return err
	}
	_, _ = io.WriteString(w, "\n")
	return config.ReferencePart(w, "prompts/*.yaml",
		"One prompt per file, of llm-gateway; its id is the file's name without the ending. `default` replaces the built-in one.", prompt.File{}, true)
}

// PromptSchema returns what a prompt's file may hold, as a JSON Schema.
func PromptSchema() map[string]any { return config.JSONSchema(prompt.File{}) }

// defaultModel is the model for requests that name none.
func (c Config) defaultModel() string {
	if c.DefaultModel != "" {
		return c.DefaultModel
	}
	if _, ok := c.Models["default"]; ok {
		return "default"
	}
	return extractive.Name
}

// Validate checks the values against their bounds and each other.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, key, format string, a ...any) {
		if !ok {
			errs = append(errs, config.Invalid(key, format, a...))
		}
	}
	names := strings.Join(slices.Sorted(maps.Keys(c.Models)), ", ")
	_, known := c.Models[c.defaultModel()]
	check(known, "default_model", "is no model: %q; there are %s", c.defaultModel(), names)
	c.validateRoutes(check)
	c.validateProviders(check)
	c.validateVectors(check)
	c.validateAccount(check)
	c.validateAPI(check)
	c.Budget.validate(check)
	c.Limits.validate(check)
	return errors.Join(errs...)
}

type checker func(ok bool, key, format string, a ...any)

func (b Budget) validate(check checker) {
	const most = 1_000_000
	check(b.Context >= 0 && b.Context <= most, "budget.context", "must be 0 to %d, not %d", most, b.Context)
	check(b.History >= 0 && b.History <= most, "budget.history", "must be 0 to %d, not %d", most, b.History)
	check(b.Answer >= 1 && b.Answer <= 32768, "budget.answer", "must be 1 to 32768, not %d", b.Answer)
	check(b.Total >= 256 && b.Total <= most, "budget.total", "must be 256 to %d, not %d", most, b.Total)
}

func (l Limits) validate(check checker) {
	between := func(d, most time.Duration, key string) {
		check(d >= 10*time.Millisecond && d <= most, key, "must be 10ms to %v, not %v", most, d)
	}
	between(l.FirstToken, 10*time.Minute, "limits.first_token")
	between(l.Idle, 10*time.Minute, "limits.idle")
	between(l.Heartbeat, time.Minute, "limits.heartbeat")
	between(l.Vector, 10*time.Minute, "limits.vector_timeout")
	check(l.Vectors >= 1 && l.Vectors <= 1000, "limits.vectors", "must be 1 to 1000, not %d", l.Vectors)
	check(l.Timeout >= time.Second && l.Timeout <= maxTimeout, "limits.timeout", "must be 1s to %v, not %v", maxTimeout, l.Timeout)
	check(l.Retries >= 0 && l.Retries <= maxRetries, "limits.retries", "must be 0 to %d, not %d", maxRetries, l.Retries)
	check(l.Queue >= 0 && l.Queue <= 10_000, "limits.queue", "must be 0 to 10000, not %d", l.Queue)
	between(l.QueueWait, 5*time.Minute, "limits.queue_wait")
	check(l.Concurrent >= 1 && l.Concurrent <= 10_000, "limits.concurrent", "must be 1 to 10000, not %d", l.Concurrent)
}

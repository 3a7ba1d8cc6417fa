// Package provider says what a model's provider does for the routes: it answers one request as a stream of pieces. Adapters
// live in packages of their own and turn a provider's failures into faults; package route decides what happens next.
package provider

import (
	"context"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

// Request asks a provider for one answer.
type Request struct {
	// Ask is the question as structure, with the sources that fit the budget. The built-in model reads it.
	Ask ask.Request
	// Messages is the rendered prompt. Chat models read it.
	Messages []ask.Message
	// Model is the provider's own model name.
	Model string
	// MaxTokens bounds the answer.
	MaxTokens int
	// Temperature and TopP are nil when the provider's default applies.
	Temperature, TopP *float64
	// Stop are texts that the answer ends before.
	Stop []string
}

// Piece is a part of an answer. One without text says that the model is at work, as when it reasons.
type Piece struct{ Text string }

// Finish is why a model stopped.
type Finish uint8

// The ends of an answer.
const (
	// Stop is a whole answer.
	Stop Finish = iota + 1
	// Length is one that the token limit cut.
	Length
	// Filtered is one that the provider's content filter cut.
	Filtered
	// Abstained is one that says the sources hold none.
	Abstained
)

// String returns the name metrics and traces use.
func (f Finish) String() string {
	switch f {
	case Length:
		return "length"
	case Filtered:
		return "content_filter"
	case Abstained:
		return "abstained"
	default:
		return "stop"
	}
}

// Usage counts tokens.
type Usage struct {
	Prompt, Completion int
	// Estimated says that the provider reported nothing and the numbers are ours.
	Estimated bool
	// CostMicros is what they cost, in millionths of the currency of the configured prices. Providers leave it to the route.
	CostMicros uint64
}

// Estimate is the usage of an answer whose provider reports none.
func Estimate(messages []ask.Message, answer string) Usage {
	u := Usage{Completion: text.EstimateTokens(answer), Estimated: true}
	for _, m := range messages {
		u.Prompt += text.EstimateTokens(m.Content)
	}
	return u
}

// Result is how an answer ended.
type Result struct {
	Finish Finish
	Usage  Usage
}

// Provider answers requests. Generate calls emit for each piece, in order and from one goroutine, and returns emit's error
// when it has one. Its other errors are *fault.Error, or the context's. It returns soon after ctx ends, and nothing it
// started outlives it.
type Provider interface {
	Generate(ctx context.Context, r Request, emit func(Piece) error) (Result, error)
}

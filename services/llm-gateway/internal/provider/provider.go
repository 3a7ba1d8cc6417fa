// Package provider says what a model's provider does for the routes: it answers one request as a stream of pieces. Adapters
// live in packages of their own and turn a provider's failures into faults; package route decides what happens next.
package provider

import (
	"context"
	"encoding/json"

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
	// Tools are the application's functions that the model may call; usually none. A provider that has no tools refuses them.
	Tools []Tool
	// Choice is auto, none, required, or the name of the one tool to call; empty for auto.
	Choice string
	// Schema is what the whole answer must be, as a JSON Schema; nil for text.
	Schema *Schema
}

// Tool is a function of the application's that a model may call.
type Tool struct {
	Name, Description string
	// Parameters is a JSON Schema of an object.
	Parameters json.RawMessage
}

// The choices that are no tool's name.
const (
	ChoiceAuto     = "auto"
	ChoiceNone     = "none"
	ChoiceRequired = "required"
)

// Schema says what JSON an answer must be.
type Schema struct {
	Name   string
	JSON   json.RawMessage
	Strict bool
	// Check says what is wrong with an answer; nil where the caller sees for himself.
	Check func(answer string) error
}

// Piece is a part of an answer: text, or a part of a call. One without either says that the model is at work, as when it
// reasons.
type Piece struct {
	Text string
	// Call is nil for text.
	Call *CallPart
}

// CallPart is a part of a call of a tool. The first part of a call has its ID and name; the arguments of all parts together
// are JSON.
type CallPart struct {
	// Index counts the calls of an answer from 0.
	Index               int
	ID, Name, Arguments string
}

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
	// Called is one that ends in calls of tools.
	Called
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
	case Called:
		return "tool_calls"
	default:
		return "stop"
	}
}

// Ended says whether an outcome, as metrics name it, is an answer's end and no failure.
func Ended(outcome string) bool {
	for f := Stop; f <= Called; f++ {
		if f.String() == outcome {
			return true
		}
	}
	return false
}

// Usage counts tokens.
type Usage struct {
	Prompt, Completion int
	// Cached are those of the prompt that the provider had in its own cache.
	Cached int
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

// Result is how an answer ended. One that comes with an error has the usage so far, where that is known.
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

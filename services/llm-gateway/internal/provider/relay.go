package provider

import "context"

// Relayer is a provider that speaks OpenAI's own format, so that requests and answers in it are handed on as they are. Of the
// answer it reads what the routes and the ledger need to know, and nothing else.
type Relayer interface {
	// Relay asks for one answer. Errors and Results are as Generate's; an answer that did not come to its end is an error.
	Relay(ctx context.Context, r RelayRequest, to RelaySink) (Result, error)
}

// RelayRequest is a chat completion request in OpenAI's format.
type RelayRequest struct {
	// Model is the provider's own name of it.
	Model string
	// Body writes the request in the provider's terms. Nobody changes what it returns.
	Body func(w Wire) []byte
	// Stream says that Body asks for events.
	Stream bool
	// WithUsage says that the caller wants the event that holds the usage, for which Body asks in any case.
	WithUsage bool
	// Tools and Schema say that Body holds tools, or asks for an answer that keeps to a JSON Schema: a provider that has no such thing
	// refuses it before it is sent.
	Tools, Schema bool
	// Prompt is how many tokens it has as far as we can tell, for a provider that does not say.
	Prompt int
}

// Wire is how one provider wants a request.
type Wire struct {
	// LegacyMaxTokens is for servers that know max_tokens only.
	LegacyMaxTokens bool
	// PlainCalls is for servers that know nothing of tools: what was called earlier in the conversation, and what came of it, is text.
	PlainCalls bool
}

// RelaySink takes an answer as it comes. An error ends it.
type RelaySink interface {
	// Alive is called when the provider has shown a sign of life that is not for the caller.
	Alive()
	// Data takes whole events of a stream, or the whole answer. It must not keep p.
	Data(p []byte, about Part) error
}

// Part says what some of an answer's bytes hold.
type Part struct {
	// Seen says that there is something of the answer in them: text, reasoning, calls.
	Seen bool
	// Last says that nothing follows.
	Last bool
}

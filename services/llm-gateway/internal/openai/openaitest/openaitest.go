// Package openaitest is a server that speaks OpenAI's streaming chat completions as real ones do on the wire, and fails as
// they fail. For tests only.
package openaitest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/providertest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

type (
	// Step is a part of what the server does with a request.
	Step = wiretest.Step
	// Server answers every request with its steps.
	Server = wiretest.Server
	// Request is what the server was asked.
	Request = wiretest.Request
)

// Serve starts a server that ends with the test. Its URL is the base address, with /v1.
func Serve(tb testing.TB, steps ...Step) *Server {
	tb.Helper()
	s := wiretest.Serve(tb, "/v1/chat/completions", "text/event-stream", steps...)
	s.URL += "/v1"
	return s
}

// Format is OpenAI's wire, for the conformance suite.
func Format() providertest.Format {
	return providertest.Format{
		ContentType: "text/event-stream",
		Open:        func(*provider.Usage) string { return Delta(`"role":"assistant","content":"","refusal":null`) },
		Idle:        ": keep-alive\n\n" + Delta(`"content":""`),
		Text:        func(s string) string { return Delta(`"content":` + quote(s)) },
		Reasoning: func(s string) []string {
			return []string{Delta(`"reasoning_content":` + quote(s)), Delta(`"reasoning":` + quote(s))}
		},
		Calls: calls,
		End: func(f provider.Finish, u *provider.Usage) string {
			end := event(`"choices":[{"index":0,"delta":{},"finish_reason":"` + f.String() + `"}],"usage":null`)
			if u != nil {
				end += counts(u.Prompt, u.Completion, u.Cached)
			}
			return end
		},
		Terminator: done,
		Error:      "data: {\"error\":{\"message\":\"engine down\",\"type\":\"server_error\",\"code\":null}}\n\n" + done,
		RateLimit:  "event: error\ndata: {\"message\":\"slow down\",\"type\":\"rate_limit_error\"}\n\n",
		Malformed:  "data: {\"choices\":[{\"delta\":{\"content\":\"ta\n\n" + done,
		HugeLine:   "data: " + strings.Repeat("x", 2<<20),
		PlainError: `{"error":"model not loaded"}`,
		Refusal: func(words string) string {
			return `{"error":{"message":` + quote(words) + `,"type":"invalid_request_error","param":null,"code":"some_code"}}`
		},
		TooLong: `{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`,
	}
}

// calls are two parallel calls as OpenAI sends them: the name first, then the arguments bit by bit, call after call.
func calls(c []providertest.Call) []string {
	var out []string
	for i, c := range c {
		out = append(out, Delta(fmt.Sprintf(`"tool_calls":[{"index":%d,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]`, i, quote(c.ID), quote(c.Name))))
		for _, part := range c.Parts {
			out = append(out, Delta(fmt.Sprintf(`"tool_calls":[{"index":%d,"function":{"arguments":%s}}]`, i, quote(part))))
		}
	}
	return out
}

const done = "data: [DONE]\n\n"

func event(fields string) string {
	return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",` + fields + "}\n\n"
}

// Delta is the event of one delta.
func Delta(fields string) string {
	return event(`"choices":[{"index":0,"delta":{` + fields + `},"logprobs":null,"finish_reason":null}],"usage":null`)
}

func counts(prompt, completion, cached int) string {
	return event(fmt.Sprintf(`"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}`,
		prompt, completion, prompt+completion, cached))
}

// Raw sends bytes as they are.
func Raw(s string) Step { return wiretest.Raw(s) }

// Open sends the event every stream begins with: a role and no text.
func Open() Step { return Raw(Format().Open(nil)) }

// Text sends text as one token.
func Text(s string) Step { return wiretest.Token(Delta(`"content":` + quote(s))) }

// Finish sends the event with the finish reason.
func Finish(reason string) Step {
	return Raw(event(`"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}],"usage":null`))
}

// Usage sends the event with the token counts.
func Usage(prompt, completion int) Step { return Raw(counts(prompt, completion, 0)) }

// Done sends the end of the stream.
func Done() Step { return Raw(done) }

// Stall sends nothing more until the client goes away.
func Stall() Step { return wiretest.Stall() }

// Endless sends tokens, as fast as the client reads, until it goes away.
func Endless(s string) Step { return wiretest.Endless(Delta(`"content":` + quote(s))) }

// Cut breaks the connection.
func Cut() Step { return wiretest.Cut() }

// Status answers with a status and a body instead of a stream.
func Status(code int, header map[string]string, body string) Step {
	return wiretest.Status(code, header, body)
}

func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return strings.ToValidUTF8(s, "?")
	}
	return string(raw)
}

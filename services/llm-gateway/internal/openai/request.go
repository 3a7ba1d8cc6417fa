package openai

import (
	"encoding/json"
	"fmt"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

type request struct {
	Model               string         `json:"model"`
	Messages            []message      `json:"messages"`
	Stream              bool           `json:"stream"`
	StreamOptions       streamOptions  `json:"stream_options"`
	MaxTokens           int            `json:"max_tokens,omitempty"`
	MaxCompletionTokens int            `json:"max_completion_tokens,omitempty"`
	Temperature         *float64       `json:"temperature,omitempty"`
	TopP                *float64       `json:"top_p,omitempty"`
	Stop                []string       `json:"stop,omitempty"`
	Tools               []tool         `json:"tools,omitempty"`
	ToolChoice          any            `json:"tool_choice,omitempty"`
	ResponseFormat      *answersFormat `json:"response_format,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type message struct {
	Role       ask.Role `json:"role"`
	Content    *string  `json:"content"` // null beside calls alone
	ToolCalls  []called `json:"tool_calls,omitempty"`
	ToolCallID string   `json:"tool_call_id,omitempty"`
}

type called struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type function struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type tool struct {
	Type     string     `json:"type"`
	Function definition `json:"function"`
}

type definition struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
}

type answersFormat struct {
	Type       string     `json:"type"`
	JSONSchema jsonSchema `json:"json_schema"`
}

type jsonSchema struct {
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"schema"`
	Strict bool            `json:"strict"`
}

// maxStop is how many stop texts OpenAI takes. Package provider looks for all of them.
const maxStop = 4

// able refuses what the server is declared to ignore.
func (p *Provider) able(model string, tools, schema bool) error {
	switch {
	case tools && p.cfg.WithoutTools:
		return exchange.Cannot("the provider of model %s has no tools (without_tools)", model)
	case schema && p.cfg.WithoutSchema:
		return exchange.Cannot("the provider of model %s can't keep to a JSON Schema (without_schema)", model)
	}
	return nil
}

// request is what is sent for r.
func (p *Provider) request(r provider.Request) ([]byte, error) {
	if err := p.able(r.Model, len(r.Tools) > 0, r.Schema != nil); err != nil {
		return nil, err
	}
	said := r.Messages
	if p.cfg.WithoutTools {
		said = ask.Plain(said)
	}
	out := request{
		Model: r.Model, Messages: messages(said), Stream: true, StreamOptions: streamOptions{IncludeUsage: true},
		Temperature: r.Temperature, TopP: r.TopP, Stop: r.Stop[:min(len(r.Stop), maxStop)],
	}
	if p.cfg.LegacyMaxTokens {
		out.MaxTokens = r.MaxTokens
	} else {
		out.MaxCompletionTokens = r.MaxTokens
	}
	for _, t := range r.Tools {
		out.Tools = append(out.Tools, tool{Type: "function", Function: definition(t)})
	}
	if len(r.Tools) > 0 {
		out.ToolChoice = choice(r.Choice)
	}
	if s := r.Schema; s != nil {
		name := s.Name
		if name == "" {
			name = "answer" // it must have one
		}
		out.ResponseFormat = &answersFormat{Type: "json_schema", JSONSchema: jsonSchema{Name: name, Schema: s.JSON, Strict: s.Strict}}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return body, nil
}

// choice is the wire's form of a choice; nil for auto.
func choice(c string) any {
	switch c {
	case "", provider.ChoiceAuto:
		return nil
	case provider.ChoiceNone, provider.ChoiceRequired:
		return c
	default:
		return map[string]any{"type": "function", "function": map[string]string{"name": c}}
	}
}

func messages(in []ask.Message) []message {
	out := make([]message, len(in))
	for i, m := range in {
		out[i] = message{Role: m.Role, ToolCallID: m.CallID}
		if m.Content != "" || len(m.Calls) == 0 {
			out[i].Content = &in[i].Content
		}
		for _, c := range m.Calls {
			out[i].ToolCalls = append(out[i].ToolCalls, called{ID: c.ID, Type: "function", Function: function{Name: c.Name, Arguments: c.Arguments}})
		}
	}
	return out
}

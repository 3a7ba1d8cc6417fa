package ollama

import (
	"encoding/json"
	"fmt"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

type request struct {
	Model    string          `json:"model"`
	Messages []message       `json:"messages"`
	Stream   bool            `json:"stream"`
	Tools    []tool          `json:"tools,omitempty"`
	Format   json.RawMessage `json:"format,omitempty"`
	Options  options         `json:"options"`
}

type message struct {
	Role      ask.Role `json:"role"`
	Content   string   `json:"content"`
	ToolCalls []called `json:"tool_calls,omitempty"`
	ToolName  string   `json:"tool_name,omitempty"`
	CallID    string   `json:"tool_call_id,omitempty"`
}

type called struct {
	ID       string   `json:"id,omitempty"`
	Function function `json:"function"`
}

type function struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
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

type options struct {
	Context     int      `json:"num_ctx,omitempty"`
	MaxTokens   int      `json:"num_predict,omitempty"`
	Temperature *float64 `json:"temperature,omitempty"`
	TopP        *float64 `json:"top_p,omitempty"`
	Stop        []string `json:"stop,omitempty"`
}

// encode is what is sent for r.
func (p *Provider) encode(r provider.Request) ([]byte, error) {
	out := request{
		Model: r.Model, Messages: messages(r.Messages), Stream: true,
		Options: options{Context: p.cfg.Context, MaxTokens: r.MaxTokens, Temperature: r.Temperature, TopP: r.TopP, Stop: r.Stop},
	}
	switch r.Choice {
	case "", provider.ChoiceAuto:
		for _, t := range r.Tools {
			out.Tools = append(out.Tools, tool{Type: "function", Function: definition(t)})
		}
	case provider.ChoiceNone: // it can't call what it does not know
	default:
		if len(r.Tools) > 0 {
			return nil, exchange.Cannot("Ollama can't be made to call a tool: it knows no tool choice but auto and none")
		}
	}
	if r.Schema != nil {
		out.Format = r.Schema.JSON
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return body, nil
}

// messages names the tool of each result, which Ollama asks for beside the call's id.
func messages(in []ask.Message) []message {
	names := make(map[string]string)
	out := make([]message, len(in))
	for i, m := range in {
		out[i] = message{Role: m.Role, Content: m.Content, CallID: m.CallID}
		if m.CallID != "" {
			out[i].ToolName = names[m.CallID]
		}
		for _, c := range m.Calls {
			names[c.ID] = c.Name
			out[i].ToolCalls = append(out[i].ToolCalls, called{ID: c.ID, Function: function{Name: c.Name, Arguments: exchange.Object(c.Arguments, "")}})
		}
	}
	return out
}

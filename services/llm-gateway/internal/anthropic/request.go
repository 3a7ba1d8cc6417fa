package anthropic

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

type request struct {
	Model         string        `json:"model"`
	MaxTokens     int           `json:"max_tokens"`
	System        string        `json:"system,omitempty"`
	Messages      []message     `json:"messages"`
	Stream        bool          `json:"stream"`
	Temperature   *float64      `json:"temperature,omitempty"`
	TopP          *float64      `json:"top_p,omitempty"`
	StopSequences []string      `json:"stop_sequences,omitempty"`
	Tools         []tool        `json:"tools,omitempty"`
	ToolChoice    *toolChoice   `json:"tool_choice,omitempty"`
	OutputConfig  *outputConfig `json:"output_config,omitempty"`
}

type message struct {
	Role    string  `json:"role"`
	Content []block `json:"content"`
}

type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
	ToolUseID string          `json:"tool_use_id,omitempty"`
	Content   string          `json:"content,omitempty"`
}

type tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
}

type toolChoice struct {
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
}

type outputConfig struct {
	Format outputFormat `json:"format"`
}

type outputFormat struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

// defaultMaxTokens is for requests that set no bound, which this API insists on.
const defaultMaxTokens = 4096

// encode is what is sent for r.
func encode(r provider.Request) ([]byte, error) {
	out := request{
		Model: r.Model, MaxTokens: r.MaxTokens, Stream: true, Temperature: r.Temperature, TopP: r.TopP,
	}
	if out.MaxTokens == 0 {
		out.MaxTokens = defaultMaxTokens
	}
	for _, s := range r.Stop {
		if strings.TrimSpace(s) != "" { // others are refused; package provider looks for all of them
			out.StopSequences = append(out.StopSequences, s)
		}
	}
	out.System, out.Messages = messages(r.Messages)
	for _, t := range r.Tools {
		schema := t.Parameters
		if len(schema) == 0 {
			schema = json.RawMessage(`{"type":"object"}`)
		}
		out.Tools = append(out.Tools, tool{Name: t.Name, Description: t.Description, InputSchema: schema})
	}
	if len(r.Tools) > 0 {
		out.ToolChoice = choice(r.Choice)
	}
	if r.Schema != nil {
		out.OutputConfig = &outputConfig{Format: outputFormat{Type: "json_schema", Schema: r.Schema.JSON}}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return body, nil
}

func choice(c string) *toolChoice {
	switch c {
	case "", provider.ChoiceAuto:
		return nil
	case provider.ChoiceNone:
		return &toolChoice{Type: "none"}
	case provider.ChoiceRequired:
		return &toolChoice{Type: "any"}
	default:
		return &toolChoice{Type: "tool", Name: c}
	}
}

// messages splits off the system's words, and puts together what one side says in a row: the results of parallel calls must be
// one message. Blocks without text are refused.
func messages(in []ask.Message) (system string, out []message) {
	var instructions []string
	for _, m := range in {
		if m.Role == ask.System {
			instructions = append(instructions, m.Content)
			continue
		}
		role, blocks := "user", blocks(m)
		if m.Role == ask.Assistant {
			role = "assistant"
		}
		switch last := len(out) - 1; {
		case len(blocks) == 0:
		case last >= 0 && out[last].Role == role:
			out[last].Content = append(out[last].Content, blocks...)
		default:
			out = append(out, message{Role: role, Content: blocks})
		}
	}
	return strings.Join(instructions, "\n\n"), out
}

func blocks(m ask.Message) []block {
	var out []block
	switch {
	case m.Role == ask.ToolResult:
		return []block{{Type: "tool_result", ToolUseID: m.CallID, Content: m.Content}}
	case strings.TrimSpace(m.Content) != "":
		out = append(out, block{Type: "text", Text: m.Content})
	}
	for _, c := range m.Calls {
		out = append(out, block{Type: "tool_use", ID: c.ID, Name: c.Name, Input: exchange.Object(c.Arguments, "")})
	}
	return out
}

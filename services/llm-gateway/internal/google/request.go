package google

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

type request struct {
	System     *content    `json:"systemInstruction,omitempty"`
	Contents   []content   `json:"contents"`
	Tools      []tools     `json:"tools,omitempty"`
	ToolConfig *toolConfig `json:"toolConfig,omitempty"`
	Generation generation  `json:"generationConfig"`
}

type content struct {
	Role  string `json:"role,omitempty"`
	Parts []part `json:"parts"`
}

type part struct {
	Text      *string   `json:"text,omitempty"`
	Call      *call     `json:"functionCall,omitempty"`
	Response  *response `json:"functionResponse,omitempty"`
	Signature string    `json:"thoughtSignature,omitempty"`
}

type call struct {
	ID   string          `json:"id,omitempty"`
	Name string          `json:"name"`
	Args json.RawMessage `json:"args,omitempty"`
}

type response struct {
	ID       string          `json:"id,omitempty"`
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
}

type tools struct {
	Declarations []declaration `json:"functionDeclarations"`
}

type declaration struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parametersJsonSchema,omitempty"`
}

type toolConfig struct {
	Calling calling `json:"functionCallingConfig"`
}

type calling struct {
	Mode    string   `json:"mode"`
	Allowed []string `json:"allowedFunctionNames,omitempty"`
}

type generation struct {
	MaxTokens   int             `json:"maxOutputTokens,omitempty"`
	Temperature *float64        `json:"temperature,omitempty"`
	TopP        *float64        `json:"topP,omitempty"`
	Stop        []string        `json:"stopSequences,omitempty"`
	MIMEType    string          `json:"responseMimeType,omitempty"`
	Schema      json.RawMessage `json:"responseJsonSchema,omitempty"`
}

// maxStop is how many stop texts Google takes. Package provider looks for all of them.
const maxStop = 5

// encode is what is sent for r.
func encode(r provider.Request) ([]byte, error) {
	out := request{Generation: generation{
		MaxTokens: r.MaxTokens, Temperature: r.Temperature, TopP: r.TopP, Stop: r.Stop[:min(len(r.Stop), maxStop)],
	}}
	out.System, out.Contents = contents(r)
	if len(r.Tools) > 0 {
		var all tools
		for _, t := range r.Tools {
			all.Declarations = append(all.Declarations, declaration(t))
		}
		out.Tools, out.ToolConfig = []tools{all}, choice(r.Choice)
	}
	if r.Schema != nil {
		out.Generation.MIMEType, out.Generation.Schema = "application/json", r.Schema.JSON
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return body, nil
}

func choice(c string) *toolConfig {
	switch c {
	case "", provider.ChoiceAuto:
		return nil
	case provider.ChoiceNone:
		return &toolConfig{Calling: calling{Mode: "NONE"}}
	case provider.ChoiceRequired:
		return &toolConfig{Calling: calling{Mode: "ANY"}}
	default:
		return &toolConfig{Calling: calling{Mode: "ANY", Allowed: []string{c}}}
	}
}

// contents splits off the system's words, and puts together what one side says in a row.
func contents(r provider.Request) (system *content, out []content) {
	names := make(map[string]string) // of calls
	for i, m := range r.Messages {
		if m.Role == ask.System {
			if system == nil {
				system = &content{}
			}
			system.Parts = append(system.Parts, part{Text: &r.Messages[i].Content})
			continue
		}
		role := "user"
		if m.Role == ask.Assistant {
			role = "model"
		}
		parts := partsOf(&r.Messages[i], names, unsigned(r.Model))
		if last := len(out) - 1; last >= 0 && out[last].Role == role {
			out[last].Parts = append(out[last].Parts, parts...)
		} else {
			out = append(out, content{Role: role, Parts: parts})
		}
	}
	return system, out
}

func partsOf(m *ask.Message, names map[string]string, signature string) []part {
	if m.Role == ask.ToolResult {
		return []part{{Response: &response{ID: m.CallID, Name: names[m.CallID], Response: exchange.Object(m.Content, "result")}}}
	}
	var out []part
	if m.Content != "" || len(m.Calls) == 0 {
		out = append(out, part{Text: &m.Content})
	}
	for i, c := range m.Calls {
		names[c.ID] = c.Name
		p := part{Call: &call{ID: c.ID, Name: c.Name, Args: exchange.Object(c.Arguments, "")}}
		if i == 0 {
			p.Signature = signature
		}
		out = append(out, p)
	}
	return out
}

// unsigned is what stands for the signature of the thoughts before a call: models from Gemini 3 on refuse calls without one,
// and histories in the gateway's terms, which may be another provider's, have none.
func unsigned(model string) string {
	model = strings.TrimPrefix(model, "models/")
	if strings.HasPrefix(model, "gemini-1") || strings.HasPrefix(model, "gemini-2") || !strings.HasPrefix(model, "gemini-") {
		return ""
	}
	return "skip_thought_signature_validator"
}

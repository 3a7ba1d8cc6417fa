package api

import (
	"encoding/json"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/scan"
)

// called is a message that has to do with calls of tools, in today's form or in that of functions before it.
type called struct {
	Role         string      `json:"role"`
	Name         string      `json:"name"`
	Content      contentText `json:"content"`
	ToolCallID   string      `json:"tool_call_id"`
	ToolCalls    []toolCall  `json:"tool_calls"`
	FunctionCall *function   `json:"function_call"`
}

// plain returns the messages with calls of tools and their results as text, see [ask.Plain]; every other message as it came. One that
// can't be read stays as it is: whoever is asked says what is wrong with it.
func (c *chat) plain() string {
	v := c.at.messages.Of(c.body)
	out := make([]byte, 0, len(v)+256)
	put := func(message []byte) {
		if len(out) > 0 {
			out = append(out, ',')
		}
		out = append(out, message...)
	}
	names := map[string]string{}
	results := "" // that follow each other
	tell := func() {
		if results != "" {
			put(said("user", results))
		}
		results = ""
	}
	_ = scan.Array(v, func(at scan.Span) error { // it was read before
		raw := at.Of(v)
		m, ok := calledIn(raw)
		if !ok {
			tell()
			put(raw)
			return nil
		}
		calls := m.calls()
		for _, call := range calls {
			names[call.ID] = call.Name
		}
		if m.Role != "tool" && m.Role != "function" {
			tell()
			put(said(m.Role, ask.PlainCalls(string(m.Content), calls)))
			return nil
		}
		name := m.Name
		if name == "" {
			name = names[m.ToolCallID]
		}
		if results != "" {
			results += "\n\n"
		}
		results += ask.PlainResult(name, m.ToolCallID, string(m.Content))
		return nil
	})
	tell()
	return "[" + string(out) + "]"
}

// calledIn reads a message that has to do with calls.
func calledIn(raw []byte) (m called, ok bool) {
	ok = aboutCalls(raw) && json.Unmarshal(raw, &m) == nil
	return m, ok
}

// calls are those of a message.
func (m called) calls() []ask.Call {
	var out []ask.Call
	for _, c := range m.ToolCalls {
		out = append(out, ask.Call{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
	}
	if f := m.FunctionCall; f != nil {
		out = append(out, ask.Call{Name: f.Name, Arguments: f.Arguments})
	}
	return out
}

// said is a message of text alone.
func said(role, content string) []byte {
	out, _ := json.Marshal(struct { // texts marshal
		Role    string `json:"role"`
		Content string `json:"content"`
	}{role, content})
	return out
}

// aboutCalls says whether a message, an object, has calls of tools or is a result of one.
func aboutCalls(message []byte) bool {
	found := false
	_ = scan.Object(message, func(key []byte, _, value scan.Span) error { // it was read before
		found = found || memberAboutCalls(string(key), value.Of(message))
		return nil
	})
	return found
}

func memberAboutCalls(key string, value []byte) bool {
	switch key {
	case "role":
		role, _ := scan.Text(value)
		return role == "tool" || role == "function"
	case "tool_calls", "function_call":
		return !scan.Null(value)
	}
	return false
}

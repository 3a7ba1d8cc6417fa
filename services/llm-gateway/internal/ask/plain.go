package ask

import "strings"

// Plain is a conversation for a model that knows nothing of tools: what the assistant called before, and what that returned, as
// text. A result is told by the user, results that follow each other in one message, so that the two still take turns.
func Plain(in []Message) []Message {
	out := make([]Message, 0, len(in))
	names := map[string]string{} // of tools, by call
	result := false              // was the last one
	for _, m := range in {
		for _, c := range m.Calls {
			names[c.ID] = c.Name
		}
		if m.Role != ToolResult {
			out = append(out, Message{Role: m.Role, Content: PlainCalls(m.Content, m.Calls)})
			result = false
			continue
		}
		text := PlainResult(names[m.CallID], m.CallID, m.Content)
		if result {
			last := &out[len(out)-1]
			last.Content += "\n\n" + text
		} else {
			out = append(out, Message{Role: User, Content: text})
		}
		result = true
	}
	return out
}

// PlainCalls is what the assistant said, with its calls as text.
func PlainCalls(content string, calls []Call) string {
	var b strings.Builder
	b.WriteString(content)
	for _, c := range calls {
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString("[called " + named(c.Name, c.ID) + " with " + c.Arguments + "]")
	}
	return b.String()
}

// PlainResult is what a tool returned, as text.
func PlainResult(name, call, content string) string {
	return "[" + named(name, call) + " returned]\n" + content
}

// named tells calls of one tool apart.
func named(name, call string) string {
	switch {
	case name == "":
		return "call " + call
	case call == "":
		return name
	}
	return name + " (" + call + ")"
}

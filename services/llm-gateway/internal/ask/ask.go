// Package ask holds what is asked of a model: a question, the conversation before it, and the numbered sources an answer may
// cite. Plain values that prompts, providers and routes share; it imports nothing but the language rules.
package ask

import (
	"strings"

	"github.com/ragmesh/ragmesh/libs/text"
)

// Role is who said a message.
type Role string

// The roles.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
	// ToolResult is what a tool that the assistant called returned.
	ToolResult Role = "tool"
)

// Message is one message of a conversation.
type Message struct {
	Role    Role
	Content string
	// Calls are the tools that the assistant calls in it.
	Calls []Call
	// CallID is the call that a tool's result answers.
	CallID string
}

// Call is an assistant's wish that a tool of the application be called.
type Call struct {
	// ID is the provider's, or made where it gives none; unique in a conversation.
	ID   string
	Name string
	// Arguments are JSON.
	Arguments string
}

// Tool is where a source that is a tool's result comes from.
type Tool struct {
	// Name is the tool's.
	Name string
	// Failure says in one sentence why the call failed; empty when it succeeded.
	Failure string
}

// Source is something an answer may cite as [Number].
type Source struct {
	Number int
	// ID is stable: a chunk's or a call's.
	ID string
	// Document and Offset say where a passage stands: sources of one document are told in the order of their offsets.
	Document string
	Offset   int
	// Title and Headings say where a passage stands.
	Title    string
	Headings []string
	// Text is the passage, or the tool's result.
	Text string
	// Score is the retriever's, comparable within one request only.
	Score float64
	// Tool is nil for a passage.
	Tool *Tool
}

// Request is what is asked.
type Request struct {
	// Workspace is on whose behalf.
	Workspace string
	Question  string
	// History is the conversation before the question, oldest first.
	History []Message
	// Sources stand best first.
	Sources []Source
	// Language to answer in: "en", "zh", or empty for the question's.
	Language string
	// Instructions are the calling application's, about the answer's form; usually none.
	Instructions string
	// Variables are values for those that the prompt template declares, by name.
	Variables map[string]string
}

// Languages an answer can be written in.
const (
	English = "en"
	Chinese = "zh"
)

// AnswerLanguage is the language to answer in: the one asked for, else the question's. A question that mixes languages or
// has no letters counts as Chinese when it has Chinese in it.
func (r Request) AnswerLanguage() string {
	if r.Language == English || r.Language == Chinese {
		return r.Language
	}
	switch text.Language(r.Question) {
	case text.Chinese, text.Mixed:
		return Chinese
	case text.English:
		return English
	}
	for i := len(r.History) - 1; i >= 0; i-- { // "1 + 1?": as the conversation went so far
		if r.History[i].Role == User && strings.TrimSpace(r.History[i].Content) != "" {
			return Request{Question: r.History[i].Content}.AnswerLanguage()
		}
	}
	return English
}

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// conversation is what is translated of a chat completion request for a provider with a format of its own.
type conversation struct {
	Messages []struct {
		Role       string      `json:"role"`
		Content    contentText `json:"content"`
		ToolCallID string      `json:"tool_call_id"`
		ToolCalls  []toolCall  `json:"tool_calls"`
	} `json:"messages"`
	Temperature *float64    `json:"temperature"`
	TopP        *float64    `json:"top_p"`
	Stop        stopTexts   `json:"stop"`
	Tools       []tool      `json:"tools"`
	ToolChoice  toolChoice  `json:"tool_choice"`
	Format      *respFormat `json:"response_format"`
}

type toolCall struct {
	Index    *int     `json:"index,omitempty"` // of events only
	ID       string   `json:"id,omitempty"`
	Type     string   `json:"type,omitempty"`
	Function function `json:"function"`
}

type function struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type tool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
	} `json:"function"`
}

type respFormat struct {
	Type       string `json:"type"`
	JSONSchema struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"schema"`
		Strict bool            `json:"strict"`
	} `json:"json_schema"`
}

// contentText is a content's text: a text, or parts that are texts. Others were refused before.
type contentText string

// UnmarshalJSON implements [json.Unmarshaler].
func (c *contentText) UnmarshalJSON(data []byte) error {
	if data[0] != '[' {
		return json.Unmarshal(data, (*string)(c)) // null is the empty text
	}
	var parts []struct{ Text, Refusal string }
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	var all strings.Builder
	for _, p := range parts {
		all.WriteString(p.Text + p.Refusal)
	}
	*c = contentText(all.String())
	return nil
}

// stopTexts is a text or a list of texts.
type stopTexts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (s *stopTexts) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		return json.Unmarshal(data, (*[]string)(s))
	}
	*s = make(stopTexts, 1)
	return json.Unmarshal(data, &(*s)[0])
}

// toolChoice is auto, none, required, or the name of a tool.
type toolChoice string

// UnmarshalJSON implements [json.Unmarshaler].
func (c *toolChoice) UnmarshalJSON(data []byte) error {
	if data[0] != '{' {
		return json.Unmarshal(data, (*string)(c))
	}
	var one struct{ Function struct{ Name string } }
	err := json.Unmarshal(data, &one)
	*c = toolChoice(one.Function.Name)
	return err
}

// translated returns the request for a provider with a format of its own, or the fault of what can't be said in it.
func (c *chat) translated(model string) (provider.Request, error) {
	if len(c.others) > 0 {
		return provider.Request{}, refusal.Invalid(c.others[0], "Unsupported parameter: '%s' is not supported with the model '%s', whose provider has a format of its own.",
			c.others[0], refusal.Clip(c.model, 128))
	}
	var in conversation
	if err := json.Unmarshal(c.body, &in); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return provider.Request{}, refusal.Invalid(wrong.Field, "Invalid type for '%s': got %s.", refusal.Clip(wrong.Field, 64), wrong.Value)
		}
		return provider.Request{}, refusal.Invalid("", "The request can't be read: %s.", refusal.Clip(err.Error(), 200))
	}
	out := provider.Request{
		Model: model, MaxTokens: c.maxTokens, Temperature: in.Temperature, TopP: in.TopP, Stop: in.Stop, Choice: string(in.ToolChoice),
	}
	for i, m := range in.Messages {
		message := ask.Message{Role: ask.Role(m.Role), Content: string(m.Content), CallID: m.ToolCallID}
		switch m.Role {
		case "system", "user", "assistant", "tool":
		case "developer":
			message.Role = ask.System
		default:
			return provider.Request{}, refusal.Invalid(fmt.Sprintf("messages[%d].role", i),
				"Invalid value: '%s'. Supported values are: 'system', 'developer', 'user', 'assistant', and 'tool'.", refusal.Clip(m.Role, 32))
		}
		for _, call := range m.ToolCalls {
			message.Calls = append(message.Calls, ask.Call{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments})
		}
		out.Messages = append(out.Messages, message)
	}
	return out, in.shape(&out)
}

// shape translates what says what the answer is to look like.
func (c *conversation) shape(out *provider.Request) error {
	for i, t := range c.Tools {
		if t.Type != "function" {
			return refusal.Invalid(fmt.Sprintf("tools[%d].type", i), "Invalid value: '%s'. Only functions are supported with this model.", refusal.Clip(t.Type, 32))
		}
		out.Tools = append(out.Tools, provider.Tool{Name: t.Function.Name, Description: t.Function.Description, Parameters: t.Function.Parameters})
	}
	if c.Format == nil {
		return nil
	}
	switch c.Format.Type {
	case "", "text":
	case "json_object":
		out.Schema = &provider.Schema{Name: "answer", JSON: json.RawMessage(`{"type":"object"}`)}
	case "json_schema":
		s := c.Format.JSONSchema
		if len(s.Schema) == 0 || bytes.Equal(s.Schema, []byte("null")) {
			return refusal.Invalid("response_format.json_schema.schema", "Missing required parameter: 'response_format.json_schema.schema'.")
		}
		out.Schema = &provider.Schema{Name: s.Name, JSON: s.Schema, Strict: s.Strict}
	default:
		return refusal.Invalid("response_format.type", "Invalid value: '%s'. Supported values are: 'text', 'json_object', and 'json_schema'.", refusal.Clip(c.Format.Type, 32))
	}
	return nil
}

// The parts of an answer in OpenAI's format.
type (
	completion struct {
		ID      string   `json:"id"`
		Object  string   `json:"object"`
		Created int64    `json:"created"`
		Model   string   `json:"model"`
		Choices []choice `json:"choices"`
		Usage   *usage   `json:"usage,omitempty"`
	}
	choice struct {
		Index        int      `json:"index"`
		Message      *message `json:"message,omitempty"`
		Delta        *message `json:"delta,omitempty"`
		FinishReason *string  `json:"finish_reason"`
	}
	message struct {
		Role      string     `json:"role,omitempty"`
		Content   *string    `json:"content,omitempty"`
		ToolCalls []toolCall `json:"tool_calls,omitempty"`
	}
	usage struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
		Details    *struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details,omitempty"`
	}
)

func usageOf(u provider.Usage) *usage {
	out := &usage{Prompt: u.Prompt, Completion: u.Completion, Total: u.Prompt + u.Completion}
	if u.Cached > 0 {
		out.Details = &struct {
			Cached int `json:"cached_tokens"`
		}{u.Cached}
	}
	return out
}

// finishReason is OpenAI's word for why an answer ended.
func finishReason(f provider.Finish) *string {
	reason := f.String()
	if f == provider.Abstained {
		reason = "stop"
	}
	return &reason
}

// translation is an answer of a provider with a format of its own, on its way into OpenAI's.
type translation struct {
	a     *answer
	head  completion
	text  strings.Builder
	calls []toolCall
}

// translate asks a provider with a format of its own.
func (a *answer) translate(ctx context.Context, t route.Target) (provider.Result, error) {
	request, err := a.asked.translated(t.Model)
	if err != nil {
		return provider.Result{}, err
	}
	out := &translation{a: a, head: completion{
		ID: "chatcmpl-" + a.handler.deps.TraceID(a.request.Context()), Created: a.request.began.Unix(), Model: a.asked.model,
	}}
	if a.asked.stream {
		out.head.Object = "chat.completion.chunk"
		empty := ""
		if err := out.event(choice{Delta: &message{Role: "assistant", Content: &empty}}, nil, false); err != nil {
			return provider.Result{}, err
		}
	} else {
		out.head.Object = "chat.completion"
	}
	result, err := provider.Generate(ctx, t.Provider, request, out.piece)
	if err != nil {
		return result, err
	}
	return result, out.end(result)
}

// piece takes a part of an answer.
func (t *translation) piece(p provider.Piece) error {
	switch {
	case p.Text == "" && p.Call == nil:
		t.a.Alive()
		return nil
	case !t.a.asked.stream:
		t.a.Alive()
		t.keep(p)
		return nil
	case p.Call != nil:
		call := toolCall{Index: &p.Call.Index, ID: p.Call.ID, Function: function{Name: p.Call.Name, Arguments: p.Call.Arguments}}
		if p.Call.ID != "" {
			call.Type = "function"
		}
		return t.event(choice{Delta: &message{ToolCalls: []toolCall{call}}}, nil, true)
	default:
		return t.event(choice{Delta: &message{Content: &p.Text}}, nil, true)
	}
}

// keep adds a part to an answer that is not streamed.
func (t *translation) keep(p provider.Piece) {
	t.text.WriteString(p.Text)
	if p.Call == nil {
		return
	}
	for len(t.calls) <= p.Call.Index && p.Call.Index < 1024 {
		t.calls = append(t.calls, toolCall{Type: "function"})
	}
	if p.Call.Index < 0 || p.Call.Index >= len(t.calls) {
		return
	}
	c := &t.calls[p.Call.Index]
	c.ID += p.Call.ID
	c.Function.Name += p.Call.Name
	c.Function.Arguments += p.Call.Arguments
}

// end sends what is known at the end only.
func (t *translation) end(r provider.Result) error {
	reason := finishReason(r.Finish)
	if t.a.asked.stream {
		if err := t.event(choice{Delta: &message{}, FinishReason: reason}, nil, false); err != nil {
			return err
		}
		if t.a.asked.withUsage {
			if err := t.event(choice{}, usageOf(r.Usage), false); err != nil {
				return err
			}
		}
		return t.a.Data([]byte("data: [DONE]\n\n"), provider.Part{Last: true})
	}
	text := t.text.String()
	m := &message{Role: "assistant", Content: &text, ToolCalls: t.calls}
	whole := t.head
	whole.Choices, whole.Usage = []choice{{Message: m, FinishReason: reason}}, usageOf(r.Usage)
	data, err := json.Marshal(whole)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return t.a.Data(append(data, '\n'), provider.Part{Seen: text != "" || len(t.calls) > 0, Last: true})
}

// event sends an event with a choice, or with the usage alone.
func (t *translation) event(c choice, u *usage, seen bool) error {
	e := t.head
	e.Choices, e.Usage = []choice{c}, u
	if u != nil {
		e.Choices = []choice{}
	}
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return t.a.Data([]byte("data: "+string(data)+"\n\n"), provider.Part{Seen: seen})
}

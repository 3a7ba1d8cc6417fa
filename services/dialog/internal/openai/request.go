package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// request is the body of POST /v1/chat/completions: every field that OpenAI documents. What is not here is unknown to OpenAI
// too and refused as there. Fields of type ignored change nothing that can be seen in the answer; those of type refused ask
// for something that ragmesh does not do, and pass only with the value that means not asking for it.
type request struct {
	Model               string            `json:"model"`
	Messages            []message         `json:"messages"`
	Stream              bool              `json:"stream"`
	StreamOptions       *options          `json:"stream_options"`
	Temperature         *float64          `json:"temperature"`
	TopP                *float64          `json:"top_p"`
	MaxTokens           *int              `json:"max_tokens"`
	MaxCompletionTokens *int              `json:"max_completion_tokens"`
	Stop                texts             `json:"stop"`
	N                   *int              `json:"n"`
	User                string            `json:"user"`
	SafetyIdentifier    string            `json:"safety_identifier"`
	Metadata            map[string]string `json:"metadata"`
	ResponseFormat      *format           `json:"response_format"`
	Modalities          []string          `json:"modalities"`

	FrequencyPenalty     ignored `json:"frequency_penalty"`
	PresencePenalty      ignored `json:"presence_penalty"`
	LogitBias            ignored `json:"logit_bias"`
	Seed                 ignored `json:"seed"`
	ServiceTier          ignored `json:"service_tier"`
	Store                ignored `json:"store"`
	ParallelToolCalls    ignored `json:"parallel_tool_calls"`
	ReasoningEffort      ignored `json:"reasoning_effort"`
	Verbosity            ignored `json:"verbosity"`
	PromptCacheKey       ignored `json:"prompt_cache_key"`
	PromptCacheRetention ignored `json:"prompt_cache_retention"`
	Prediction           ignored `json:"prediction"`

	Tools            refused `json:"tools"`
	ToolChoice       refused `json:"tool_choice"`
	Functions        refused `json:"functions"`
	FunctionCall     refused `json:"function_call"`
	Logprobs         refused `json:"logprobs"`
	TopLogprobs      refused `json:"top_logprobs"`
	Audio            refused `json:"audio"`
	WebSearchOptions refused `json:"web_search_options"`

	// Ragmesh holds what OpenAI has no word for.
	Ragmesh *extension `json:"ragmesh"`

	workspace, prompt string
	requestID         string
}

type options struct {
	IncludeUsage       bool    `json:"include_usage"`
	IncludeObfuscation ignored `json:"include_obfuscation"`
}

type format struct {
	Type       string          `json:"type"`
	JSONSchema json.RawMessage `json:"json_schema"`
}

// extension is the field "ragmesh" of a request.
type extension struct {
	SessionID string  `json:"session_id"`
	Strategy  string  `json:"strategy"`
	Model     string  `json:"model"` // of llm-gateway.yaml
	Filter    *filter `json:"filter"`
}

type filter struct {
	DocumentIDs    []string `json:"document_ids"`
	SourcePrefixes []string `json:"source_prefixes"`
	Languages      []string `json:"languages"`
}

type message struct {
	Role         string  `json:"role"`
	Content      content `json:"content"`
	Name         string  `json:"name"`
	Refusal      ignored `json:"refusal"`
	Audio        ignored `json:"audio"`
	ToolCalls    refused `json:"tool_calls"`
	ToolCallID   string  `json:"tool_call_id"`
	FunctionCall refused `json:"function_call"`
	// Clients send an assistant's message back as they got it.
	Annotations ignored `json:"annotations"`
	Ragmesh     ignored `json:"ragmesh"`
}

// ignored takes any value.
type ignored struct{}

// UnmarshalJSON implements [json.Unmarshaler].
func (*ignored) UnmarshalJSON([]byte) error { return nil }

// refused is whether something was asked for that is not done here.
type refused bool

// UnmarshalJSON implements [json.Unmarshaler].
func (r *refused) UnmarshalJSON(data []byte) error {
	switch string(bytes.TrimSpace(data)) {
	case "null", "false", "[]", "0", `"none"`, `"auto"`:
	default:
		*r = true
	}
	return nil
}

// texts is a text or a list of texts.
type texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *texts) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = nil
		if string(bytes.TrimSpace(data)) != "null" {
			*t = texts{one}
		}
		return nil
	}
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return errors.New("a text or a list of texts is expected")
	}
	*t = list
	return nil
}

// content is a message's text: a text, or parts that are texts.
type content string

// UnmarshalJSON implements [json.Unmarshaler].
func (c *content) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil { // null is the empty text
		*c = content(text)
		return nil
	}
	var parts []struct {
		Type    string `json:"type"`
		Text    string `json:"text"`
		Refusal string `json:"refusal"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return errors.New("a message's content must be a text or a list of parts")
	}
	var b strings.Builder
	for _, p := range parts {
		switch p.Type {
		case "text":
			b.WriteString(p.Text)
		case "refusal":
			b.WriteString(p.Refusal)
		default:
			return fmt.Errorf("content parts of type %q are not supported, only text is", refusal.Clip(p.Type, 32))
		}
	}
	*c = content(b.String())
	return nil
}

const (
	maxMessages = 1000
	maxStops    = 4
	maxStop     = 64
	maxAnswer   = 32768
)

// decode reads a request. Its errors say which parameter is wrong.
func decode(body io.Reader, header http.Header) (*request, error) {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	r := &request{}
	if err := d.Decode(r); err != nil {
		return nil, unreadable(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, refusal.Invalid("", "We could not parse the JSON body of your request: there is something after its end.")
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	r.workspace, r.prompt, _ = strings.Cut(r.Model, "/")
	if !slug.MatchString(r.workspace) || r.prompt != "" && !slug.MatchString(r.prompt) || strings.HasSuffix(r.Model, "/") {
		return nil, refusal.NoModel(r.Model)
	}
	if key := header.Get("Idempotency-Key"); key != "" {
		r.requestID = requestID(key)
	}
	return r, nil
}

func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	message := err.Error()
	switch field, unknown := strings.CutPrefix(message, "json: unknown field "); {
	case errors.As(err, &tooLarge):
		return fault.Wrap(err, fault.Exhausted, fault.RequestTooLarge, "The request is larger than %d bytes.", maxBody)
	case unknown:
		field = refusal.Clip(strings.Trim(field, `"`), 64)
		return refusal.Invalid(field, "Unrecognized request argument supplied: %s", field)
	case errors.As(err, &wrong):
		return refusal.Invalid(wrong.Field, "Invalid type for '%s': got %s.", refusal.Clip(wrong.Field, 64), wrong.Value)
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return refusal.Invalid("", "We could not parse the JSON body of your request: %s.", refusal.Clip(message, 200))
	default: // our own types' errors, and a client that broke off
		return refusal.Invalid("", "The request can't be read: %s.", refusal.Clip(message, 200))
	}
}

var slug = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// requestID makes an idempotency key of a client's a request id of ours.
func requestID(key string) string {
	if slug.MatchString(key) {
		return key
	}
	return "k" + strings.TrimPrefix(sessionOf(Caller{}, key), "c")
}

func (r *request) check() error {
	switch {
	case r.Model == "":
		return refusal.Invalid("model", "you must provide a model parameter")
	case len(r.Messages) == 0:
		return refusal.Invalid("messages", "Invalid 'messages': empty array. Expected an array with minimum length 1.")
	case len(r.Messages) > maxMessages:
		return refusal.Invalid("messages", "Invalid 'messages': more than %d.", maxMessages)
	case r.StreamOptions != nil && !r.Stream:
		return refusal.Invalid("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	case r.N != nil && *r.N != 1:
		return refusal.Invalid("n", "Unsupported value: 'n' is %d, and only 1 is supported.", *r.N)
	case len(r.Stop) > maxStops:
		return refusal.Invalid("stop", "Invalid 'stop': array too long. Expected at most %d elements.", maxStops)
	case r.ResponseFormat != nil && r.ResponseFormat.Type != "text":
		return refusal.Invalid("response_format", "Unsupported value: 'response_format' can only be {\"type\": \"text\"}; answers are prose with citations.")
	case outside(r.Temperature, 0, 2):
		return refusal.Invalid("temperature", "Invalid 'temperature': expected a value from 0 to 2.")
	case outside(r.TopP, 0, 1):
		return refusal.Invalid("top_p", "Invalid 'top_p': expected a value from 0 to 1.")
	case r.MaxTokens != nil && r.MaxCompletionTokens != nil:
		return refusal.Invalid("max_tokens", "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
	}
	for _, stop := range r.Stop {
		if stop == "" || len(stop) > maxStop {
			return refusal.Invalid("stop", "Invalid 'stop': each must have 1 to %d bytes.", maxStop)
		}
	}
	for _, asked := range r.Modalities {
		if asked != "text" {
			return refusal.Invalid("modalities", "Unsupported value: 'modalities' can only be [\"text\"].")
		}
	}
	for _, limit := range []struct {
		name  string
		value *int
	}{{"max_tokens", r.MaxTokens}, {"max_completion_tokens", r.MaxCompletionTokens}} {
		if limit.value != nil && *limit.value < 1 {
			return refusal.Invalid(limit.name, "Invalid '%s': integer below minimum value. Expected a value >= 1, but got %d instead.", limit.name, *limit.value)
		}
	}
	for _, p := range []struct {
		name  string
		asked refused
	}{
		{"tools", r.Tools}, {"tool_choice", r.ToolChoice}, {"functions", r.Functions}, {"function_call", r.FunctionCall},
		{"logprobs", r.Logprobs}, {"top_logprobs", r.TopLogprobs}, {"audio", r.Audio}, {"web_search_options", r.WebSearchOptions},
	} {
		if p.asked {
			return refusal.Invalid(p.name, "Unsupported parameter: '%s' is not supported with this model.", p.name)
		}
	}
	if r.Ragmesh != nil && r.Ragmesh.SessionID != "" && !slug.MatchString(r.Ragmesh.SessionID) {
		return refusal.Invalid("ragmesh.session_id", "Invalid 'ragmesh.session_id': up to 64 letters, digits, '-' and '_' are expected.")
	}
	if r.Ragmesh != nil && r.Ragmesh.Filter != nil {
		f := r.Ragmesh.Filter
		if max(len(f.DocumentIDs), len(f.SourcePrefixes), len(f.Languages)) > maxFilter {
			return refusal.Invalid("ragmesh.filter", "Invalid 'ragmesh.filter': at most %d entries of a kind.", maxFilter)
		}
		for _, prefix := range f.SourcePrefixes {
			if len(prefix) > maxPrefix {
				return refusal.Invalid("ragmesh.filter.source_prefixes", "Invalid 'ragmesh.filter.source_prefixes': each has at most %d bytes.", maxPrefix)
			}
		}
	}
	return r.checkMessages()
}

// What a filter may hold.
const (
	maxFilter = 100
	maxPrefix = 2048
)

func outside(v *float64, low, high float64) bool { return v != nil && (*v < low || *v > high) }

func (r *request) checkMessages() error {
	for i, m := range r.Messages {
		at := fmt.Sprintf("messages[%d]", i)
		switch m.Role {
		case "system", "developer", "user", "assistant":
		case "tool", "function":
			return refusal.Invalid(at+".role", "Unsupported value: '%s.role' is '%s', and clients bring no tools here.", at, m.Role)
		default:
			return refusal.Invalid(at+".role", "Invalid value: '%s'. Supported values are: 'system', 'developer', 'user', and 'assistant'.", refusal.Clip(m.Role, 32))
		}
		if bool(m.ToolCalls) || bool(m.FunctionCall) {
			return refusal.Invalid(at+".tool_calls", "Unsupported parameter: '%s.tool_calls'; clients bring no tools here.", at)
		}
	}
	if last := r.Messages[len(r.Messages)-1]; last.Role != "user" || strings.TrimSpace(string(last.Content)) == "" {
		return refusal.Invalid("messages", "Invalid 'messages': the last must be a user's, and not empty; it is what gets answered.")
	}
	return nil
}

// question is what the request asks, in our terms.
func (r *request) question(who Caller) turn.Question {
	q := turn.Question{Workspace: who.Workspace, User: who.User, RequestID: r.requestID, PromptID: r.prompt}
	q.Form = turn.Form{Temperature: r.Temperature, Stop: r.Stop}
	if r.TopP != nil && *r.TopP > 0 { // 0 means the likeliest word alone, which a temperature of 0 is
		q.Form.TopP = r.TopP
	}
	for _, limit := range []*int{r.MaxTokens, r.MaxCompletionTokens} {
		if limit != nil {
			q.Form.MaxTokens = min(*limit, maxAnswer)
		}
	}
	q.History = []turn.Exchange{}
	first := ""
	var instructions []string
	for _, m := range r.Messages[:len(r.Messages)-1] {
		switch text := string(m.Content); {
		case m.Role == "system" || m.Role == "developer":
			instructions = append(instructions, text)
		case m.Role == "user":
			if first == "" {
				first = text
			}
			q.History = append(q.History, turn.Exchange{Question: text})
		case len(q.History) > 0: // what an assistant says before anybody has asked is no answer
			last := &q.History[len(q.History)-1]
			last.Answer = strings.TrimSpace(last.Answer + "\n\n" + text)
		}
	}
	q.Text = string(r.Messages[len(r.Messages)-1].Content)
	q.Form.Instructions = refusal.Clip(strings.TrimSpace(strings.Join(instructions, "\n\n")), maxInstructions)
	if first == "" {
		first = q.Text
	}
	q.Session = sessionOf(who, r.User+r.SafetyIdentifier+"\x00"+first)
	if e := r.Ragmesh; e != nil {
		q.Strategy, q.Model = e.Strategy, e.Model
		if e.SessionID != "" {
			q.Session, q.History = e.SessionID, nil // the session has its own
		}
		if e.Filter != nil {
			q.Filter = turn.Filter{DocumentIDs: e.Filter.DocumentIDs, SourcePrefixes: e.Filter.SourcePrefixes, Languages: e.Filter.Languages}
		}
	}
	return q
}

const maxInstructions = 8 << 10

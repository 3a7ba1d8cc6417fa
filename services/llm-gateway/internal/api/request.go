package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/scan"
)

const (
	// maxMembers bounds the parameters of a request; OpenAI has some forty.
	maxMembers = 100
	// maxModel bounds a model's name.
	maxModel = 256
	// perMessage is what a message costs beside its text, partTokens what a part that is no text is taken for. Tokens.
	perMessage = 4
	partTokens = 800
)

// chat is what is read of a chat completion request: what the routes, the limits and the ledger need. The rest stays as it
// came, and goes on so.
type chat struct {
	body []byte

	model     string
	stream    bool
	withUsage bool
	// maxTokens bounds the answer; 0 when the request does not.
	maxTokens int
	// choices is how many answers are asked for.
	choices int
	// prompt is how many tokens it has, estimated.
	prompt int
	// session has requests that belong together meet the same target.
	session string
	// tools and schema say that there are tools, and that the answer is to keep to a JSON Schema.
	tools, schema bool
	// calls says that the conversation holds calls of tools.
	calls bool
	// others are the parameters that only a provider of OpenAI's format can be handed, by their names.
	others []string

	at struct {
		model, options, usage scan.Span // values
		messages              scan.Span
		limit                 scan.Span // the name max_completion_tokens
		end                   int       // the closing brace
	}
	legacy bool // max_tokens is there
}

// known are the parameters whose meaning matters here. A provider that reads names without regard to case, as Go's decoder
// does, must not read something else than we do.
var known = []string{
	"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "user", "prompt_cache_key", "modalities", "audio", "logprobs", "top_logprobs",
	"tools", "functions", "response_format",
}

// read reads a request.
func read(body []byte) (*chat, error) {
	c := &chat{body: body, choices: 1}
	if !utf8.Valid(body) {
		return nil, refusal.Invalid("", "We could not parse the JSON body of your request: it is not UTF-8.")
	}
	seen := make([][]byte, 0, 16)
	err := scan.Object(body, func(key []byte, name, value scan.Span) error {
		for _, k := range seen {
			if bytes.Equal(k, key) {
				return refusal.Invalid(string(key), "Duplicate parameter: '%s'.", refusal.Clip(string(key), 64))
			}
		}
		if seen = append(seen, key); len(seen) > maxMembers {
			return refusal.Invalid("", "More than %d parameters.", maxMembers)
		}
		if string(key) == "messages" {
			c.at.messages = value
			return nil
		}
		return c.member(string(key), name, value)
	})
	if err != nil {
		return nil, unreadable(err)
	}
	c.at.end = bytes.LastIndexByte(body, '}')
	switch {
	case c.model == "":
		return nil, refusal.Invalid("model", "you must provide a model parameter")
	case c.at.messages.To == 0:
		return nil, refusal.Invalid("messages", "Missing required parameter: 'messages'.")
	case !c.stream && c.at.options.To > 0 && !scan.Null(c.at.options.Of(body)):
		return nil, refusal.Invalid("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	case c.legacy && c.at.limit.To > 0:
		return nil, refusal.Invalid("max_tokens", "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
	}
	return c, unreadable(c.measure(c.at.messages))
}

// unreadable says of what is no JSON what OpenAI says of it.
func unreadable(err error) error {
	if wrong, ok := errors.AsType[*scan.Error](err); ok {
		return refusal.Invalid("", "We could not parse the JSON body of your request: %s.", wrong)
	}
	return err
}

// member reads a parameter.
func (c *chat) member(key string, name, value scan.Span) error {
	v := value.Of(c.body)
	switch key {
	case "model":
		c.at.model = value
		var ok bool
		if c.model, ok = scan.Text(v); !ok || c.model == "" || len(c.model) > maxModel {
			return refusal.Invalid("model", "you must provide a model parameter")
		}
	case "stream":
		if c.stream = string(v) == "true"; !c.stream && string(v) != "false" && !scan.Null(v) {
			return refusal.Invalid("stream", "Invalid type for 'stream': expected a boolean.")
		}
	case "stream_options":
		return c.options(value)
	case "max_tokens", "max_completion_tokens":
		return c.limit(key, name, v)
	case "n":
		if n, ok := scan.Int(v); ok && n > 0 {
			c.choices = n
		} else if !scan.Null(v) {
			return refusal.Invalid("n", "Invalid 'n': expected an integer from 1 on.")
		}
		if c.choices > 1 {
			c.others = append(c.others, key)
		}
	case "user", "prompt_cache_key":
		if text, _ := scan.Text(v); text != "" && (c.session == "" || key == "prompt_cache_key") {
			c.session = text
		}
	case "audio", "logprobs", "top_logprobs":
		if s := string(v); s != "null" && s != "false" && s != "0" {
			c.others = append(c.others, key)
		}
	case "modalities":
		if bytes.Contains(v, []byte(`"audio"`)) {
			c.others = append(c.others, key)
		}
	case "tools", "functions": // what tools were called before they were
		c.tools = c.tools || !scan.Null(v) && !(v[0] == '[' && len(bytes.TrimSpace(v[1:len(v)-1])) == 0)
	case "response_format":
		return c.format(v)
	default:
		for _, k := range known {
			if strings.EqualFold(k, key) {
				return refusal.Invalid(key, "Unrecognized request argument supplied: %s; it is written %s.", refusal.Clip(key, 64), k)
			}
		}
	}
	return nil
}

// format reads response_format: whether it has a schema. Without one, as with json_object, the prompt says what is wanted.
func (c *chat) format(v []byte) error {
	if v[0] != '{' { // the provider says what is wrong with it
		return nil
	}
	return scan.Object(v, func(key []byte, _, value scan.Span) error {
		kind, _ := scan.Text(value.Of(v))
		c.schema = c.schema || kind == "json_schema" || strings.EqualFold(string(key), "json_schema") && !scan.Null(value.Of(v))
		return nil
	})
}

func (c *chat) limit(key string, name scan.Span, v []byte) error {
	if scan.Null(v) {
		return nil
	}
	n, ok := scan.Int(v)
	if !ok || n < 1 {
		return refusal.Invalid(key, "Invalid '%s': integer below minimum value. Expected a value >= 1.", key)
	}
	c.maxTokens = n
	if key == "max_tokens" {
		c.legacy = true
	} else {
		c.at.limit = name
	}
	return nil
}

// options reads stream_options.
func (c *chat) options(value scan.Span) error {
	c.at.options = value
	v := value.Of(c.body)
	if scan.Null(v) {
		return nil
	}
	if v[0] != '{' {
		return refusal.Invalid("stream_options", "Invalid type for 'stream_options': expected an object.")
	}
	return scan.Object(v, func(key []byte, _, at scan.Span) error {
		if strings.EqualFold(string(key), "include_usage") {
			if string(key) != "include_usage" || c.at.usage.To > 0 {
				return refusal.Invalid("stream_options", "Duplicate parameter: 'stream_options.include_usage'.")
			}
			c.at.usage = scan.Span{From: value.From + at.From, To: value.From + at.To}
			c.withUsage = string(at.Of(v)) == "true"
		}
		return nil
	})
}

// measure estimates how many tokens the messages have, and sees whether there are calls of tools among them.
func (c *chat) measure(messages scan.Span) error {
	v := messages.Of(c.body)
	if v[0] != '[' {
		return refusal.Invalid("messages", "Invalid type for 'messages': expected an array of objects.")
	}
	var size scan.Size
	count := 0
	err := scan.Array(v, func(message scan.Span) error {
		if v[message.From] != '{' {
			return refusal.Invalid("messages", "Invalid type for 'messages': expected an array of objects.")
		}
		count++
		m := message.Of(v)
		return scan.Object(m, func(key []byte, _, value scan.Span) error {
			c.calls = c.calls || memberAboutCalls(string(key), value.Of(m))
			switch content := value.Of(m); {
			case string(key) == "content" && content[0] == '[':
				return c.parts(content, &size)
			case string(key) == "content" && content[0] == '"', string(key) == "tool_calls":
				size.Add(content)
			}
			return nil
		})
	})
	if err == nil && count == 0 {
		err = refusal.Invalid("messages", "Invalid 'messages': empty array. Expected an array with minimum length 1.")
	}
	c.prompt += size.Tokens() + count*perMessage
	return err
}

// parts measures a content of several parts.
func (c *chat) parts(content []byte, size *scan.Size) error {
	return scan.Array(content, func(part scan.Span) error {
		p := part.Of(content)
		if p[0] != '{' {
			return refusal.Invalid("messages", "Invalid 'messages': a part of a content is an object.")
		}
		kind := ""
		var text []byte
		if err := scan.Object(p, func(key []byte, _, value scan.Span) error {
			switch string(key) {
			case "type":
				kind, _ = scan.Text(value.Of(p))
			case "text", "refusal":
				text = value.Of(p)
			}
			return nil
		}); err != nil {
			return err
		}
		switch kind {
		case "text", "refusal":
			size.Add(text)
		default:
			c.prompt += partTokens
			if kind = refusal.Clip(kind, 64); !slices.Contains(c.others, kind) {
				c.others = append(c.others, kind)
			}
		}
		return nil
	})
}

// edit replaces a part of the body; an empty span inserts.
type edit struct {
	at   scan.Span
	text string
}

// in returns the request as a provider wants it: its own name of the model, the usage at the end of a stream, and for one without
// tools earlier calls as text. Nothing else is touched.
func (c *chat) in(model string, w provider.Wire) []byte {
	quoted, _ := json.Marshal(model) // strings marshal
	edits := make([]edit, 1, 4)
	edits[0] = edit{c.at.model, string(quoted)}
	if c.stream && !c.withUsage {
		edits = append(edits, c.askForUsage())
	}
	if w.LegacyMaxTokens && c.at.limit.To > 0 {
		edits = append(edits, edit{c.at.limit, `"max_tokens"`})
	}
	if w.PlainCalls && c.calls {
		edits = append(edits, edit{c.at.messages, c.plain()})
	}
	slices.SortFunc(edits, func(a, b edit) int { return a.at.From - b.at.From })
	out, from := make([]byte, 0, len(c.body)+len(quoted)+64), 0
	for _, e := range edits {
		out = append(append(out, c.body[from:e.at.From]...), e.text...)
		from = e.at.To
	}
	return append(out, c.body[from:]...)
}

// askForUsage has the provider say at the end of its stream what was used.
func (c *chat) askForUsage() edit {
	const ask = `"include_usage":true`
	switch o := c.at.options; {
	case c.at.usage.To > 0:
		return edit{c.at.usage, "true"}
	case o.To == 0:
		return edit{scan.Span{From: c.at.end, To: c.at.end}, `,"stream_options":{` + ask + `}`}
	case scan.Null(o.Of(c.body)):
		return edit{o, `{` + ask + `}`}
	case len(bytes.TrimSpace(c.body[o.From+1:o.To-1])) == 0:
		return edit{o, `{` + ask + `}`}
	default:
		return edit{scan.Span{From: o.From + 1, To: o.From + 1}, ask + `,`}
	}
}

package openai

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// chunk is what matters of one event.
type chunk struct {
	Error   json.RawMessage `json:"error,omitempty"`
	Choices []choiceDelta   `json:"choices"`
	Usage   *usage          `json:"usage,omitempty"`
}

type choiceDelta struct {
	Delta        delta  `json:"delta"`
	FinishReason string `json:"finish_reason,omitempty"`
}

type delta struct {
	Content          string         `json:"content,omitempty"`
	Refusal          string         `json:"refusal,omitempty"`
	ReasoningContent string         `json:"reasoning_content,omitempty"` // DeepSeek, Qwen, vLLM, llama.cpp
	Reasoning        string         `json:"reasoning,omitempty"`         // Ollama, OpenRouter, newer vLLM
	ToolCalls        []functionCall `json:"tool_calls,omitempty"`
}

type functionCall struct {
	Index    *int     `json:"index"`
	ID       string   `json:"id"`
	Function function `json:"function"`
}

type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Details    struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CacheHit int `json:"prompt_cache_hit_tokens"` // DeepSeek
}

func (u usage) usage() provider.Usage {
	return provider.Usage{Prompt: u.Prompt, Completion: u.Completion, Cached: max(u.Details.Cached, u.CacheHit)}
}

// plain says whether a chunk is a piece of text and nothing else.
func (c *chunk) plain() bool {
	if len(c.Choices) != 1 || c.Usage != nil {
		return false
	}
	d := c.Choices[0].Delta
	return d.Content != "" && c.Choices[0].FinishReason == "" && d.Refusal+d.ReasoningContent+d.Reasoning == "" && len(d.ToolCalls) == 0
}

// stream takes the events of one answer.
type stream struct {
	*exchange.Teller
	answer *exchange.Answer
	mould  mould
	reason string // why it finished
	usage  usage
	calls  []call
	refuse bool
	done   bool
}

// call is a call of a tool, as the server counts it.
type call struct {
	index int
	id    string
}

var _ exchange.Taker = (*stream)(nil)

// Ended implements exchange.Taker.
func (s *stream) Ended() bool { return s.done || s.reason != "" }

// Take implements exchange.Taker.
func (s *stream) Take(e exchange.Event) (bool, error) {
	if !e.Error && !e.Bare {
		if text, ok := s.mould.text(e.Data); ok {
			return false, s.Text(text)
		}
		if bytes.Equal(e.Data, []byte("[DONE]")) {
			s.done = true
			return true, nil
		}
	}
	var c chunk
	if err := json.Unmarshal(e.Data, &c); err != nil {
		return false, exchange.Unreadable(err)
	}
	switch {
	case exchange.Some(c.Error):
		return false, s.answer.Reported(c.Error)
	case e.Error:
		return false, s.answer.Reported(e.Data)
	}
	if c.plain() {
		s.mould = cast(e.Data, c.Choices[0].Delta.Content)
	}
	return false, s.chunk(&c)
}

func (s *stream) chunk(c *chunk) error {
	if c.Usage != nil {
		s.usage = *c.Usage
	}
	if len(c.Choices) == 0 {
		return nil
	}
	d := c.Choices[0].Delta
	if d.ReasoningContent+d.Reasoning != "" { // that it reasons counts, not what
		if err := s.Alive(); err != nil {
			return err
		}
	}
	s.refuse = s.refuse || d.Refusal != ""
	for _, text := range []string{d.Content, d.Refusal} {
		if err := s.Text([]byte(text)); err != nil {
			return err
		}
	}
	for _, f := range d.ToolCalls {
		if err := s.Call(s.index(f), f.ID, f.Function.Name, f.Function.Arguments); err != nil {
			return err
		}
	}
	if reason := c.Choices[0].FinishReason; reason != "" {
		s.reason = reason
	}
	return nil
}

// index says which of the answer's calls, counted from 0, a part belongs to. Servers count them from 0 or 1, count all of them
// as 0 under different ids, or do not count them.
func (s *stream) index(f functionCall) int {
	for i := len(s.calls) - 1; i >= 0; i-- {
		c := s.calls[i]
		switch {
		case f.ID != "" && f.ID == c.id, f.ID == "" && f.Index != nil && *f.Index == c.index, f.ID == "" && f.Index == nil && f.Function.Name == "":
			return i
		}
	}
	c := call{id: f.ID, index: len(s.calls)}
	if f.Index != nil {
		c.index = *f.Index
	}
	s.calls = append(s.calls, c)
	return len(s.calls) - 1
}

func (s *stream) finish() provider.Finish {
	switch s.reason {
	case "length":
		return provider.Length
	case "content_filter":
		return provider.Filtered
	case "tool_calls", "function_call":
		return provider.Called
	}
	if s.refuse {
		return provider.Filtered
	}
	return provider.Stop
}

// mould is what the events of a stream have around their text, which in practice is the same for all: an event that fits needs
// no decoder.
type mould struct{ before, after []byte }

// cast makes the mould of an event that holds a piece of text and nothing else. It makes none when that is not to be had
// for certain: without any escape in it, an event in which the text stands once between quotes has it there.
func cast(data []byte, text string) mould {
	quoted := []byte(`"` + text + `"`)
	at := bytes.Index(data, quoted)
	if at < 0 || bytes.Contains(data[at+1:], quoted) || bytes.IndexByte(data, '\\') >= 0 {
		return mould{}
	}
	return mould{before: bytes.Clone(data[:at+1]), after: bytes.Clone(data[at+len(quoted)-1:])}
}

// text returns the text of an event that fits.
func (m mould) text(data []byte) ([]byte, bool) {
	if len(m.before) == 0 || len(data) <= len(m.before)+len(m.after) || !bytes.HasPrefix(data, m.before) || !bytes.HasSuffix(data, m.after) {
		return nil, false
	}
	text := data[len(m.before) : len(data)-len(m.after)]
	for _, c := range text {
		if c == '"' || c == '\\' || c < ' ' {
			return nil, false
		}
	}
	return text, utf8.Valid(text)
}

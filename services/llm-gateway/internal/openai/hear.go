package openai

import (
	"bytes"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/scan"
)

// heard is what an event, or a whole answer, says that is not for the caller alone.
type heard struct {
	choices int
	// content is where the text lies, with its quotes.
	content scan.Span
	// seen says that there is something of an answer besides the text: reasoning, calls.
	seen    bool
	finish  string
	usage   *provider.Usage
	failure []byte
}

// plain says whether there is text and nothing else.
func (h *heard) plain() bool {
	return h.choices == 1 && h.content.To > h.content.From+2 && !h.seen && h.finish == "" && h.usage == nil
}

// read reads an object. An error says that it is none.
func (h *heard) read(data []byte) error {
	return scan.Object(data, func(key []byte, _, value scan.Span) error {
		v := value.Of(data)
		if scan.Null(v) {
			return nil
		}
		switch string(key) {
		case "choices":
			return scan.Array(v, func(element scan.Span) error { return h.choice(element.Of(v), value.From+element.From) })
		case "usage":
			h.usage = &provider.Usage{}
			return readUsage(v, h.usage)
		case "error":
			h.failure = v
		}
		return nil
	})
}

// choice reads a choice that lies at a place of the whole.
func (h *heard) choice(data []byte, at int) error {
	h.choices++
	return scan.Object(data, func(key []byte, _, value scan.Span) error {
		v := value.Of(data)
		switch string(key) {
		case "delta", "message":
			if scan.Null(v) {
				return nil
			}
			return h.message(v, at+value.From)
		case "finish_reason":
			h.finish, _ = scan.Text(v)
		}
		return nil
	})
}

func (h *heard) message(data []byte, at int) error {
	return scan.Object(data, func(key []byte, _, value scan.Span) error {
		v := value.Of(data)
		switch string(key) {
		case "role":
		case "content":
			if len(v) > 2 && v[0] == '"' && h.content.To == 0 {
				h.content = scan.Span{From: at + value.From, To: at + value.To}
			}
		default: // reasoning under one of its names, a refusal, calls, audio
			if s := string(v); s != "null" && s != `""` && s != "[]" && s != "{}" {
				h.seen = true
			}
		}
		return nil
	})
}

// readUsage reads token counts. What is no number is not there.
func readUsage(data []byte, u *provider.Usage) error {
	if data[0] != '{' {
		return nil
	}
	return scan.Object(data, func(key []byte, _, value scan.Span) error {
		v := value.Of(data)
		switch string(key) {
		case "prompt_tokens":
			u.Prompt, _ = scan.Int(v)
		case "completion_tokens":
			u.Completion, _ = scan.Int(v)
		case "cached_tokens", "prompt_cache_hit_tokens": // DeepSeek's
			u.Cached, _ = scan.Int(v)
		case "prompt_tokens_details":
			return readUsage(v, u)
		}
		return nil
	})
}

// stencil is what the events of an answer have around their text, which in practice is the same for all: in one that fits
// there is nothing else to be heard.
type stencil struct{ before, after []byte }

// set takes the stencil of an event whose text lies at content, with its quotes.
func (s *stencil) set(data []byte, content scan.Span) {
	s.before = append(s.before[:0], data[:content.From]...)
	s.after = append(s.after[:0], data[content.To:]...)
}

// fits returns where the text of an event lies, with its quotes.
func (s *stencil) fits(data []byte) (scan.Span, bool) {
	from, to := len(s.before), len(data)-len(s.after)
	if from == 0 || to <= from || !bytes.HasPrefix(data, s.before) || !bytes.HasSuffix(data, s.after) {
		return scan.Span{}, false
	}
	end, err := scan.String(data, from)
	return scan.Span{From: from, To: end}, err == nil && end == to
}

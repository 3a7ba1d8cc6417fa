package anthropic

import (
	"encoding/json"
	"errors"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// event is what matters of all kinds of event.
type event struct {
	Type    string `json:"type"`
	Message struct {
		Usage usage `json:"usage"`
	} `json:"message"` // message_start
	Index int `json:"index"` // content_block_...
	Block struct {
		Type string `json:"type"`
		Text string `json:"text"`
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"content_block"` // content_block_start
	Delta struct {
		Text        string `json:"text"`
		PartialJSON string `json:"partial_json"`
		StopReason  string `json:"stop_reason"`
	} `json:"delta"` // content_block_delta, message_delta
	Usage usage           `json:"usage"` // message_delta
	Error json.RawMessage `json:"error"`
}

type usage struct {
	Input        int `json:"input_tokens"` // besides the two below
	CacheWritten int `json:"cache_creation_input_tokens"`
	CacheRead    int `json:"cache_read_input_tokens"`
	Output       int `json:"output_tokens"`
}

// stream takes the events of one answer.
type stream struct {
	*exchange.Teller
	answer *exchange.Answer
	used   provider.Usage
	reason string      // why it stopped
	calls  map[int]int // the call of a block
	done   bool
}

var _ exchange.Taker = (*stream)(nil)

// Ended implements exchange.Taker.
func (s *stream) Ended() bool { return s.done || s.reason != "" }

// Take implements exchange.Taker.
func (s *stream) Take(e exchange.Event) (bool, error) {
	var v event
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return false, exchange.Unreadable(err)
	}
	switch {
	case exchange.Some(v.Error):
		return false, s.answer.Reported(v.Error)
	case e.Error:
		return false, s.answer.Reported(e.Data)
	}
	switch v.Type {
	case "message_start":
		s.count(v.Message.Usage)
		s.used.Completion = 0 // a first guess, which stands when the answer breaks off
	case "content_block_start":
		return false, s.begin(&v)
	case "content_block_delta":
		return false, s.delta(&v)
	case "message_delta":
		if s.count(v.Usage); v.Delta.StopReason != "" {
			s.reason = v.Delta.StopReason
		}
	case "message_stop":
		s.done = true
		return true, nil
	}
	return false, nil // pings, ends of blocks, and what there will be
}

// count takes what is said about tokens: the last word holds, and zeros are none.
func (s *stream) count(u usage) {
	if prompt := u.Input + u.CacheWritten + u.CacheRead; prompt > 0 {
		s.used.Prompt, s.used.Cached = prompt, u.CacheRead
	}
	s.used.Completion = max(s.used.Completion, u.Output)
}

func (s *stream) begin(v *event) error {
	switch v.Block.Type {
	case "text":
		return s.Text([]byte(v.Block.Text))
	case "tool_use":
		if s.calls == nil {
			s.calls = make(map[int]int)
		}
		s.calls[v.Index] = s.Calls()
		return s.Call(s.calls[v.Index], v.Block.ID, v.Block.Name, "")
	default:
		return s.Alive() // it thinks, or uses a tool of its own
	}
}

func (s *stream) delta(v *event) error {
	switch {
	case v.Delta.PartialJSON != "":
		call, ok := s.calls[v.Index]
		if !ok {
			return exchange.Unreadable(errors.New("arguments of no call"))
		}
		return s.Call(call, "", "", v.Delta.PartialJSON)
	case v.Delta.Text != "":
		return s.Text([]byte(v.Delta.Text))
	default:
		return s.Alive() // thoughts, signatures, citations
	}
}

func (s *stream) finish() provider.Finish {
	switch s.reason {
	case "max_tokens", "model_context_window_exceeded":
		return provider.Length
	case "refusal":
		return provider.Filtered
	case "tool_use":
		return provider.Called
	default:
		return provider.Stop
	}
}

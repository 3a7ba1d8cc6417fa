package google

import (
	"encoding/json"
	"errors"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// chunk is what matters of one event.
type chunk struct {
	Candidates []struct {
		Content struct {
			Parts []piece `json:"parts"`
		} `json:"content"`
		FinishReason string `json:"finishReason"`
	} `json:"candidates"`
	Feedback struct {
		BlockReason string `json:"blockReason"`
	} `json:"promptFeedback"`
	Usage *usage          `json:"usageMetadata"`
	Error json.RawMessage `json:"error"`
}

type piece struct {
	Text    string `json:"text"`
	Thought bool   `json:"thought"`
	Call    *call  `json:"functionCall"`
}

type usage struct {
	Prompt     int `json:"promptTokenCount"`
	ToolPrompt int `json:"toolUsePromptTokenCount"`
	Completion int `json:"candidatesTokenCount"`
	Thoughts   int `json:"thoughtsTokenCount"` // paid for as the answer is
	Cached     int `json:"cachedContentTokenCount"`
}

// stream takes the events of one answer.
type stream struct {
	*exchange.Teller
	answer *exchange.Answer
	used   provider.Usage
	reason string
}

var _ exchange.Taker = (*stream)(nil)

// Ended implements exchange.Taker. There is no end marker but the reason.
func (s *stream) Ended() bool { return s.reason != "" }

// Take implements exchange.Taker.
func (s *stream) Take(e exchange.Event) (bool, error) {
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
	if u := c.Usage; u != nil { // so far: every event has it
		s.used = provider.Usage{Prompt: u.Prompt + u.ToolPrompt, Completion: u.Completion + u.Thoughts, Cached: u.Cached}
	}
	if c.Feedback.BlockReason != "" {
		s.reason = "SAFETY"
	}
	if len(c.Candidates) == 0 {
		return false, nil
	}
	for i := range c.Candidates[0].Content.Parts {
		if err := s.part(&c.Candidates[0].Content.Parts[i]); err != nil {
			return false, err
		}
	}
	return false, s.stop(c.Candidates[0].FinishReason)
}

func (s *stream) part(p *piece) error {
	switch {
	case p.Call != nil: // whole
		return s.Call(s.Calls(), p.Call.ID, p.Call.Name, string(p.Call.Args))
	case p.Thought:
		return s.Alive()
	default:
		return s.Text([]byte(p.Text))
	}
}

func (s *stream) stop(reason string) error {
	switch reason {
	case "":
		return nil
	case "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE":
		return exchange.Unreadable(errors.New("the model ended with " + reason))
	}
	s.reason = reason
	return nil
}

func (s *stream) finish() provider.Finish {
	switch s.reason {
	case "MAX_TOKENS":
		return provider.Length
	case "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE":
		return provider.Filtered
	default:
		return provider.Stop
	}
}

package mockllm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/repeat"
)

// The parts of a completion and of a stream's events, as OpenAI names them.
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
		Index   int      `json:"index"`
		Message *message `json:"message,omitempty"`
		Delta   *message `json:"delta,omitempty"`
		Finish  *string  `json:"finish_reason"`
	}
	message struct {
		Role    string  `json:"role,omitempty"`
		Content *string `json:"content,omitempty"`
	}
	usage struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
	}
)

func (a *answer) usage() *usage {
	return &usage{Prompt: a.prompt, Completion: len(a.tokens), Total: a.prompt + len(a.tokens)}
}

// whole is the answer to a request that does not stream.
func (a *answer) whole() completion {
	text := strings.Join(a.tokens, "")
	return completion{
		ID: a.id, Object: "chat.completion", Created: a.created, Model: a.model, Usage: a.usage(),
		Choices: []choice{{Message: &message{Role: "assistant", Content: &text}, Finish: &a.finish}},
	}
}

// event is one event of the stream.
func (a *answer) event(choices []choice, u *usage) completion {
	return completion{ID: a.id, Object: "chat.completion.chunk", Created: a.created, Model: a.model, Choices: choices, Usage: u}
}

// stream sends the answer token by token: an event with the role, one for each token, one with the finish reason, one with
// the usage when it was asked for, and [DONE].
func (s *Server) stream(w http.ResponseWriter, r *http.Request, a *answer, begin time.Time, withUsage bool) {
	out := &events{w: w, flush: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	for i := range a.tokens {
		if !sleepUntil(r.Context(), begin.Add(a.behaviour.due(i))) {
			return
		}
		if i == 0 {
			empty := ""
			out.send(a.event([]choice{{Delta: &message{Role: "assistant", Content: &empty}}}, nil))
		}
		s.tokens.Add(1)
		out.send(a.event([]choice{{Delta: &message{Content: &a.tokens[i]}}}, nil))
		if !out.flushed() {
			return
		}
	}
	out.send(a.event([]choice{{Delta: &message{}, Finish: &a.finish}}, nil))
	if withUsage {
		out.send(a.event([]choice{}, a.usage()))
	}
	s.bill(a)
	out.write([]byte("data: [DONE]\n\n"))
	out.flushed()
}

// events writes a stream until the client has gone.
type events struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	err   error
}

func (e *events) send(v completion) {
	b, err := json.Marshal(v)
	if err != nil {
		e.err = err
		return
	}
	e.write(append(append([]byte("data: "), b...), "\n\n"...))
}

func (e *events) write(b []byte) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
}

// flushed sends what was written and says whether the client still reads.
func (e *events) flushed() bool {
	if e.err == nil {
		e.err = e.flush.Flush()
	}
	return e.err == nil
}

// sleepUntil waits for a moment; it says false when ctx ends first.
func sleepUntil(ctx context.Context, due time.Time) bool {
	return repeat.Pause(ctx, time.Until(due)) == nil
}

package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// events writes server-sent events. Every one is flushed: each is something to see.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func newEvents(w http.ResponseWriter) *events {
	return &events{w: w, control: http.NewResponseController(w)}
}

func (s *events) begin(id string) {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the stream back
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", id)
	s.w.WriteHeader(http.StatusOK)
	s.begun = true
}

func (s *events) send(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return s.raw("data: " + string(data) + "\n\n")
}

func (s *events) raw(text string) error {
	if _, err := s.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("send event: %w", err)
	}
	if err := s.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("send event: %w", err)
	}
	return nil
}

// stream answers in chunks. An error before the first is an answer with a status; after that it is the last event.
func (h *Handler) stream(ctx context.Context, w http.ResponseWriter, q turn.Question, out *answer) error {
	to := newEvents(w)
	chunk := func(d delta, finish *string) error {
		c := out.object("chat.completion.chunk")
		c.Choices = []choice{{Delta: &d, FinishReason: finish}}
		return to.send(c)
	}
	q.Committed = true // this protocol can't take back what was sent
	err := h.deps.Asker.Ask(ctx, q, func(e turn.Event) error {
		out.take(e)
		switch {
		case to.begun:
		case e.Started == nil: // it waits for its place, and may yet be refused with a status
			return nil
		default:
			to.begin(out.id)
			if err := chunk(delta{Role: "assistant", Content: new(string)}, nil); err != nil {
				return err
			}
		}
		switch {
		case e.Delta != "":
			return chunk(delta{Content: &e.Delta}, nil)
		case e.Heartbeat:
			return to.raw(": still at work\n\n")
		}
		return nil
	})
	if err == nil {
		err = out.failure()
	}
	switch {
	case err != nil && !to.begun:
		refusal.Write(w, modelUnknown(err, out.model))
		return err
	case err != nil:
		_, body := refusal.Of(err)
		return errors.Join(err, to.send(body))
	}
	return finishStream(to, out)
}

// finishStream sends what is known at the end only: citations, why it ended, and what it took.
func finishStream(to *events, out *answer) error {
	t := out.ended.Turn
	last := out.object("chat.completion.chunk")
	last.Choices = []choice{{Delta: &delta{Annotations: annotations(t.Answer, t.Citations)}, FinishReason: finishReason(t.Finish)}}
	last.Ragmesh = recordOf(t)
	sends := []any{last}
	if out.asked.StreamOptions != nil && out.asked.StreamOptions.IncludeUsage {
		spent := out.object("chat.completion.chunk")
		spent.Usage = usageOf(t)
		sends = append(sends, spent)
	}
	for _, v := range sends {
		if err := to.send(v); err != nil {
			return gone(err)
		}
	}
	return gone(to.raw("data: [DONE]\n\n"))
}

// gone is the error of a client that does not listen any more.
func gone(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Canceled, fault.ReasonCanceled, "the client went away")
}

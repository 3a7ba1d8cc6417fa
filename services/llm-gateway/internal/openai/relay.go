package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/scan"
)

var _ provider.Relayer = (*Provider)(nil)

const (
	// relayBuffer is what is read of an answer at once.
	relayBuffer = 16 << 10
	// maxRelayed bounds an answer that is not streamed.
	maxRelayed = 16 << 20
)

// Relay implements [provider.Relayer].
func (p *Provider) Relay(ctx context.Context, r provider.RelayRequest, to provider.RelaySink) (provider.Result, error) {
	if err := p.able(r.Model, r.Tools, r.Schema); err != nil {
		return provider.Result{}, err
	}
	body := r.Body(provider.Wire{LegacyMaxTokens: p.cfg.LegacyMaxTokens, PlainCalls: p.cfg.WithoutTools})
	answer, err := p.server.Post(ctx, p.path(r.Model, "/chat/completions"), "*/*", body)
	if err != nil {
		return provider.Result{}, explained(err)
	}
	defer answer.Close()
	buf, _ := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(buf)
	s := &relay{answer: answer, prompt: r.Prompt, withUsage: r.WithUsage, to: to, buf: *buf}
	if r.Stream {
		err = s.stream(answer.Body)
	} else {
		err = s.whole(answer.Body)
	}
	if cap(s.buf) > len(*buf) && cap(s.buf) <= maxPooled {
		*buf = s.buf[:cap(s.buf)]
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return s.result(), err
}

// maxPooled is the largest buffer that is kept for the next answer.
const maxPooled = 64 << 10

var relayBuffers = sync.Pool{New: func() any { b := make([]byte, relayBuffer); return &b }} //nolint:gochecknoglobals // buffers have no state

// explained is a refusal of a request that is at fault, with what the provider says about it: it is the caller's own.
func explained(err error) error {
	refusal, ok := errors.AsType[*provider.Refusal](err)
	if !ok || refusal.Message == "" {
		return err
	}
	switch refusal.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return fault.Wrap(err, fault.KindOf(err), fault.ReasonOf(err), "the model's provider rejects the request (status %d): %s", refusal.Status, refusal.Message)
	}
	return err
}

// relay is one answer on its way.
type relay struct {
	answer    *exchange.Answer
	to        provider.RelaySink
	withUsage bool
	buf       []byte
	stencil   stencil

	prompt int
	events int // with something of the answer in them
	size   scan.Size
	usage  *provider.Usage
	finish string
	done   bool // [DONE] came
	fails  bool // "event: error" came
}

// stream hands on events.
func (s *relay) stream(body io.Reader) error {
	filled := 0 // of buf, not handed on yet
	for {
		if filled == len(s.buf) {
			if filled >= exchange.MaxLine {
				return tooLarge()
			}
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		n, err := body.Read(s.buf[filled:])
		filled += n
		whole := lastEvent(s.buf[:filled])
		if err != nil && errors.Is(err, io.EOF) {
			whole = filled - len(torn(s.buf[:filled])) // an event at the end may lack its empty line
		}
		if whole > 0 {
			if failure := s.take(s.buf[:whole]); failure != nil || s.done {
				return failure
			}
			filled = copy(s.buf, s.buf[whole:filled])
		}
		switch {
		case err == nil:
		case s.finish != "": // whatever ended the connection, the answer is whole
			return s.to.Data(doneEvent(), provider.Part{Last: true})
		case errors.Is(err, io.EOF):
			return exchange.Cut(nil)
		default:
			return exchange.Cut(err)
		}
	}
}

// torn returns the line at the end of what came that is not whole.
func torn(p []byte) []byte {
	line := p[bytes.LastIndexByte(p, '\n')+1:]
	data := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("data:")))
	if len(data) == 0 || data[0] != '{' || json.Valid(data) {
		return nil
	}
	return line
}

func doneEvent() []byte { return []byte("data: [DONE]\n\n") }

func tooLarge() error {
	return fault.New(fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent an event that is too large")
}

// lastEvent returns where the last whole event ends.
func lastEvent(p []byte) int {
	if i := bytes.LastIndex(p, []byte("\n\n")); i >= 0 {
		return i + 2
	}
	if i := bytes.LastIndex(p, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return 0
}

// take looks at whole events and hands on those that are for the caller, moved together where they lie.
func (s *relay) take(p []byte) error {
	kept, seen := 0, s.events
	for at := 0; at < len(p) && !s.done; {
		end := at + eventEnd(p[at:])
		keep, err := s.event(p[at:end])
		if err != nil {
			if kept > 0 { // what came before it is the answer's
				err = errors.Join(s.to.Data(p[:kept], provider.Part{Seen: s.events > seen}), err)
			}
			return err
		}
		if keep {
			kept += copy(p[kept:], p[at:end])
		}
		at = end
	}
	if kept == 0 {
		s.to.Alive()
		return nil
	}
	return s.to.Data(p[:kept], provider.Part{Seen: s.events > seen, Last: s.done})
}

// eventEnd returns where the first event ends, its empty line included.
func eventEnd(p []byte) int {
	for at := 0; at < len(p); {
		n := bytes.IndexByte(p[at:], '\n')
		if n < 0 {
			return len(p)
		}
		blank := n == 0 || n == 1 && p[at] == '\r'
		if at += n + 1; blank {
			return at
		}
	}
	return len(p)
}

// event looks at one event and says whether it is for the caller.
func (s *relay) event(p []byte) (bool, error) {
	s.fails = false
	for len(p) > 0 {
		line := p
		if n := bytes.IndexByte(p, '\n'); n >= 0 {
			line, p = p[:n], p[n+1:]
		} else {
			p = nil
		}
		if len(line) > exchange.MaxLine {
			return false, tooLarge()
		}
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			keep, err := s.data(bytes.TrimSpace(data))
			if err != nil || !keep {
				return false, err
			}
			continue
		}
		switch line = bytes.TrimSpace(line); {
		case len(line) == 0 || line[0] == ':':
		case line[0] == '{': // an error that is no stream, or one that forgot to be
			return s.data(line)
		default:
			if name, ok := bytes.CutPrefix(line, []byte("event:")); ok {
				s.fails = bytes.Equal(bytes.TrimSpace(name), []byte("error"))
			}
		}
	}
	return true, nil
}

// data looks at what an event holds.
func (s *relay) data(data []byte) (keep bool, err error) {
	if text, ok := s.stencil.fits(data); ok && !s.fails {
		s.said(text.Of(data))
		return true, nil
	}
	switch {
	case len(data) == 0:
		return true, nil
	case string(data) == "[DONE]":
		s.done = true
		return true, nil
	}
	var c heard
	if err := c.read(data); err != nil {
		return false, fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent an event that can't be read")
	}
	if s.fails && c.failure == nil {
		c.failure = data
	}
	if c.failure != nil {
		return false, s.answer.Reported(c.failure)
	}
	if c.usage != nil {
		s.usage = c.usage
	}
	if c.finish != "" {
		s.finish = c.finish
	}
	if c.content.To > 0 {
		s.said(c.content.Of(data))
		if c.plain() {
			s.stencil.set(data, c.content)
		}
	} else if c.seen {
		s.events++
	}
	return c.choices > 0 || c.usage == nil || s.withUsage, nil
}

// said counts text of the answer, which comes with its quotes.
func (s *relay) said(raw []byte) {
	s.events++
	s.size.Add(raw[1 : len(raw)-1])
}

// whole hands on an answer that is not streamed.
func (s *relay) whole(body io.Reader) error {
	filled := 0
	for {
		if filled == len(s.buf) {
			if filled >= maxRelayed {
				return exchange.Unreadable(fmt.Errorf("more than %d bytes", maxRelayed))
			}
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		n, err := body.Read(s.buf[filled:])
		filled += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return exchange.Cut(err)
		}
	}
	answer := s.buf[:filled]
	var c heard
	if err := c.read(answer); err != nil {
		return exchange.Unreadable(err)
	}
	if c.failure != nil {
		return s.answer.Reported(c.failure)
	}
	if c.choices == 0 {
		return exchange.Unreadable(errors.New("an answer without choices"))
	}
	s.usage, s.finish = c.usage, c.finish
	if c.content.To > 0 {
		s.said(c.content.Of(answer))
	}
	return s.to.Data(answer, provider.Part{Seen: true, Last: true})
}

// result says how it ended, or what there was of it: a provider that has begun an answer has read the prompt.
func (s *relay) result() provider.Result {
	out := provider.Result{Finish: relayFinish(s.finish)}
	if s.usage != nil && (s.usage.Completion > 0 || s.events == 0) {
		out.Usage = *s.usage
	} else {
		out.Usage = provider.Usage{Prompt: s.prompt, Completion: max(s.events, s.size.Tokens()), Estimated: true}
	}
	return out
}

func relayFinish(reason string) provider.Finish {
	switch reason {
	case "length":
		return provider.Length
	case "content_filter":
		return provider.Filtered
	case "tool_calls", "function_call":
		return provider.Called
	default:
		return provider.Stop
	}
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// chat answers a conversation.
func (h *Handler) chat(w http.ResponseWriter, r *request) error {
	body, err := r.body(w)
	if err != nil {
		return err
	}
	asked, err := read(body)
	if err != nil {
		return err
	}
	if err := r.model(asked.model); err != nil {
		return err
	}
	a := &answer{handler: h, request: r, asked: asked, w: w}
	options := route.CallOptions{Workspace: r.key.Workspace, Key: r.key.Name}
	if asked.session != "" {
		options.Session = r.key.Name + " " + asked.session
	}
	_, err = r.serving.Routes.Do(r.Context(), asked.model, options, a.attempt)
	h.deps.Meter.Overhead(asked.model, a.overhead())
	if err == nil || !a.begun {
		return err
	}
	a.fail(err)
	return errAnswered{err}
}

// answer is one on its way to the caller. It is of one goroutine.
type answer struct {
	handler *Handler
	request *request
	asked   *chat
	w       http.ResponseWriter
	control *http.ResponseController

	try   *route.Try
	held  []byte // what came before there was something to be seen
	begun bool
	err   error // of writing to the caller
	// last is why the latest target failed.
	last error

	// When the first target was asked, when there was something to be seen of an answer, and when that was sent.
	firstAsked, heard, sent time.Time
}

// attempt asks one target.
func (a *answer) attempt(ctx context.Context, t route.Target, try *route.Try) (provider.Result, error) {
	a.try, a.held = try, a.held[:0]
	if a.firstAsked.IsZero() {
		a.firstAsked = a.handler.deps.Clock()
	}
	var out provider.Result
	var err error
	switch p := t.Provider.(type) {
	case provider.Relayer:
		out, err = p.Relay(ctx, provider.RelayRequest{
			Model: t.Model, Stream: a.asked.stream, WithUsage: a.asked.withUsage, Prompt: a.asked.prompt,
			Body: func(w provider.Wire) []byte { return a.asked.in(t.Model, w) },
		}, a)
	default:
		out, err = a.translate(ctx, t)
	}
	if a.err != nil {
		err = a.err
	}
	a.last = err
	return out, err
}

// Alive implements [provider.RelaySink].
func (a *answer) Alive() { a.try.Alive() }

// maxHeld bounds what is held back until there is something to be seen: beginnings of streams, which are short.
const maxHeld = 64 << 10

// Data implements [provider.RelaySink]. Until there is something to be seen the answer may still be another target's.
func (a *answer) Data(p []byte, about provider.Part) error {
	a.try.Pause() // the caller may be slow
	defer a.try.Alive()
	if a.begun {
		if a.write(p); !about.Last {
			a.flush()
		}
		return a.err
	}
	if !about.Seen && !about.Last && len(a.held)+len(p) <= maxHeld {
		a.held = append(a.held, p...)
		return nil
	}
	a.heard = a.handler.deps.Clock()
	a.begin(a.try.Begin(about.Seen), len(p), about.Last)
	a.write(a.held)
	if a.write(p); !about.Last {
		a.flush()
		a.sent = a.handler.deps.Clock()
	}
	return a.err
}

// begin sends the headers.
func (a *answer) begin(s route.Started, size int, last bool) {
	a.begun = true
	h := a.w.Header()
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if id := a.handler.deps.TraceID(a.request.Context()); id != "" {
		h["X-Request-Id"] = []string{id}
	}
	h["X-Ragmesh-Target"] = []string{s.Name + "/" + s.Model}
	if s.Rung > 0 {
		h["X-Ragmesh-Rung"] = []string{strconv.Itoa(s.Rung)}
		h["X-Ragmesh-Degraded"] = []string{skipped(s.Skipped)}
	}
	if a.asked.stream {
		h["Content-Type"] = []string{"text/event-stream; charset=utf-8"}
		h["Cache-Control"] = []string{"no-cache, no-store"}
		h["X-Accel-Buffering"] = []string{"no"} // nginx would hold the stream back
	} else {
		h["Content-Type"] = []string{"application/json"}
		if last {
			h["Content-Length"] = []string{strconv.Itoa(size + len(a.held))}
		}
	}
	a.w.WriteHeader(http.StatusOK)
	a.control = http.NewResponseController(a.w)
}

// skipped says which targets failed before the one that answers, and why.
func skipped(all []route.Skip) string {
	parts := make([]string, len(all))
	for i, s := range all {
		parts[i] = s.Name + "=" + strings.ToLower(fault.ReasonName(s.Fault.Reason))
	}
	return strings.Join(parts, ", ")
}

func (a *answer) write(p []byte) {
	if a.err == nil && len(p) > 0 {
		_, err := a.w.Write(p)
		a.err = gone(err)
	}
}

func (a *answer) flush() {
	if a.err == nil {
		if err := a.control.Flush(); !errors.Is(err, http.ErrNotSupported) {
			a.err = gone(err)
		}
	}
}

// gone is the fault of a caller that does not listen any more.
func gone(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Canceled, fault.ReasonCanceled, "the client went away")
}

// fail tells the caller of a stream that has begun that it will not come to its end.
func (a *answer) fail(err error) {
	if !a.asked.stream {
		panic(http.ErrAbortHandler) // a whole answer comes in one piece, of which only writing can fail
	}
	_, body := refusal.Of(err)
	data, encodeErr := json.Marshal(body)
	if encodeErr != nil {
		return // strings marshal
	}
	a.write([]byte("data: " + string(data) + "\n\n"))
}

// overhead is the time that was spent here and not with providers: until the first of them was asked, and from the last word of
// a whole answer to its end, or from the first of a stream until that was sent.
func (a *answer) overhead() time.Duration {
	now := a.handler.deps.Clock()
	if a.firstAsked.IsZero() {
		return now.Sub(a.request.began)
	}
	spent := a.firstAsked.Sub(a.request.began)
	if a.heard.IsZero() {
		return spent
	}
	if a.sent.IsZero() {
		a.sent = now
	}
	return spent + a.sent.Sub(a.heard)
}

// nothingToQuote is why a target that answers with what stands in sources has no answer here: what failed above it, if anything
// did.
func (a *answer) nothingToQuote() error {
	if a.last != nil {
		return a.last
	}
	return fault.New(fault.Unavailable, fault.ProviderUnavailable, "this model answers from sources only, and requests to this API have none")
}

package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
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
	mode, err := r.mode(asked.model)
	if err != nil {
		return err
	}
	most := asked.maxTokens
	if most == 0 {
		most = r.serving.MaxTokens
	}
	entry, err := r.serving.Book.Open(r.Context(), account.Who{Workspace: r.key.Workspace, Key: r.key.Name}, asked.model, provider.Usage{
		Prompt: asked.prompt, Completion: most * asked.choices, Estimated: true,
	})
	if err != nil {
		return err
	}
	a := &answer{handler: h, request: r, asked: asked, to: &reply{w: w, stream: asked.stream, id: h.deps.TraceID(r.Context())}}
	if mode == cache.Off {
		defer entry.Close()
		err = a.ask(r.Context(), entry)
	} else {
		err = a.cached(mode, entry)
	}
	h.deps.Meter.Overhead(asked.model, a.overhead())
	to, _ := a.to.(*reply)
	if err == nil || !to.begun {
		return err
	}
	to.fail(err)
	return errAnswered{err}
}

// output is where an answer goes: to the caller, or to the cache first.
type output interface {
	// begin is called once, before the first data. size is that of the whole answer, or below 0 when it is not known.
	begin(h head, size int) error
	// data takes bytes of the answer; they leave at once unless more is known to come with them.
	data(p []byte, last bool) error
}

// head is what is said of an answer before it.
type head struct {
	Target  string
	Rung    int
	Skipped string `json:",omitempty"`
	// cached says that nobody was asked for it.
	cached bool
}

// answer is one on its way to the caller. It is of one goroutine.
type answer struct {
	handler *Handler
	request *request
	asked   *chat
	to      output

	try   *route.Try
	held  []byte // what came before there was something to be seen
	begun bool
	err   error // of the output
	// whole says that the answer is what its route is for, and not a stand-in for it.
	whole bool

	// When the first target was asked, when there was something to be seen of an answer, and when that was sent.
	firstAsked, heard, sent time.Time
}

// ask has the route's targets asked, on somebody's account.
func (a *answer) ask(ctx context.Context, entry *account.Entry) error {
	r := a.request
	options := route.CallOptions{Workspace: r.key.Workspace, Key: r.key.Name, Ledger: entry.Asking(), Whole: !a.asked.stream, Elsewhere: true}
	if a.asked.session != "" {
		options.Session = r.key.Name + " " + a.asked.session
	}
	out, err := r.serving.Routes.Do(ctx, a.asked.model, options, a.attempt)
	a.whole = err == nil && a.whole && (out.Result.Finish == provider.Stop || out.Result.Finish == provider.Called)
	return err
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
			Model: t.Model, Stream: a.asked.stream, WithUsage: a.asked.withUsage, Tools: a.asked.tools, Schema: a.asked.schema, Prompt: a.asked.prompt,
			Body: func(w provider.Wire) []byte { return a.asked.in(t.Model, w) },
		}, a)
	default:
		out, err = a.translate(ctx, t)
	}
	if a.err != nil {
		err = a.err
	}
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
		a.err = a.to.data(p, about.Last)
		return a.err
	}
	if !about.Seen && !about.Last && len(a.held)+len(p) <= maxHeld {
		a.held = append(a.held, p...)
		return nil
	}
	a.heard, a.begun = a.handler.deps.Clock(), true
	s, size := a.try.Begin(about.Seen), -1
	if about.Last {
		size = len(p)
	}
	if len(a.held) > 0 {
		p, size = append(a.held, p...), -1
	}
	a.whole = s.Rung == 0
	if a.err = a.to.begin(head{Target: s.Name + "/" + s.Model, Rung: s.Rung, Skipped: skipped(s.Skipped)}, size); a.err == nil {
		a.err = a.to.data(p, about.Last)
	}
	if !about.Last {
		a.sent = a.handler.deps.Clock()
	}
	return a.err
}

// skipped says which targets failed before the one that answers, and why.
func skipped(all []route.Skip) string {
	parts := make([]string, len(all))
	for i, s := range all {
		parts[i] = s.Name + "=" + strings.ToLower(fault.ReasonName(s.Fault.Reason))
	}
	return strings.Join(parts, ", ")
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

package turn

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
)

// writer takes the answer's text as it comes, lets it through the citation filter and emits text and citations.
type writer struct {
	r       *run
	filter  *citing.Filter
	citer   *citing.Citer
	answer  strings.Builder
	cited   int // bytes of citations so far
	dropped bool
	full    bool // the answer reached its bound
	// stale says why what was sent is taken back as soon as there is something else to say; empty when it isn't.
	stale string
}

func (r *run) newWriter() *writer {
	return &writer{r: r, filter: citing.NewFilter(r.numbers()), citer: r.newCiter()}
}

func (r *run) numbers() []uint32 {
	numbers := make([]uint32, len(r.turn.Sources))
	for i, s := range r.turn.Sources {
		numbers[i] = s.Number
	}
	return numbers
}

func (r *run) newCiter() *citing.Citer {
	sources := make([]citing.Source, len(r.turn.Sources))
	for i, s := range r.turn.Sources {
		sources[i] = citing.Source{Number: s.Number, Text: s.text()}
	}
	return citing.NewCiter(sources, verifier())
}

// again begins the answer again. What was sent stays until there is something else to say: a beginning is better than
// nothing.
func (w *writer) again(reason string) {
	w.filter, w.full = citing.NewFilter(w.r.numbers()), false
	if w.answer.Len() > 0 && w.stale == "" {
		w.stale = reason
	}
}

// takeBack forgets what was sent, and says so.
func (w *writer) takeBack() {
	w.answer.Reset()
	w.r.turn.Citations = nil
	w.citer, w.cited, w.dropped = w.r.newCiter(), 0, false
	w.r.emit.send(Event{Restarted: &Restarted{Reason: w.stale}})
	w.stale = ""
}

// verifier is evidence's verification as citing wants it. Sources are cited again and again, so each of their sentences is
// read once.
func verifier() citing.Verify {
	quotes := map[string]*evidence.Quote{}
	return func(said string) citing.Judge {
		claim := evidence.NewClaim(said)
		return func(quote string) (evidence.Support, float64) {
			read, met := quotes[quote]
			if !met {
				read = evidence.NewQuote(quote)
				quotes[quote] = read
			}
			return claim.Verify(read)
		}
	}
}

// limit narrows the numbers that may be cited to the sources that the model was shown.
func (w *writer) limit(ids []string) {
	shown := make(map[string]bool, len(ids))
	for _, id := range ids {
		shown[id] = true
	}
	var numbers []uint32
	for _, s := range w.r.turn.Sources {
		if shown[s.ID] {
			numbers = append(numbers, s.Number)
		}
	}
	w.filter.Limit(numbers)
}

// restart lets go of what was held, and allows every source again.
func (w *writer) restart() {
	if !w.full {
		w.put(w.filter.Close())
	}
	w.filter.Restart(w.r.numbers())
}

func (w *writer) write(piece string) {
	if w.full {
		return
	}
	w.put(w.filter.Write(strings.ToValidUTF8(piece, "\uFFFD")))
}

// close lets go of what was held.
func (w *writer) close() {
	if !w.full {
		w.put(w.filter.Close())
	}
	w.r.turn.Answer = w.answer.String()
}

func (w *writer) put(s string, markers []citing.Marker) {
	if s == "" {
		return
	}
	if w.stale != "" {
		w.takeBack()
	}
	if w.answer.Len()+len(s) > maxAnswer {
		s, w.full = clip(s, maxAnswer-w.answer.Len()), true
	}
	if w.r.turn.FirstToken == 0 && strings.TrimSpace(s) != "" {
		w.r.turn.FirstToken = max(w.r.since(), 1)
		w.r.a.metrics.firstToken.Observe(w.r.turn.FirstToken.Seconds())
	}
	w.answer.WriteString(s)
	w.r.emit.send(Event{Delta: s})
	for _, m := range markers {
		if m.End <= w.answer.Len() {
			w.cite(m)
		}
	}
}

func (w *writer) cite(m citing.Marker) {
	if w.dropped {
		return
	}
	source := w.r.turn.Sources[m.Number-1]
	c := Citation{Citation: w.citer.Cite(w.answer.String(), m), SourceID: source.ID}
	if p := source.Passage; p != nil {
		c.SourceStart, c.SourceEnd = p.Start+uint64(c.QuoteStart), p.Start+uint64(c.QuoteEnd)
		c.DocumentID, c.Title, c.URI = p.DocumentID, p.Title, p.SourceURI
	} else {
		c.Title = source.Tool.Tool
	}
	if w.cited += c.size(); w.cited > maxCiteBytes || len(w.r.turn.Citations) == maxCitations {
		w.dropped = true
		w.r.degrade(Degradation{Stage: "verify", Reason: "too_many", Message: "The answer has more citations than a record holds; the last ones are missing."})
		return
	}
	w.r.turn.Citations = append(w.r.turn.Citations, c)
	w.r.a.metrics.citations.WithLabelValues(c.Support.String()).Inc()
	w.r.emit.send(Event{Citation: &c})
}

// generate asks the model and streams what it says. The error says why the answer is missing or not whole; nil means that
// it is whole.
func (r *run) generate(ctx context.Context, w *writer, history []Turn) error {
	t := &r.turn
	g := Generate{
		Workspace: r.q.Workspace, Session: t.Session, Question: t.Standalone, History: messages(history, r.terms.cfg.History, r.terms.cfg.Tokens, t.Standalone),
		Sources: t.Sources, PromptID: t.Plan.PromptID, Variables: t.Plan.Variables, Model: r.q.Model, Language: t.Language, Form: r.q.Form,
	}
	input := map[string]any{"question": g.Question, "history": len(g.History), "sources": len(g.Sources), "prompt_id": g.PromptID, "model": g.Model, "language": g.Language}
	if !g.Form.isZero() {
		input["form"] = g.Form
	}
	ctx, st := r.stage(ctx, "generate", llmGateway, input,
		attribute.String("gen_ai.operation.name", "chat"), attribute.String("gen_ai.request.model", g.Model), attribute.String("gen_ai.conversation.id", r.turn.Session))
	r.a.metrics.toModel.Observe(st.begin.Seconds())
	r.rest() // what the model says is passed on as it comes
	repeats, err := r.insist(ctx, w, g)
	if gen := t.Generation; gen != nil {
		st.span.SetAttributes(attribute.String("gen_ai.provider.name", gen.Provider), attribute.String("gen_ai.response.model", gen.ProviderModel),
			attribute.Int("gen_ai.usage.input_tokens", int(t.Usage.Prompt)), attribute.Int("gen_ai.usage.output_tokens", int(t.Usage.Completion)),
			attribute.StringSlice("gen_ai.response.finish_reasons", []string{t.Finish.String()}))
	}
	status := StatusOK
	if err != nil {
		status = StatusFailed
		if w.answer.Len() > 0 {
			status = StatusDegraded
		}
	}
	out := map[string]any{"generation": t.Generation, "finish": t.Finish.String(), "usage": t.Usage, "bytes": w.answer.Len()}
	if repeats > 0 {
		out["repeats"] = repeats
	}
	st.end(status, out, err)
	return err
}

const (
	// maxRepeats is how often an answer is asked for again while nothing of it has come: for as long as a load balancer may
	// still lead to a gateway that is gone. maxRestarts is how often one is that had begun.
	maxRepeats  = 5
	maxRestarts = 2
	firstPause  = 50 * time.Millisecond
)

// insist asks the model, and asks again when the gateway goes away meanwhile: another replica gives the whole answer. What
// the gateway says about its providers is not repeated: it has tried all it can.
func (r *run) insist(ctx context.Context, w *writer, g Generate) (repeats int, err error) {
	r.mu.Lock()
	before := len(r.turn.Degradations)
	r.mu.Unlock()
	r.a.again.Call()
	restarts, tries := 0, 0
	begun, pause := time.Now(), firstPause
	budget := r.terms.cfg.Budget.FirstToken
	for {
		err = r.stream(ctx, w, g, budget)
		if err == nil || !gatewayGone(err) || ctx.Err() != nil {
			return repeats, err
		}
		sent := w.answer.Len() > 0 && w.stale == ""
		if sent { // it had begun: a new start, with its own time
			restarts++
			begun, pause, tries = time.Now(), firstPause, 0
		}
		tries++
		budget = r.terms.cfg.Budget.FirstToken - time.Since(begun) - pause
		if tries > maxRepeats || restarts > maxRestarts || sent && r.q.Committed || budget <= 0 || !r.a.again.Take(time.Now()) || repeat.Pause(ctx, pause) != nil {
			return repeats, err
		}
		pause *= 2
		repeats++
		r.a.metrics.repeats.WithLabelValues(yes(sent)).Inc()
		w.again(fault.ReasonName(fault.ReasonOf(err)))
		r.mu.Lock()
		r.turn.Degradations = r.turn.Degradations[:before]
		r.mu.Unlock()
	}
}

// gatewayGone says that the llm-gateway, or the way to it, broke, and not what is behind it.
func gatewayGone(err error) bool {
	if fault.KindOf(err) != fault.Unavailable {
		return false
	}
	reason := fault.ReasonOf(err)
	return reason == fault.ServiceUnavailable || reason == fault.Draining
}

// stream reads the model's stream under two watches: the first text has to come within budget, each further one within
// another. The reader is a goroutine of its own, which ends with ctx.
func (r *run) stream(parent context.Context, w *writer, g Generate, budget time.Duration) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	parts := r.read(ctx, g)
	watch := time.NewTimer(budget)
	defer watch.Stop()
	for {
		select {
		case <-parent.Done():
			return context.Cause(parent)
		case <-watch.C:
			return fault.New(fault.Timeout, fault.DeadlineExceeded, "the model said nothing for %s", budget)
		case p := <-parts:
			if p.err != nil {
				return p.err
			}
			if done := r.take(w, p.Part); done {
				return nil
			}
			if p.Text != "" { // counted from here: taking it may have waited for a slow reader
				budget = r.terms.cfg.Budget.Idle
				watch.Reset(budget)
			}
		}
	}
}

type read struct {
	Part
	err error
}

// read passes the stream's parts on until one is an error, the last one or ctx ends.
func (r *run) read(ctx context.Context, g Generate) <-chan read {
	parts := make(chan read)
	r.a.calls.Go(func() {
		pass := func(p read) bool {
			select {
			case parts <- p:
				return true
			case <-ctx.Done():
				return false
			}
		}
		_, err := within(ctx, &r.a.calls, r.terms.cfg.Budget.Turn, func(ctx context.Context) (struct{}, error) {
			s, err := r.a.model.Generate(ctx, g)
			if err != nil {
				return struct{}{}, err
			}
			defer s.Close()
			for {
				p, err := s.Next()
				if errors.Is(err, io.EOF) {
					return struct{}{}, fault.New(fault.Unavailable, fault.ProviderStreamCut, "the model's answer ended before its end")
				}
				if err != nil {
					return struct{}{}, err
				}
				if !pass(read{Part: p}) || p.Completed != nil {
					return struct{}{}, nil
				}
			}
		})
		if err != nil {
			pass(read{err: err})
		}
	})
	return parts
}

// take handles one part; it reports true after the last.
func (r *run) take(w *writer, p Part) bool {
	switch {
	case p.Started != nil:
		gen := *p.Started
		for _, d := range gen.Degradations {
			r.degrade(d)
		}
		r.revision(llmGateway, gen.Revision)
		r.turn.Generation = bounded(gen)
		w.limit(gen.SourceIDs)
	case p.Text != "":
		w.write(p.Text)
		if w.full {
			r.turn.Finish = FinishLength
			return true
		}
	case p.Completed != nil:
		r.turn.Finish, r.turn.Usage = p.Completed.Finish, p.Completed.Usage
		return true
	}
	return false
}

func bounded(g Generation) *Generation {
	for _, s := range []*string{&g.PromptID, &g.CanaryOf, &g.PromptHash, &g.PromptRevision, &g.Model, &g.Provider, &g.ProviderModel, &g.Revision} {
		*s = clip(*s, maxName)
	}
	g.SourceIDs = g.SourceIDs[:min(len(g.SourceIDs), maxSources)]
	g.Degradations = nil // they are the turn's
	return &g
}

// quote answers with the best sentences of the sources, word for word. It reports false when there is none.
func (r *run) quote(w *writer, sentences []evidence.Sentence) bool {
	var b strings.Builder
	for _, s := range r.turn.Sources {
		if s.Tool != nil {
			b.WriteString("- " + s.Tool.Tool + ": " + clip(oneLine(s.Tool.Text), citing.MaxQuote) + " [" + number32(s.Number) + "]\n")
		}
	}
	for _, s := range sentences[:min(len(sentences), 3)] {
		if s.Passage < len(r.turn.Sources) {
			b.WriteString("- " + clip(oneLine(s.Text), citing.MaxQuote) + " [" + number32(r.turn.Sources[s.Passage].Number) + "]\n")
		}
	}
	if b.Len() == 0 {
		return false
	}
	w.restart()
	if w.answer.Len() > 0 {
		w.write("\n\n")
	}
	w.write(quotesLead(r.turn.Language))
	w.write(strings.TrimSuffix(b.String(), "\n"))
	return true
}

// oneLine joins the lines of s; a bracket that could be read as a marker is none of ours.
func oneLine(s string) string { return citing.WithoutMarkers(strings.Join(strings.Fields(s), " ")) }

func number32(n uint32) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return number32(n/10) + number32(n%10)
}

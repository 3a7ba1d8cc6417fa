package turn

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/services/dialog/internal/fair"
)

// Deps are what an Answerer works with.
type Deps struct {
	Retriever Retriever
	Tools     Tools
	Model     Model
	Models    Models // nil when no model makes follow-ups standalone
	Store     Store
	Planner   Planner
	// Switchboard reaches turns in other processes; nil when there are none.
	Switchboard Switchboard
	// NewID returns ids of turns and sessions that sort by time.
	NewID func() string
	Now   func() time.Time
	// Revision is the content hash of dialog's own configuration.
	Revision string
	// Limits bound how many questions come and wait.
	Limits   fair.Config
	Tracer   trace.Tracer
	Registry prometheus.Registerer
	Log      func(context.Context) zerolog.Logger
}

// Answerer answers questions. It is safe for concurrent use.
type Answerer struct {
	terms     atomic.Pointer[terms]
	retriever Retriever
	tools     Tools
	model     Model
	models    Models
	store     Store
	others    Switchboard
	newID     func() string
	now       func() time.Time
	tracer    trace.Tracer
	metrics   *metrics
	reader    *evidence.Reader
	log       func(context.Context) zerolog.Logger

	limits    atomic.Pointer[fair.Config]
	questions *fair.Questions
	line      *line.Line
	pace      *pace

	calls sync.WaitGroup // turns, and every goroutine that asks a peer
	again repeat.Allowance

	mu       sync.Mutex
	running  int
	draining bool
	turns    map[string]*under // turns under way, by id
}

// The bounds of the passages that are remembered as read, in bytes and in time without use.
const (
	maxRead    = 8 << 20
	maxReadAge = 10 * time.Minute
)

// New returns an Answerer.
func New(cfg Config, deps Deps) (*Answerer, error) {
	m, err := newMetrics(deps.Registry)
	if err != nil {
		return nil, err
	}
	a := &Answerer{
		retriever: deps.Retriever, tools: deps.Tools, model: deps.Model, models: deps.Models, store: deps.Store, others: deps.Switchboard,
		newID: deps.NewID, now: deps.Now, tracer: deps.Tracer, metrics: m, log: deps.Log,
		reader:    evidence.NewReader(maxRead, maxReadAge),
		turns:     map[string]*under{},
		questions: fair.NewQuestions(), line: line.New(deps.Limits.Bounds(cfg.Limit), m.line()),
	}
	a.pace = newPace(crowded)
	a.limits.Store(&deps.Limits)
	a.Use(cfg, deps.Planner, deps.Revision)
	return a, nil
}

// terms are what a turn is answered on from its beginning to its end. They do not change; a configuration that does makes
// others.
type terms struct {
	cfg      Config
	planner  Planner
	revision string
}

// Use has turns that begin from now on answered on other terms. Turns under way keep theirs.
func (a *Answerer) Use(cfg Config, planner Planner, revision string) {
	a.terms.Store(&terms{cfg: cfg, planner: planner, revision: revision})
	a.line.Use(a.limits.Load().Bounds(cfg.Limit))
	a.pace.use(cfg.Computing, *a.limits.Load())
}

// Revision returns the revision that turns beginning now carry.
func (a *Answerer) Revision() string { return a.terms.Load().revision }

// SaveFor is how long writing a turn that begins now may take.
func (a *Answerer) SaveFor() time.Duration { return a.terms.Load().cfg.Budget.Save }

// Ask answers q and sends the turn's events to sink, started first, completed or failed last; before started only that the
// question waits for its place, where it does. It returns an error only when no turn came about: the question was refused, or
// its request id leads elsewhere. A caller that goes away ends ctx; the turn is then saved as interrupted, as it is when somebody
// calls Stop.
func (a *Answerer) Ask(ctx context.Context, q Question, sink Sink) error {
	if err := check(q); err != nil {
		return err
	}
	arrived := a.now()
	emit := newEmitter(sink)
	leave, waited, err := a.admit(ctx, q, emit)
	if err != nil {
		return err
	}
	defer leave()
	ctx, span := a.tracer.Start(ctx, "turn", trace.WithAttributes(
		attribute.String("gen_ai.operation.name", "invoke_agent"), attribute.String("ragmesh.workspace", q.Workspace)))
	defer span.End()

	r := &run{a: a, terms: a.terms.Load(), q: q, emit: emit, started: arrived, rest: func() {}}
	r.compute(ctx, searchFor)
	defer func() { r.rest() }()
	r.turn = Turn{
		ID: a.newID(), Session: q.Session, Workspace: q.Workspace, RequestID: q.RequestID, User: q.User, Replaces: q.Replaces,
		Question: q.Text, Standalone: q.Text, Language: languageOf(q.Text, ""), StartedAt: r.started,
		TraceID: span.SpanContext().TraceID().String(), Revisions: map[string]string{},
	}
	if !span.SpanContext().HasTraceID() {
		r.turn.TraceID = ""
	}
	r.revision(self, r.terms.revision)
	if q.Session == "" {
		r.turn.Session, r.turn.Opens = a.newID(), true
	}
	history, earlier, err := r.load(ctx)
	a.metrics.loaded(r, err)
	switch {
	case err != nil:
		return err
	case earlier != nil:
		return replay(*earlier, emit)
	}
	span.SetAttributes(attribute.String("gen_ai.conversation.id", r.turn.Session), attribute.String("ragmesh.turn.id", r.turn.ID))

	budget := r.terms.cfg.Budget.Turn
	if deadline, ok := ctx.Deadline(); ok { // leave time to save and to say how it ended
		budget = min(budget, time.Until(deadline)*9/10)
	}
	work, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	stopped, done := a.begin(work, r, cancel)
	defer done()
	emit.onLost(cancel)
	r.waited(waited)
	var beats sync.WaitGroup
	beats.Go(func() { r.emit.beat(work, r.terms.cfg.Budget.Heartbeat) })
	r.answer(work, history)
	cancel()
	beats.Wait()
	if ctx.Err() != nil || r.emit.lost() || stopped() && r.turn.Outcome == Running {
		r.turn.Outcome, r.turn.Failure = Interrupted, nil
	}
	r.finish(ctx)
	span.SetAttributes(attribute.String("ragmesh.turn.outcome", r.turn.Outcome.String()))
	return nil
}

// check refuses what could not even be written down.
func check(q Question) error {
	switch {
	case strings.TrimSpace(q.Text) == "":
		return fault.New(fault.Invalid, fault.InvalidRequest, "the question is empty; ask something").WithField("question", "must hold more than white space")
	case q.Replaces != "" && q.Session == "":
		return fault.New(fault.Invalid, fault.InvalidRequest, "a turn can only be replaced in its session; give session_id too").WithField("session_id", "must be the session of replaces_turn_id")
	case len(q.Text) > maxQuestion:
		return fault.New(fault.Invalid, fault.RequestTooLarge, "the question is longer than 32 KiB; shorten it, or add the text as a document").WithField("question", "at most 32768 bytes")
	}
	return nil
}

// answer takes the turn from its question to its answer. It leaves outcome and failure in the turn.
func (r *run) answer(ctx context.Context, history []Turn) {
	r.emit.send(Event{Started: &Started{Turn: r.turn.ID, Session: r.turn.Session, TraceID: r.turn.TraceID}})
	r.rewrite(ctx, history)
	r.plan(ctx)
	w := r.newWriter()
	if r.turn.Plan.Reply != nil {
		w.write(reply(r.turn.Plan.Reply, r.turn.Language))
		w.close()
		r.turn.Outcome, r.turn.Finish = Answered, FinishStop
		return
	}
	found := r.gather(ctx)
	if found.refused != nil {
		r.fail(found.refused)
		return
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	sentences := r.weigh(ctx, found)
	for i := range r.turn.Sources {
		r.emit.send(Event{Source: &r.turn.Sources[i]})
	}
	w = r.newWriter()
	defer r.verified(ctx)
	defer w.close()
	if !r.turn.Evidence.Sufficient {
		w.write(abstention(&r.turn, found.searchFailed, found.failed()))
		r.turn.Outcome, r.turn.Finish = Abstained, FinishAbstained
		r.a.metrics.abstentions.WithLabelValues(byEvidence).Inc()
		return
	}
	err := r.generate(ctx, w, history)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // interrupted: whatever the model says about that
	}
	r.conclude(err, w, sentences)
}

// conclude decides how the turn ended from how the generation did.
func (r *run) conclude(err error, w *writer, sentences []evidence.Sentence) {
	t := &r.turn
	if err == nil {
		t.Outcome = Answered
		if t.Finish == FinishAbstained {
			t.Outcome = Abstained
			r.a.metrics.abstentions.WithLabelValues(byModel).Inc()
		}
		return
	}
	if errors.Is(err, context.Canceled) || fault.KindOf(err) == fault.Canceled && r.emit.lost() {
		return // interrupted
	}
	f := fault.As(err)
	if r.q.PromptID != "" && f.Reason == fault.PromptNotFound || r.q.Model != "" && f.Reason == fault.ModelNotFound {
		r.fail(f)
		return
	}
	r.degrade(Degradation{Stage: llmGateway, Reason: reasonOf(err), Message: "The language model did not finish: " + f.Message})
	if sensible(w.answer.String()) || r.quote(w, sentences) {
		t.Outcome = Answered
		return
	}
	r.fail(fault.New(f.Kind, fault.ServiceUnavailable, noModel))
}

// sensible reports whether a text that was cut off holds a sentence at least.
func sensible(s string) bool {
	return strings.ContainsAny(s, "。！？") || strings.Contains(s, ". ") || strings.Contains(s, ".\n") || strings.Contains(s, "].") || strings.HasSuffix(strings.TrimSpace(s), ".")
}

func (r *run) fail(f *fault.Error) {
	r.turn.Outcome = Failed
	r.turn.Failure = &Failure{Reason: fault.ReasonName(f.Reason), Message: clip(f.Message, maxFailure)}
}

// plan decides what to do. Tools that can't be listed are not called.
func (r *run) plan(ctx context.Context) {
	ctx, st := r.stage(ctx, "plan", self, map[string]string{"question": r.turn.Standalone})
	names, err := within(ctx, &r.a.calls, r.terms.cfg.Budget.Plan, func(ctx context.Context) ([]string, error) { return r.a.tools.Enabled(ctx, r.q.Workspace) })
	enabled := make(map[string]bool, len(names))
	for _, name := range names {
		enabled[name] = true
	}
	p := r.terms.planner.Plan(r.turn.Standalone, func(tool string) bool { return enabled[tool] })
	if r.q.PromptID != "" {
		p.PromptID, p.Variables = r.q.PromptID, nil // its own defaults
	}
	if r.q.Strategy != "" {
		p.Strategy = r.q.Strategy
	}
	r.turn.Plan = p
	status := StatusOK
	if err != nil {
		status = StatusDegraded
		// Only worth a word when a tool would have been called: most questions need none.
		if wanted := r.terms.planner.Plan(r.turn.Standalone, func(string) bool { return true }); len(wanted.Calls) > 0 {
			r.degrade(Degradation{Stage: tools, Reason: reasonOf(err), Message: "The tools service does not answer; the question was answered without it."})
		}
	}
	st.end(status, map[string]any{"intents": p.Intents, "retrieve": p.Retrieve, "calls": p.Calls, "prompt_id": p.PromptID, "strategy": p.Strategy}, err)
	r.emit.send(Event{Plan: &p})
}

// verified records what the verification of the citations, done as they came, found.
func (r *run) verified(ctx context.Context) {
	if len(r.turn.Citations) == 0 {
		return
	}
	found := map[string]int{}
	for _, c := range r.turn.Citations {
		found[c.Support.String()]++
	}
	_, st := r.stage(ctx, "verify", self, map[string]int{"citations": len(r.turn.Citations)})
	st.end(StatusOK, found, nil)
}

// patience is what a save may take beyond its budget until it counts as failed: the store gives up on the stream in time, but
// a disk under load takes as long as it takes.
const patience = 15 * time.Second

// finish saves the turn and sends its end. The save has its own budget, whatever became of the caller.
func (r *run) finish(ctx context.Context) {
	t := &r.turn
	t.CompletedAt = r.a.now()
	t.bound()
	_, span := r.a.tracer.Start(ctx, "turn.save")
	begin := r.since()
	stored, err := within(context.WithoutCancel(ctx), &r.a.calls, r.terms.cfg.Budget.Save+patience, func(ctx context.Context) (Stored, error) { return r.a.store.Save(ctx, *t) })
	span.End()
	r.a.metrics.stages.WithLabelValues("save", saveStatus(stored, err)).Observe((r.since() - begin).Seconds())
	// What became of the record is not in the record: it is in the last event.
	log := r.a.log(ctx)
	switch {
	case err != nil:
		log.Error().Err(err).Str("turn", t.ID).Msg("turn could not be stored")
		r.degrade(Degradation{Stage: "save", Reason: "not_stored", Message: "This turn could not be stored; later questions will not know of it."})
	case stored == StoredSpooled:
		r.degrade(Degradation{Stage: "save", Reason: "spooled", Message: "The turn is stored on this server and will be moved to the turns stream when that is back."})
	}
	r.a.metrics.turns.WithLabelValues(t.Outcome.String(), yes(len(t.Degradations) > 0)).Inc()
	r.a.metrics.duration.Observe(r.since().Seconds())
	log.Info().Str("turn", t.ID).Str("session", t.Session).Str("outcome", t.Outcome.String()).Int("degradations", len(t.Degradations)).
		Int("sources", len(t.Sources)).Int("citations", len(t.Citations)).Dur("took", r.since()).Msg("turn ended")
	end := &Ended{Turn: *t, Stored: stored}
	if t.Outcome == Failed {
		r.emit.send(Event{Failed: end})
		return
	}
	r.emit.send(Event{Completed: end})
}

// saveStatus is how saving shows among the stages: not on the record, which it is about, but in the metrics.
func saveStatus(stored Stored, err error) string {
	switch {
	case err != nil:
		return StatusFailed
	case stored == StoredSpooled:
		return StatusDegraded
	default:
		return StatusOK
	}
}

// bound keeps the small parts within the record's bounds.
func (t *Turn) bound() {
	t.Plan.Intents = t.Plan.Intents[:min(len(t.Plan.Intents), 16)]
	for i, m := range t.Evidence.Missing {
		t.Evidence.Missing[i] = clip(m, maxName)
	}
	t.Question, t.Standalone = clip(t.Question, maxQuestion), clip(t.Standalone, maxQuestion)
}

// replay sends a stored turn's events again.
func replay(t Turn, emit *emitter) error {
	send := emit.send
	send(Event{Started: &Started{Turn: t.ID, Session: t.Session, TraceID: t.TraceID}})
	send(Event{Plan: &t.Plan})
	for i := range t.Sources {
		send(Event{Source: &t.Sources[i]})
	}
	if t.Answer != "" {
		send(Event{Delta: t.Answer})
	}
	for i := range t.Citations {
		send(Event{Citation: &t.Citations[i]})
	}
	end := &Ended{Turn: t, Stored: StoredStream}
	if t.Outcome == Failed {
		send(Event{Failed: end})
	} else {
		send(Event{Completed: end})
	}
	return emit.failure()
}

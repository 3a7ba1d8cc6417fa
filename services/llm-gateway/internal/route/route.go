// Package route makes model names mean something: a name is a ladder of targets, tried in order until one sends its first
// text. Before that a failure costs the next rung; after it, the answer has begun and a failure is the caller's to know.
// Tries, waits and concurrency are bounded, and a try leaves time for the rungs below it.
package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Target is one rung: a provider and its model.
type Target struct {
	// Name is the provider's configured name.
	Name     string
	Provider provider.Provider
	// Model is the provider's own model name.
	Model string
	// Price is what its tokens cost; zero when that is not known.
	Price Price
}

// Price is in a currency, the same for all targets, per million tokens.
type Price struct{ Prompt, Completion float64 }

// micros returns the cost of an answer in millionths of the currency.
func (p Price) micros(u provider.Usage) uint64 {
	return uint64(math.Round(float64(u.Prompt)*p.Prompt + float64(u.Completion)*p.Completion))
}

// Rung is a target's place, as metrics name it.
type Rung struct {
	Route, Provider, Model string
	// Number counts from 0; every other one answers because those above it failed.
	Number int
}

// Skip is a rung that failed before its first text.
type Skip struct {
	Name, Model string
	Fault       *fault.Error
}

// Started says which rung answers.
type Started struct {
	Rung        int
	Name, Model string
	// Skipped are the rungs above it.
	Skipped []Skip
}

// Sink takes an answer: Started once, then text in order. An error ends the answer.
type Sink interface {
	Started(s Started) error
	Text(text string) error
}

// Meter counts tries. Outcome is a finish reason or a fault's reason.
type Meter interface {
	Tried(r Rung, outcome string, took time.Duration)
	FirstText(r Rung, took time.Duration)
	Tokens(r Rung, u provider.Usage)
}

// Options bounds a Router.
type Options struct {
	// Default is the route for requests that name none.
	Default string
	// FirstText is how long a target may take to its first text or sign of work.
	FirstText time.Duration
	// Idle is how long a target may be silent after that.
	Idle time.Duration
}

// Slots bounds answers under way, over all the Routers that share it.
type Slots chan struct{}

// NewSlots returns n slots, at least one.
func NewSlots(n int) Slots { return make(Slots, max(1, n)) }

// Full says whether as many answers are under way as may be.
func (s Slots) Full() bool { return len(s) == cap(s) }

// Deps is what a Router works with. All fields are required.
type Deps struct {
	Meter  Meter
	Tracer trace.Tracer
	// Report gets what a skipped rung must not show to callers.
	Report func(ctx context.Context, route, provider string, cause error)
	Clock  func() time.Time
	Slots  Slots
}

// Router knows the routes. Safe for concurrent use.
type Router struct {
	routes map[string][]Target
	opts   Options
	deps   Deps
}

// New checks routes and returns their Router.
func New(routes map[string][]Target, o Options, deps Deps) (*Router, error) {
	if _, ok := routes[o.Default]; !ok {
		return nil, fmt.Errorf("default_model: there is no model %q", o.Default)
	}
	for name, targets := range routes {
		if len(targets) == 0 {
			return nil, fmt.Errorf("models.%s: no targets", name)
		}
	}
	return &Router{routes: routes, opts: o, deps: deps}, nil
}

// Names returns the routes in order.
func (r *Router) Names() []string { return slices.Sorted(maps.Keys(r.routes)) }

// Default returns the name of the default route.
func (r *Router) Default() string { return r.opts.Default }

// Resolve returns a route's name, where empty is the default, and its first target.
func (r *Router) Resolve(name string) (string, Target, error) {
	name = cmp.Or(name, r.opts.Default)
	targets, ok := r.routes[name]
	if !ok {
		return "", Target{}, fault.New(fault.NotFound, fault.ModelNotFound, "there is no model %q; ListModels names those there are", name)
	}
	return name, targets[0], nil
}

// Outcome is how an answer ended.
type Outcome struct {
	Result provider.Result
	// FirstText is from the beginning to the first text; zero when there was none.
	FirstText time.Duration
}

// Generate answers request over the named route.
func (r *Router) Generate(ctx context.Context, name string, request provider.Request, sink Sink) (Outcome, error) {
	name, _, err := r.Resolve(name)
	if err != nil {
		return Outcome{}, err
	}
	select {
	case r.deps.Slots <- struct{}{}:
		defer func() { <-r.deps.Slots }()
	default:
		return Outcome{}, fault.New(fault.Exhausted, fault.Overloaded, "%d answers are under way already; try again shortly", cap(r.deps.Slots)).
			WithRetryAfter(time.Second)
	}
	began := r.deps.Clock()
	targets := r.routes[name]
	var skipped []Skip
	for rung, target := range targets {
		t := &try{router: r, route: name, target: target, rung: rung, last: rung == len(targets)-1, skipped: skipped, sink: sink, began: began}
		out, err := t.run(ctx, request)
		if err == nil {
			return out, nil
		}
		if t.started || t.last || ctx.Err() != nil {
			return Outcome{}, err
		}
		r.deps.Report(ctx, name, target.Name, err)
		skipped = append(slices.Clip(skipped), Skip{Name: target.Name, Model: target.Model, Fault: fault.As(err)})
	}
	return Outcome{}, fault.New(fault.Internal, fault.ReasonInternal, "the route has no targets") // New refuses such routes
}

// try is one rung's attempt at an answer.
type try struct {
	router  *Router
	route   string
	target  Target
	rung    int
	last    bool
	skipped []Skip
	sink    Sink
	began   time.Time

	started   bool
	firstText time.Duration
	sinkErr   error
}

// Why a try was ended from here.
var (
	errNoText = errors.New("no text in time")
	errIdle   = errors.New("silent for too long")
)

func (t *try) run(ctx context.Context, request provider.Request) (Outcome, error) {
	ctx, span := t.span(ctx, request)
	defer span.End()
	tryBegan := t.router.deps.Clock()
	watched, w := watch(ctx, t.patience(ctx), t.router.opts.Idle)
	defer w.stop()
	request.Model = t.target.Model
	result, err := provider.Generate(watched, t.target.Provider, request, func(p provider.Piece) error {
		w.pause()
		defer w.resume()
		return t.piece(p)
	})
	if err == nil && !t.started {
		err = t.start() // an answer without text
	}
	if err = t.explain(ctx, context.Cause(watched), err); err != nil {
		outcome := fault.ReasonName(fault.ReasonOf(err))
		span.SetStatus(codes.Error, outcome)
		span.SetAttributes(attribute.String("error.type", outcome))
		t.router.deps.Meter.Tried(t.place(), outcome, t.router.deps.Clock().Sub(tryBegan))
		return Outcome{}, err
	}
	result.Usage.CostMicros = t.target.Price.micros(result.Usage)
	span.SetAttributes(
		attribute.StringSlice("gen_ai.response.finish_reasons", []string{result.Finish.String()}),
		attribute.Int("gen_ai.usage.input_tokens", result.Usage.Prompt),
		attribute.Int("gen_ai.usage.output_tokens", result.Usage.Completion),
	)
	t.router.deps.Meter.Tried(t.place(), result.Finish.String(), t.router.deps.Clock().Sub(tryBegan))
	t.router.deps.Meter.Tokens(t.place(), result.Usage)
	return Outcome{Result: result, FirstText: t.firstText}, nil
}

func (t *try) place() Rung {
	return Rung{Route: t.route, Provider: t.target.Name, Model: t.target.Model, Number: t.rung}
}

// span starts the try's span, with the attributes OpenTelemetry's GenAI conventions name.
func (t *try) span(ctx context.Context, request provider.Request) (context.Context, trace.Span) {
	attributes := []attribute.KeyValue{
		attribute.String("gen_ai.operation.name", "chat"),
		attribute.String("gen_ai.provider.name", t.target.Name),
		attribute.String("gen_ai.request.model", t.target.Model),
		attribute.Int("gen_ai.request.max_tokens", request.MaxTokens),
		attribute.String("ragmesh.llm.route", t.route),
		attribute.Int("ragmesh.llm.rung", t.rung),
	}
	if request.Temperature != nil {
		attributes = append(attributes, attribute.Float64("gen_ai.request.temperature", *request.Temperature))
	}
	return t.router.deps.Tracer.Start(ctx, "chat "+t.target.Model, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
}

// patience is how long the target may take to its first text. With rungs below it, it gets at most half of what is left of
// the caller's deadline: an answer from a lower rung is worth more than none.
func (t *try) patience(ctx context.Context) time.Duration {
	d := t.router.opts.FirstText
	if at, ok := ctx.Deadline(); ok && !t.last {
		d = min(d, time.Until(at)/2)
	}
	return max(d, time.Millisecond)
}

func (t *try) piece(p provider.Piece) error {
	if p.Text == "" {
		return nil
	}
	if !t.started {
		t.firstText = t.router.deps.Clock().Sub(t.began)
		t.router.deps.Meter.FirstText(t.place(), t.firstText)
		if err := t.start(); err != nil {
			return err
		}
	}
	t.sinkErr = t.sink.Text(p.Text)
	return t.sinkErr
}

func (t *try) start() error {
	t.started = true
	t.sinkErr = t.sink.Started(Started{Rung: t.rung, Name: t.target.Name, Model: t.target.Model, Skipped: t.skipped})
	return t.sinkErr
}

// explain says why a try ended: the caller went first, then the sink, then our own clocks, then the provider.
func (t *try) explain(ctx context.Context, cause, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case t.sinkErr != nil:
		return t.sinkErr
	case errors.Is(cause, errNoText):
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent no text in time")
	case errors.Is(cause, errIdle):
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider stopped in the middle of its answer")
	default:
		return err
	}
}

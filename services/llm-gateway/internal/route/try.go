package route

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Try is one target's attempt at an answer, as the Attempt sees it. Its methods are for the goroutine that takes what the
// provider sends.
type Try struct {
	router  *Router
	route   string
	target  Target
	rung    int
	last    bool
	skipped []Skip
	began   time.Time
	watch   *watcher

	started   bool
	firstText time.Duration
}

// Begin says that the caller is to see this try's answer, and returns what it may be told of it. text is false when that
// holds neither text nor calls. It is called once, before the caller sees anything.
func (t *Try) Begin(text bool) Started {
	t.started = true
	if text {
		t.firstText = t.router.deps.Clock().Sub(t.began)
		t.router.deps.Meter.FirstText(t.place(), t.firstText)
	}
	return Started{Rung: t.rung, Name: t.target.Name, Model: t.target.Model, Skipped: t.skipped}
}

// Begun says whether Begin was called.
func (t *Try) Begun() bool { return t.started }

// Alive says that the target has sent something: it may be silent for the idle time from now on.
func (t *Try) Alive() { t.watch.resume() }

// Pause stops the target's clock until the next Alive, while what it sent is with the caller, who may be slow.
func (t *Try) Pause() { t.watch.pause() }

// Why a try was ended from here.
var (
	errNoText = errors.New("no text in time")
	errIdle   = errors.New("silent for too long")
)

func (t *Try) run(ctx context.Context, o CallOptions, attempt Attempt, out *Outcome) (provider.Result, error) {
	ctx, span := t.span(ctx, o.Attributes)
	defer span.End()
	tryBegan := t.router.deps.Clock()
	watched, w := watch(ctx, t.patience(ctx), t.router.opts.Idle)
	defer w.stop()
	t.watch = w
	result, err := attempt(watched, t.target, t)
	err = t.explain(ctx, context.Cause(watched), err)
	result.Usage.CostMicros = t.target.Price.Micros(result.Usage)

	tried := Tried{Rung: t.place(), Usage: result.Usage, Took: t.router.deps.Clock().Sub(tryBegan)}
	if err == nil {
		tried.Outcome = result.Finish.String()
		span.SetAttributes(attribute.StringSlice("gen_ai.response.finish_reasons", []string{tried.Outcome}))
	} else {
		tried.Outcome = fault.ReasonName(fault.ReasonOf(err))
		span.SetStatus(codes.Error, tried.Outcome)
		span.SetAttributes(attribute.String("error.type", tried.Outcome))
	}
	if err == nil || result.Usage != (provider.Usage{}) {
		span.SetAttributes(
			attribute.Int("gen_ai.usage.input_tokens", result.Usage.Prompt),
			attribute.Int("gen_ai.usage.output_tokens", result.Usage.Completion),
		)
		t.router.deps.Meter.Tokens(tried.Rung, result.Usage)
	}
	t.router.deps.Meter.Tried(tried.Rung, tried.Outcome, tried.Took)
	if o.Ledger != nil {
		o.Ledger.Tried(tried.Rung, tried.Outcome, tried.Usage, tried.Took)
	}
	out.Tries = append(out.Tries, tried)
	return result, err
}

func (t *Try) place() Rung {
	return Rung{Route: t.route, Provider: t.target.Name, Model: t.target.Model, Number: t.rung}
}

// span starts the try's span, with the attributes OpenTelemetry's GenAI conventions name.
func (t *Try) span(ctx context.Context, request []attribute.KeyValue) (context.Context, trace.Span) {
	return t.router.deps.Tracer.Start(ctx, "chat "+t.target.Model, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("gen_ai.operation.name", "chat"),
		attribute.String("gen_ai.provider.name", t.target.Name),
		attribute.String("gen_ai.request.model", t.target.Model),
		attribute.String("ragmesh.llm.route", t.route),
		attribute.Int("ragmesh.llm.rung", t.rung),
	), trace.WithAttributes(request...))
}

// patience is how long the target may take to its first text. With rungs below it, it gets at most half of what is left of
// the caller's deadline: an answer from a lower rung is worth more than none.
func (t *Try) patience(ctx context.Context) time.Duration {
	d := t.router.opts.FirstText
	if at, ok := ctx.Deadline(); ok && !t.last {
		d = min(d, time.Until(at)/2)
	}
	return max(d, time.Millisecond)
}

// explain says why a try ended: the caller went first, then our own clocks, then what the attempt says itself.
func (t *Try) explain(ctx context.Context, cause, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(cause, errNoText):
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent no text in time")
	case errors.Is(cause, errIdle):
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider stopped in the middle of its answer")
	default:
		return err
	}
}

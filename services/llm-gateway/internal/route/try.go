package route

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Try is one target's attempt at an answer, as the Attempt sees it. Its methods are for the goroutine that takes what the
// provider sends.
type Try struct {
	call     *call
	rung     *rung
	place    Rung
	patience time.Duration
	permit   *breaker.Permit // nil for a target that answers here
	watch    *watcher
	began    time.Time
	first    time.Duration // to its first text, of streams
}

// Begin says that the caller is to see this try's answer, and returns what it may be told of it. text is false when that
// holds neither text nor calls. It is called once, before the caller sees anything.
func (t *Try) Begin(text bool) Started {
	t.call.begun = true
	if t.permit != nil {
		t.permit.Alive()
	}
	if text && !t.call.o.Whole {
		now := t.call.deps.Clock()
		took := now.Sub(t.call.began)
		t.first = now.Sub(t.began)
		t.call.out.FirstText = took
		t.call.deps.Meter.FirstText(t.place, took)
	}
	return Started{Rung: t.place.Number, Name: t.rung.Name, Model: t.rung.Model, Skipped: t.call.skipped}
}

// Begun says whether Begin was called.
func (t *Try) Begun() bool { return t.call.begun }

// Alive says that the target has sent something: it may be silent for the idle time from now on.
func (t *Try) Alive() { t.watch.resume() }

// Pause stops the target's clock until the next Alive, while what it sent is with the caller, who may be slow.
func (t *Try) Pause() { t.watch.pause() }

// Why a try was ended from here.
var (
	errNoText = errors.New("no text in time")
	errIdle   = errors.New("silent for too long")
	errSlow   = errors.New("the try took too long")
)

func (t *Try) run(ctx context.Context) error {
	c := t.call
	ctx, span := t.span(ctx)
	defer span.End()
	t.began = c.deps.Clock()
	watched, w := watch(ctx, t.patience, t.rung.Idle)
	defer w.stop()
	t.watch = w
	if t.rung.Timeout > 0 {
		var cancel context.CancelFunc
		watched, cancel = context.WithTimeoutCause(watched, t.rung.Timeout, errSlow)
		defer cancel()
	}
	result, err := c.attempt(watched, t.rung.Target, t)
	err = t.explain(ctx, context.Cause(watched), err)
	t.judge(ctx, err)
	result.Usage.CostMicros = t.rung.Price.Micros(result.Usage)

	tried := Tried{Rung: t.place, Usage: result.Usage, Took: c.deps.Clock().Sub(t.began)}
	if err == nil {
		c.out.Result = result
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
		c.deps.Meter.Tokens(tried.Rung, result.Usage)
	}
	c.deps.Meter.Tried(tried.Rung, tried.Outcome, tried.Took)
	c.deps.Meter.Answered(tried, t.first)
	if c.o.Ledger != nil {
		c.o.Ledger.Tried(tried.Rung, tried.Outcome, tried.Usage, tried.Took)
	}
	c.out.Tries = append(c.out.Tries, tried)
	return err
}

// span starts the try's span, with the attributes OpenTelemetry's GenAI conventions name.
func (t *Try) span(ctx context.Context) (context.Context, trace.Span) {
	return t.call.deps.Tracer.Start(ctx, "chat "+t.rung.Model, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("gen_ai.operation.name", "chat"),
		attribute.String("gen_ai.provider.name", t.rung.Name),
		attribute.String("gen_ai.request.model", t.rung.Model),
		attribute.String("ragmesh.llm.route", t.place.Route),
		attribute.Int("ragmesh.llm.rung", t.place.Number),
	), trace.WithAttributes(t.call.o.Attributes...))
}

// explain says why a try ended: the caller went first, then our own clocks, then what the attempt says itself.
func (t *Try) explain(ctx context.Context, cause, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ended(ctx, err)
	case errors.Is(cause, errNoText):
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent no text in time")
	case errors.Is(cause, errSlow) && t.Begun():
		return fault.Wrap(cause, fault.Timeout, fault.DeadlineExceeded, "the model's provider took longer for its answer than the target's timeout allows")
	case errors.Is(cause, errSlow):
		return fault.Wrap(errors.Join(cause, errNoText), fault.Unavailable, fault.ProviderUnavailable, "the model's provider sent no text in time")
	case errors.Is(cause, errIdle) && t.Begun():
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderStreamCut, "the model's provider fell silent in the middle of its answer")
	case errors.Is(cause, errIdle):
		return fault.Wrap(cause, fault.Unavailable, fault.ProviderUnavailable, "the model's provider fell silent before its first text")
	default:
		return err
	}
}

// fairTime is how long a target must have had at least for its silence to say something of it.
const fairTime = 2 * time.Second

// judge tells the breaker what the try says of the target.
func (t *Try) judge(ctx context.Context, err error) {
	if t.permit == nil {
		return
	}
	now := t.call.deps.Clock()
	f := fault.As(err)
	verdict := breaker.Neutral
	switch {
	case err == nil:
		verdict = breaker.Good
	case ctx.Err() != nil:
	case errors.Is(err, errNoText):
		if t.patience >= min(fairTime, t.rung.FirstText/2) {
			verdict = breaker.Bad
		}
	case f.Reason == fault.ProviderRateLimited && f.RetryAfter > 0:
		t.rung.health.RestUntil(now.Add(min(f.RetryAfter, longestRest))) // it works, and has said when
	case f.Reason == fault.ProviderRateLimited, f.Reason == fault.ProviderUnavailable, f.Reason == fault.ProviderStreamCut, errors.Is(err, provider.ErrUnusable):
		verdict = breaker.Bad
	}
	t.permit.Done(verdict, now)
}

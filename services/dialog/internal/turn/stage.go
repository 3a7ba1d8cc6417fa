package turn

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/stack"
)

// The services that do a turn's stages.
const (
	self       = "dialog"
	retriever  = "retriever"
	tools      = "tools"
	llmGateway = "llm-gateway"
)

// run is one turn under way. Its stages may run at the same time: what they write is behind mu.
type run struct {
	a       *Answerer
	terms   *terms
	q       Question
	emit    *emitter
	started time.Time
	rest    func() // ends the time for which the turn counts as computing

	mu   sync.Mutex
	turn Turn
}

func (r *run) since() time.Duration { return r.a.now().Sub(r.started) }

// stage is a step under way: a record, an event and a span.
type stage struct {
	r     *run
	index int // in turn.Stages; -1 when the record is full
	name  string
	begin time.Duration
	span  trace.Span
}

// stage begins a step. in is kept as JSON.
func (r *run) stage(ctx context.Context, name, service string, in any, attributes ...attribute.KeyValue) (context.Context, *stage) {
	ctx, span := r.a.tracer.Start(ctx, "turn."+name, trace.WithAttributes(attributes...))
	s := &stage{r: r, index: -1, name: name, begin: r.since(), span: span}
	r.mu.Lock()
	if len(r.turn.Stages) < maxStages {
		s.index = len(r.turn.Stages)
		r.turn.Stages = append(r.turn.Stages, Stage{Name: clip(name, maxName), Service: service, Offset: s.begin, Input: asJSON(in, maxStageInput)})
	}
	r.mu.Unlock()
	r.emit.send(Event{Stage: &StageEvent{Name: name, Status: StatusStarted, Offset: s.begin}})
	return ctx, s
}

// waited records the turn's wait for its place, if there was one.
func (r *run) waited(d time.Duration) {
	if d == 0 {
		return
	}
	r.turn.Stages = append(r.turn.Stages, Stage{Name: stageWait, Service: self, Duration: d, Status: StatusOK})
	r.a.metrics.stages.WithLabelValues(stageWait, StatusOK).Observe(d.Seconds())
	r.emit.send(Event{Stage: &StageEvent{Name: stageWait, Status: StatusOK, Duration: d}})
}

// end closes the step with what came out of it.
func (s *stage) end(status string, out any, err error) {
	took := s.r.since() - s.begin
	s.r.mu.Lock()
	if s.index >= 0 {
		rec := &s.r.turn.Stages[s.index]
		rec.Duration, rec.Status, rec.Output = took, status, asJSON(out, maxStageOutput)
		if err != nil {
			rec.Error = clip(fault.As(err).Message, maxStageError)
		}
	}
	s.r.mu.Unlock()
	if err != nil {
		s.span.RecordError(err)
		s.span.SetStatus(codes.Error, fault.As(err).Message)
	}
	s.span.SetAttributes(attribute.String("ragmesh.stage.status", status))
	s.span.End()
	s.r.a.metrics.stages.WithLabelValues(s.name, status).Observe(took.Seconds())
	s.r.emit.send(Event{Stage: &StageEvent{Name: s.name, Status: status, Offset: s.begin, Duration: took}})
}

// degrade notes that a stage did not do its whole work.
func (r *run) degrade(d Degradation) {
	d = Degradation{Stage: clip(d.Stage, maxName), Reason: clip(d.Reason, maxName), Message: clip(d.Message, maxMessage)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.turn.Degradations) == maxDegradations {
		return
	}
	r.turn.Degradations = append(r.turn.Degradations, d)
	r.a.metrics.degradations.WithLabelValues(d.Stage, d.Reason).Inc()
}

func (r *run) revision(service, hash string) {
	if hash == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn.Revisions[service] = clip(hash, maxName)
}

// searched records which state of the index was searched.
func (r *run) searched(sequence uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn.Index = max(r.turn.Index, sequence)
}

// reasonOf names what an error means for the stage it stopped, for programs.
func reasonOf(err error) string {
	switch fault.KindOf(err) {
	case fault.Timeout:
		return "timeout"
	case fault.Unavailable:
		return "unavailable"
	case fault.Exhausted:
		return "overloaded"
	case fault.Canceled:
		return "canceled"
	case fault.NotFound:
		return "not_found"
	case fault.Invalid, fault.Precondition:
		return "refused"
	case fault.Unauthenticated, fault.Denied:
		return "denied"
	case fault.Unimplemented:
		return "unimplemented"
	default:
		return "error"
	}
}

// grace is how long a call may take to return after its context ended. One that takes longer is left behind: its
// goroutine ends when the call does, and nobody waits for its result.
const grace = 100 * time.Millisecond

// within calls fn with a deadline and returns at that deadline whatever fn does. A panic in fn is its error.
func within[T any](ctx context.Context, calls *sync.WaitGroup, budget time.Duration, fn func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	calls.Add(1)
	go func() {
		stack.Grow()
		defer calls.Done()
		defer cancel()
		var res result
		defer func() {
			if p := recover(); p != nil {
				res.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			done <- res
		}()
		res.value, res.err = fn(ctx)
	}()
	var res result
	select {
	case res = <-done:
	case <-ctx.Done():
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case res = <-done:
		case <-timer.C:
			res.err = ctx.Err()
		}
	}
	if res.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// Whatever a call says about being cut off, the reason is its deadline.
		res.err = fault.Wrap(res.err, fault.Timeout, fault.DeadlineExceeded, "no answer within %s", budget.Round(time.Millisecond))
	}
	return res.value, res.err
}

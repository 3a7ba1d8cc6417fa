package route

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Attempt asks one target. It calls try.Begin once, before the caller sees anything: until then a failure costs the next try,
// after it the answer is this one's. It calls try.Alive at each sign of life, and try.Pause while it waits for its caller. A
// Result that comes with an error has the usage so far. It returns soon after ctx ends.
type Attempt func(ctx context.Context, t Target, try *Try) (provider.Result, error)

// Ledger is told of each try, failed ones too, with what it used as far as that is known.
type Ledger interface {
	Tried(r Rung, outcome string, u provider.Usage, took time.Duration)
}

// CallOptions are those of one request.
type CallOptions struct {
	// Session has targets that are chosen by weight stay the same; empty when the request is on its own.
	Session string
	// Workspace and Key are on whose behalf it is asked: callers share fairly what is scarce.
	Workspace, Key string
	// Ledger may be nil.
	Ledger Ledger
	// Attributes are what the tries' spans say of the request.
	Attributes []attribute.KeyValue
}

// Skip is a rung that failed before its answer began.
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

// Tried is how one try ended. Outcome is a finish reason or a fault's reason.
type Tried struct {
	Rung    Rung
	Outcome string
	Usage   provider.Usage
	Took    time.Duration
}

// Outcome is how an answer ended.
type Outcome struct {
	Result provider.Result
	// FirstText is from the beginning to the first text; zero when there was none.
	FirstText time.Duration
	// Tries are all there were, in order.
	Tries []Tried
}

// Do has attempt ask the targets of the named route until one answers. An Outcome that comes with an error has the tries.
func (r *Router) Do(ctx context.Context, name string, o CallOptions, attempt Attempt) (Outcome, error) {
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
	var out Outcome
	var skipped []Skip
	for rung, target := range targets {
		t := &Try{router: r, route: name, target: target, rung: rung, last: rung == len(targets)-1, skipped: skipped, began: began}
		result, err := t.run(ctx, o, attempt, &out)
		if err == nil {
			out.Result, out.FirstText = result, t.firstText
			return out, nil
		}
		if t.started || t.last || ctx.Err() != nil {
			return out, err
		}
		r.deps.Report(ctx, name, target.Name, err)
		skipped = append(slices.Clip(skipped), Skip{Name: target.Name, Model: target.Model, Fault: fault.As(err)})
	}
	return out, fault.New(fault.Internal, fault.ReasonInternal, "the route has no targets") // New refuses such routes
}

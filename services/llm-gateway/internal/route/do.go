package route

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
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
	// Whole says that targets say nothing until their whole answer is there: they get the time for that.
	Whole bool
	// Elsewhere leaves out the targets that answer here.
	Elsewhere bool
	// Attributes are what the tries' spans say of the request.
	Attributes []attribute.KeyValue
}

// Skip is a rung that failed before its answer began, or was not even tried.
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
	// Cached says that no target was asked: the answer is one that was made before, or for somebody else.
	Cached bool
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

// How the time until an answer begins is shared.
const (
	// reserve is what is kept for each target below the one that is tried, and localReserve for one that answers here.
	reserve      = 3 * time.Second
	localReserve = 500 * time.Millisecond
	// shortest is the time without which a try isn't worth its beginning.
	shortest = 250 * time.Millisecond
	// firstPause is before a target's first retry, twice as much before the next, each made longer or shorter by up to a half.
	firstPause = 200 * time.Millisecond
	// wholePatience is how long a target may take for a whole answer when there is another one to ask.
	wholePatience = time.Minute
	// longestRest is how long a target is left alone at most because it has asked for it.
	longestRest = time.Minute
)

var errTooLong = errors.New("the whole answer took too long")

// call is one request on its way over the rungs.
type call struct {
	*Router
	route   string
	rungs   []*rung
	o       CallOptions
	attempt Attempt
	began   time.Time
	// begin is when the answer must have begun, end when it must have ended, zero for no such time.
	begin, end time.Time

	out     Outcome
	skipped []Skip
	begun   bool
}

// Do has attempt ask the targets of the named route until one answers. An Outcome that comes with an error has the tries.
func (r *Router) Do(ctx context.Context, name string, o CallOptions, attempt Attempt) (Outcome, error) {
	name, _, err := r.Resolve(name)
	if err != nil {
		return Outcome{}, err
	}
	l := r.routes[name]
	if r.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.opts.Timeout, errTooLong)
		defer cancel()
	}
	c := &call{Router: r, route: name, rungs: l.order(o.Session, r.deps.Random), o: o, attempt: attempt, began: r.deps.Clock()}
	c.begin = c.began.Add(l.Begin)
	if o.Elsewhere {
		c.rungs = slices.DeleteFunc(slices.Clone(c.rungs), func(t *rung) bool { return t.Local })
	}
	if o.Whole {
		c.begin = c.began.Add(max(l.Begin, r.opts.Timeout))
	}
	if len(c.rungs) == 0 {
		return Outcome{}, fault.New(fault.Precondition, fault.ModelNotFound, "the model %q only answers from sources", name)
	}
	if at, ok := ctx.Deadline(); ok {
		c.end = c.began.Add(time.Until(at))
		if c.end.Before(c.begin) {
			c.begin = c.end
		}
	}
	leave, err := c.wait(ctx, "", r.deps.Health.all, r.opts.Wait)
	if err != nil {
		return Outcome{}, ended(ctx, err)
	}
	defer leave()
	for i, rung := range c.rungs {
		err = c.climb(ctx, i)
		if err == nil || c.begun || ctx.Err() != nil {
			break
		}
		if i < len(c.rungs)-1 {
			c.skipped = append(slices.Clip(c.skipped), Skip{Name: rung.Name, Model: rung.Model, Fault: fault.As(err)})
		}
	}
	return c.out, ended(ctx, err)
}

// ended says why a request ended: when its context has, that is why.
func ended(ctx context.Context, err error) error {
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), errTooLong):
		return fault.Wrap(errTooLong, fault.Timeout, fault.DeadlineExceeded, "the answer took longer than limits.timeout allows")
	default:
		return ctx.Err()
	}
}

// wait waits for a place in a line.
func (c *call) wait(ctx context.Context, name string, l *line.Line, patience time.Duration) (leave func(), err error) {
	began := c.deps.Clock()
	leave, err = l.EnterWithin(ctx, line.Party{Workspace: c.o.Workspace, User: c.o.Key}, patience)
	c.deps.Meter.Waited(name, c.deps.Clock().Sub(began))
	return leave, err
}

// climb tries the i-th rung, more than once where that may help.
func (c *call) climb(ctx context.Context, i int) error {
	t := c.rungs[i]
	place := Rung{Route: c.route, Provider: t.Name, Model: t.Model, Number: i}
	for retry := 0; ; retry++ {
		permit, leave, err := c.admit(ctx, i)
		if err != nil {
			if ctx.Err() == nil {
				c.deps.Meter.Skipped(place, fault.ReasonName(fault.ReasonOf(err)))
			}
			return err
		}
		try := &Try{call: c, rung: t, place: place, patience: c.patience(i), permit: permit}
		err = func() error { defer leave(); return try.run(ctx) }()
		if err == nil || c.begun || ctx.Err() != nil {
			return err
		}
		c.deps.Report(ctx, c.route, t.Name, err)
		if u := c.out.Tries[len(c.out.Tries)-1].Usage; retry >= t.Retries || u.Prompt+u.Completion > 0 { // what was paid isn't bought again
			return err
		}
		pause, ok := c.again(err, retry, i)
		if !ok {
			return err
		}
		if repeat.Pause(ctx, pause) != nil {
			return ctx.Err()
		}
		c.deps.Meter.Retried(place)
	}
}

// admit returns when the i-th rung may be asked; leave must then be called after that. A target that has said when to come back
// is waited for when there is none to ask instead and the time is there.
func (c *call) admit(ctx context.Context, i int) (permit *breaker.Permit, leave func(), err error) {
	t := c.rungs[i]
	if t.Local {
		return nil, func() {}, nil
	}
	for waited := false; ; waited = true {
		r := t.health.Look(c.deps.Clock())
		if r.Free {
			break
		}
		pause := r.Wait + c.jitter(r.Wait/10)
		if !r.Limited || waited || c.better(i) || pause+shortest > c.spare(i) {
			return nil, nil, left(r)
		}
		if repeat.Pause(ctx, pause) != nil {
			return nil, nil, ctx.Err()
		}
	}
	patience := c.opts.Wait
	if i < len(c.rungs)-1 {
		spare := c.spare(i) - shortest
		if spare <= 0 {
			return nil, nil, fault.New(fault.Unavailable, fault.ProviderUnavailable, "no time was left to ask this provider")
		}
		patience = min(patience, spare)
	}
	goBack, err := c.wait(ctx, t.Name, t.queue, patience)
	if err != nil {
		return nil, nil, err
	}
	permit, r := t.health.Take(c.deps.Clock())
	if permit == nil {
		goBack()
		return nil, nil, left(r)
	}
	t.health.inFlight.Add(1)
	return permit, func() {
		permit.Done(breaker.Neutral, c.deps.Clock()) // where nobody has judged it
		t.health.inFlight.Add(-1)
		goBack()
	}, nil
}

// left is the fault of a target that is left alone.
func left(r breaker.Report) error {
	if r.Limited {
		return fault.New(fault.Exhausted, fault.ProviderRateLimited, "the model's provider limits our rate").WithRetryAfter(r.Wait)
	}
	return fault.New(fault.Unavailable, fault.ProviderUnavailable, "the model's provider failed too often lately and is left alone for a while").
		WithRetryAfter(max(r.Wait, time.Second))
}

// better says whether there is a target below the i-th that can be asked now, other than one that answers here.
func (c *call) better(i int) bool {
	return slices.ContainsFunc(c.rungs[i+1:], func(t *rung) bool { return !t.Local && t.health.Look(c.deps.Clock()).Free })
}

// spare is how long the i-th rung may take, waits included, so that those below it have time to begin.
func (c *call) spare(i int) time.Duration {
	spare := c.begin.Sub(c.deps.Clock())
	below := c.rungs[i+1:]
	if n := len(below); n > 0 {
		share := spare / time.Duration(n+1)
		for _, t := range below {
			if t.Local {
				spare -= min(localReserve, share)
			} else {
				spare -= min(reserve, share)
			}
		}
	}
	return max(spare, 0)
}

// patience is how long the i-th rung may take to its first text. The last one may take what it takes: nothing is gained by
// giving it up.
func (c *call) patience(i int) time.Duration {
	patience := c.rungs[i].FirstText
	if c.o.Whole {
		patience = cmp.Or(c.rungs[i].Timeout, max(patience, wholePatience))
		if i == len(c.rungs)-1 {
			patience = max(patience, c.spare(i))
		}
	}
	if i < len(c.rungs)-1 {
		patience = min(patience, c.spare(i))
	}
	return max(patience, time.Millisecond)
}

// again says whether the i-th rung is to be tried again after err, and after which pause.
func (c *call) again(err error, retry, i int) (time.Duration, bool) {
	f := fault.As(err)
	if errors.Is(err, errNoText) || errors.Is(err, errIdle) || f.Reason != fault.ProviderRateLimited && f.Kind != fault.Unavailable {
		return 0, false // it has had its time, or would say the same again
	}
	pause := firstPause << retry
	pause = pause/2 + c.jitter(pause)
	asked := f.RetryAfter + c.jitter(f.RetryAfter/10)
	if (f.Reason == fault.ProviderRateLimited || asked > pause) && c.better(i) {
		return 0, false
	}
	pause = max(pause, asked)
	return pause, pause+shortest <= c.spare(i)
}

func (c *call) jitter(most time.Duration) time.Duration {
	return time.Duration(c.deps.Random() * float64(most))
}

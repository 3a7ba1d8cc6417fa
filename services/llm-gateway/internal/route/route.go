// Package route makes model names mean something: a name is a ladder of targets, tried in order until one begins its answer.
// Before that a failure costs the next try; after it, the answer has begun and a failure is the caller's to know. Tries, waits
// and concurrency are bounded, and a try leaves time for the rungs below it. What fails too often is left alone for a while.
//
// The package doesn't know what is sent to a target and what becomes of its answer: an [Attempt] does that, Generate's for
// providers' pieces, others for bytes that are handed on.
package route

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Route is what a model's name stands for.
type Route struct {
	Targets []Target
	// Begin is the time in which an answer must have begun, waits and all tries together, as long as there is a target left;
	// 0 for the longest FirstText of its targets and some time for those below.
	Begin time.Duration
}

// Target is a provider and its model.
type Target struct {
	// Name is the provider's configured name.
	Name     string
	Provider provider.Provider
	// Model is the provider's own model name.
	Model string
	// Price is what its tokens cost; zero when that is not known.
	Price Price
	// Weight is its share of the requests among the targets of its route that have one; 0 for none.
	Weight int
	// Retries are how many more tries it gets before its answer begins; below 0 for what Options say.
	Retries int
	// FirstText, Idle and Timeout bound a try; 0 for what Options say, no bound for Timeout.
	FirstText, Idle, Timeout time.Duration
	// Places bounds answers of its provider under way; 0 for no bound but that on all. All targets of a provider say the same.
	Places int
	// Revision changes when the provider becomes another one under the same name: what is known of it is then forgotten.
	Revision string
	// Local says that it answers in this process: it fails with it, not by itself, and at once.
	Local bool
}

// Price is in a currency, the same for all targets, per million tokens. CachedPrompt is for those that the provider had in its own
// cache; where it is 0 they cost as much as others.
type Price struct{ Prompt, CachedPrompt, Completion float64 }

// Micros returns the cost of an answer in millionths of the currency.
func (p Price) Micros(u provider.Usage) uint64 {
	cached := min(max(u.Cached, 0), max(u.Prompt, 0))
	return uint64(math.Round(float64(max(u.Prompt, 0)-cached)*p.Prompt + float64(cached)*cmp.Or(p.CachedPrompt, p.Prompt) + float64(max(u.Completion, 0))*p.Completion))
}

// Rung is a target's place, as metrics name it.
type Rung struct {
	Route, Provider, Model string
	// Number counts from 0; every other one answers because those above it failed.
	Number int
}

// Meter counts tries. Outcome is a finish reason or a fault's reason.
type Meter interface {
	Tried(r Rung, outcome string, took time.Duration)
	FirstText(r Rung, took time.Duration)
	Tokens(r Rung, u provider.Usage)
	// Answered measures a try, whose first text came so long after its beginning; 0 for an answer that came as a whole, or for none.
	Answered(t Tried, first time.Duration)
	// Retried counts tries that repeat one at the same target.
	Retried(r Rung)
	// Skipped counts targets that were not tried.
	Skipped(r Rung, why string)
	// Waited is how long a request waited for a place; queue is a provider's name, empty for the line of all requests.
	Waited(queue string, took time.Duration)
}

// Options bounds a Router.
type Options struct {
	// Default is the route for requests that name none.
	Default string
	// FirstText is how long a target may take to its first text or sign of work.
	FirstText time.Duration
	// Idle is how long a target may be silent after that.
	Idle time.Duration
	// Timeout bounds a whole answer.
	Timeout time.Duration
	// Retries are how many more tries a target gets before its answer begins.
	Retries int
	// Places bounds answers under way, Waiting the requests that wait for a place, in all and for each provider, and Wait how
	// long they do.
	Places, Waiting int
	Wait            time.Duration
	// Breaker says when a target is left alone.
	Breaker breaker.Config
}

// Slots bounds calls under way, over all that share it.
type Slots chan struct{}

// NewSlots returns n slots, at least one.
func NewSlots(n int) Slots { return make(Slots, max(1, n)) }

// Deps is what a Router works with. All fields are required.
type Deps struct {
	Meter  Meter
	Tracer trace.Tracer
	// Report gets what a failed target must not show to callers.
	Report func(ctx context.Context, route, provider string, cause error)
	Clock  func() time.Time
	// Random returns numbers in [0, 1).
	Random func() float64
	Health *Health
}

// Router knows the routes. Safe for concurrent use.
type Router struct {
	routes map[string]*ladder
	opts   Options
	deps   Deps
}

// rung is a target that is ready to be used.
type rung struct {
	Target
	health *health
	queue  *line.Line
}

// New checks routes and returns their Router. Bounds that Routers share hold from [Router.Use] on.
func New(routes map[string]Route, o Options, deps Deps) (*Router, error) {
	if _, ok := routes[o.Default]; !ok {
		return nil, fmt.Errorf("default_model: there is no model %q", o.Default)
	}
	r := &Router{routes: make(map[string]*ladder, len(routes)), opts: o, deps: deps}
	for name, route := range routes {
		if len(route.Targets) == 0 {
			return nil, fmt.Errorf("models.%s: no targets", name)
		}
		r.routes[name] = r.ladder(route)
	}
	return r, nil
}

// ladder makes a route ready: what it doesn't say itself is as the Options say.
func (r *Router) ladder(route Route) *ladder {
	l := &ladder{Route: route}
	var longest time.Duration
	for _, t := range route.Targets {
		t.FirstText, t.Idle = cmp.Or(t.FirstText, r.opts.FirstText), cmp.Or(t.Idle, r.opts.Idle)
		if t.Retries < 0 {
			t.Retries = r.opts.Retries
		}
		if t.Weight > 0 {
			l.weighted++
		}
		longest = max(longest, t.FirstText)
		its := &rung{Target: t}
		its.health, its.queue = r.deps.Health.of(t, r.opts.Breaker)
		l.rungs = append(l.rungs, its)
	}
	if l.Begin == 0 {
		l.Begin = longest + reserve
	}
	return l
}

// Use has the bounds that this Router shares with those before it be its own from now on.
func (r *Router) Use() { r.deps.Health.use(r.routes, r.opts) }

// Names returns the routes in order.
func (r *Router) Names() []string { return slices.Sorted(maps.Keys(r.routes)) }

// Default returns the name of the default route.
func (r *Router) Default() string { return r.opts.Default }

// Targets says how a route's targets are, in the configured order.
func (r *Router) Targets(name string) []Status {
	l, ok := r.routes[name]
	if !ok {
		return nil
	}
	var out []Status
	for _, t := range l.rungs {
		out = append(out, t.health.status(t.Name, t.Model, r.deps.Clock()))
	}
	return out
}

// First returns the target that a session's requests go to as long as it answers; without a session, the first that is
// configured.
func (r *Router) First(name, session string) Target {
	l, ok := r.routes[name]
	switch {
	case !ok:
		return Target{}
	case session == "":
		return l.rungs[0].Target
	default:
		return l.order(session, r.deps.Random)[0].Target
	}
}

// Resolve returns a route's name, where empty is the default, and the first target that is configured.
func (r *Router) Resolve(name string) (string, Target, error) {
	name = cmp.Or(name, r.opts.Default)
	l, ok := r.routes[name]
	if !ok {
		return "", Target{}, fault.New(fault.NotFound, fault.ModelNotFound, "there is no model %q; ListModels names those there are", name)
	}
	return name, l.rungs[0].Target, nil
}

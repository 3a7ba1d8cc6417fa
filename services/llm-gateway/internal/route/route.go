// Package route makes model names mean something: a name is a ladder of targets, tried in order until one begins its answer.
// Before that a failure costs the next try; after it, the answer has begun and a failure is the caller's to know. Tries, waits
// and concurrency are bounded, and a try leaves time for the rungs below it.
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

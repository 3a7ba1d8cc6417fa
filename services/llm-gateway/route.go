package llmgateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// Breaker says when targets are left alone.
type Breaker struct {
	Failures int           `yaml:"failures" doc:"Failures among the latest tries at a target, within a minute, after which it is left alone. Count, up to 1000; 0 for never."`
	Of       int           `yaml:"of" doc:"Tries that count as the latest. Count, failures to 1000."`
	Rest     time.Duration `yaml:"rest" doc:"How long it is left alone; then single requests probe it until one gets its first token. Duration, 10ms to 10m."`
}

const (
	maxTargets = 8
	maxRetries = 5
	maxWeight  = 1000
	maxTimeout = time.Hour
)

// validateRoutes checks the models and what bounds them.
func (c Config) validateRoutes(check checker) {
	for name, m := range c.Models {
		check(len(m.Targets) >= 1 && len(m.Targets) <= maxTargets, "models."+name+".targets", "must be 1 to %d, not %d", maxTargets, len(m.Targets))
		check(m.Begin >= 0 && m.Begin <= 10*time.Minute, "models."+name+".begin", "must be up to 10m, not %v", m.Begin)
		for _, t := range m.Targets {
			t.validate(check, "models."+name+".targets")
			p, declared := c.Providers[t.Provider]
			check(!declared || p.chats(), "models."+name+".targets", "name a provider that has no chat models: %q is of type %s", t.Provider, p.Type)
			check(declared || t.Provider == extractive.Name, "models."+name+".targets", "name a provider that is not declared: %q", t.Provider)
			check(t.Price.Prompt >= 0 && t.Price.CachedPrompt >= 0 && t.Price.Completion >= 0, "models."+name+".targets", "have a price below 0")
			check(t.Model != "" || t.Provider == extractive.Name, "models."+name+".targets", "need the provider's model name")
		}
	}
	b := c.Breaker
	check(b.Failures >= 0 && b.Failures <= 1000, "breaker.failures", "must be 0 to 1000, not %d", b.Failures)
	check(b.Of >= b.Failures && b.Of <= 1000, "breaker.of", "must be failures, %d, to 1000, not %d", b.Failures, b.Of)
	check(b.Rest >= 10*time.Millisecond && b.Rest <= 10*time.Minute, "breaker.rest", "must be 10ms to 10m, not %v", b.Rest)
}

// validate checks what a target says of its own.
func (t Target) validate(check checker, key string) {
	optional := func(d, most time.Duration, name string) {
		check(d == 0 || d >= 10*time.Millisecond && d <= most, key, "have a %s that is not 10ms to %v: %v", name, most, d)
	}
	check(t.Weight >= 0 && t.Weight <= maxWeight, key, "have a weight that is not 0 to %d: %d", maxWeight, t.Weight)
	check(t.Retries == nil || *t.Retries >= 0 && *t.Retries <= maxRetries, key, "have retries that are not 0 to %d", maxRetries)
	optional(t.FirstToken, 10*time.Minute, "first_token")
	optional(t.Idle, 10*time.Minute, "idle")
	optional(t.Timeout, maxTimeout, "timeout")
	check(t.Weight == 0 || t.Provider != extractive.Name, key, "give extractive a weight; it is the last target and nothing else")
}

// routes makes the Router of cfg's models.
func (s *Service) routes(cfg Config, providers map[string]*client) (*route.Router, error) {
	l := cfg.Limits
	return route.New(ladders(cfg, providers), route.Options{
		Default: cfg.defaultModel(), FirstText: l.FirstToken, Idle: l.Idle, Timeout: l.Timeout, Retries: l.Retries,
		Places: l.Concurrent, Waiting: l.Queue, Wait: l.QueueWait,
		Breaker: breaker.Config(cfg.Breaker),
	}, route.Deps{
		Meter: s.meter, Tracer: s.deps.Telemetry.Tracer.Tracer("github.com/ragmesh/ragmesh/services/llm-gateway"),
		Report: report(s.deps.Telemetry), Clock: s.deps.Clock, Random: rand.Float64, Health: s.health,
	})
}

// ladders makes the routes' targets.
func ladders(cfg Config, providers map[string]*client) map[string]route.Route {
	builtin := route.Target{Name: extractive.Name, Provider: extractive.Model{}, Model: extractive.Name, Local: true}
	out := make(map[string]route.Route)
	for name, m := range cfg.Models {
		r := route.Route{Begin: m.Begin}
		ends := false
		for _, t := range m.Targets {
			if ends = t.Provider == extractive.Name; ends {
				r.Targets = append(r.Targets, builtin)
				break // it never fails: nothing below it is reached
			}
			client := providers[t.Provider]
			retries := -1
			if t.Retries != nil {
				retries = *t.Retries
			}
			r.Targets = append(r.Targets, route.Target{
				Name: t.Provider, Provider: client.chats, Model: t.Model, Price: route.Price(t.Price), Weight: t.Weight, Retries: retries,
				FirstText: t.FirstToken, Idle: t.Idle, Timeout: t.Timeout,
				Places: cmp.Or(client.cfg.Concurrent, client.cfg.MaxConnections, defaultConnections), Revision: client.revision,
			})
		}
		if !ends && !m.WithoutExtractive {
			r.Targets = append(r.Targets, builtin)
		}
		out[name] = r
	}
	return out
}

// watchTargets logs what becomes of targets, and counts who is refused.
func (s *Service) watchTargets() route.Watch {
	log := s.deps.Telemetry.Log
	return route.Watch{
		State: func(provider, model string, state breaker.State) {
			switch state {
			case breaker.Open:
				log.Warn().Str("provider", provider).Str("model", model).Msg("target fails too often and is left alone for a while")
			case breaker.HalfOpen:
				log.Info().Str("provider", provider).Str("model", model).Msg("target is probed")
			case breaker.Closed:
				log.Info().Str("provider", provider).Str("model", model).Msg("target works again")
			}
		},
		Refused: s.meter.Refused,
	}
}

// report logs why a try failed before its answer began.
func report(t *telemetry.Telemetry) func(context.Context, string, string, error) {
	return func(ctx context.Context, route, name string, cause error) {
		log := t.Logger(ctx)
		event := log.Warn()
		if errors.Is(cause, provider.ErrUnusable) {
			event = log.Error() // it won't get better by itself
		}
		event.Err(cause).Str("route", route).Str("provider", name).Msg("provider failed before its first text")
	}
}

// readyAnswers says whether there is room for a request; readyTargets which targets are left alone, which is no reason to send
// requests elsewhere.
func (s *Service) readyAnswers() health.Component {
	row := health.Component{Name: "answers", Ready: !s.health.Full()}
	if !row.Ready {
		row.Detail = "as many answers are under way as limits.concurrent allows, and as many wait as limits.queue"
	}
	return row
}

func (s *Service) readyTargets() health.Component {
	var alone []string
	for _, t := range s.health.Targets(s.deps.Clock()) {
		switch {
		case t.Limited:
			alone = append(alone, fmt.Sprintf("%s at %s has asked for %s of rest", t.Model, t.Provider, t.Wait.Round(time.Second)))
		case t.State == breaker.Open:
			alone = append(alone, fmt.Sprintf("%s at %s failed too often and is left alone for %s", t.Model, t.Provider, t.Wait.Round(time.Second)))
		case t.State == breaker.HalfOpen:
			alone = append(alone, fmt.Sprintf("%s at %s is probed", t.Model, t.Provider))
		}
	}
	return health.Component{Name: "targets", Ready: true, Detail: strings.Join(alone, "; ")}
}

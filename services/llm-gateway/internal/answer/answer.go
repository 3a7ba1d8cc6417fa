// Package answer is what the gateway is for: it finds the prompt and the route of a request, renders the one within the
// token budget and answers over the other.
package answer

import (
	"cmp"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/prompt"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// Request is what is asked, and how.
type Request struct {
	Ask ask.Request
	// PromptID and Model may be empty: the default prompt; the prompt's model, else the default one.
	PromptID, Model string
	// Session keeps to one of a prompt's variants; empty for none.
	Session string
	// MaxTokens bounds the answer; 0 for the prompt's bound, else the configured one.
	MaxTokens int
	// Temperature and TopP are nil for the prompt's, else the provider's.
	Temperature, TopP *float64
	// Stop are texts that the answer ends before.
	Stop []string
	// Cache says how the cache of answers is used; by default as the route is configured.
	Cache cache.Mode
}

// Asked is what a model is asked.
type Asked struct {
	// Template is the prompt that was asked for, or the canary that answers for the session.
	Template *prompt.Template
	// CanaryOf is the prompt that was asked for, where Template is its canary.
	CanaryOf string
	Rendered prompt.Rendered
	// Route is the model's name, First its first target.
	Route string
	First route.Target

	request provider.Request
	mode    cache.Mode
}

// Options bounds what models are asked.
type Options struct {
	Budget prompt.Budget
	// MaxTokens bounds answers for which neither request nor prompt says it.
	MaxTokens int
	// Clock tells the date that prompts may name.
	Clock func() time.Time
	// Draw returns a number in [0, 1), for requests without a session where a prompt has variants.
	Draw func() float64
	// Book is who pays goes by; nil for nobody.
	Book *account.Book
	// Cache keeps the answers of routes as Caching says; nil for none.
	Cache   *cache.Cache
	Caching map[string]Caching
}

// Service answers. Safe for concurrent use.
type Service struct {
	prompts *prompt.Library
	routes  *route.Router
	opts    Options
}

// New returns a Service over prompts and routes. A prompt that names a model no route has is refused.
func New(prompts *prompt.Library, routes *route.Router, o Options) (*Service, error) {
	for _, t := range prompts.All() {
		if _, _, err := routes.Resolve(t.Params.Model); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, fault.ConfigInvalid, "prompts/%s.yaml: generation_params.model names no model: %q",
				t.ID, t.Params.Model)
		}
	}
	if o.Book == nil {
		o.Book = account.Free()
	}
	return &Service{prompts: prompts, routes: routes, opts: o}, nil
}

// Prompts returns the templates ordered by id.
func (s *Service) Prompts() []*prompt.Template { return s.prompts.All() }

// Routes returns the models.
func (s *Service) Routes() *route.Router { return s.routes }

// Prepare renders what a model would be asked.
func (s *Service) Prepare(r Request) (Asked, error) {
	t, err := s.prompts.Choose(r.PromptID, r.Session, s.opts.Draw())
	if err != nil {
		return Asked{}, err
	}
	canaryOf := ""
	if id := cmp.Or(r.PromptID, prompt.DefaultID); id != t.ID {
		canaryOf = id
	}
	name, _, err := s.routes.Resolve(cmp.Or(r.Model, t.Params.Model))
	if err != nil {
		return Asked{}, err
	}
	rendered, err := t.Render(r.Ask, s.opts.Clock(), s.opts.Budget)
	if err != nil {
		return Asked{}, err
	}
	fitting := r.Ask
	fitting.Sources = rendered.Sources
	return Asked{
		Template: t, CanaryOf: canaryOf, Rendered: rendered, Route: name, First: s.routes.First(name, r.Session), mode: r.Cache,
		request: provider.Request{
			Ask: fitting, Messages: rendered.Messages,
			MaxTokens:   cmp.Or(r.MaxTokens, t.Params.MaxTokens, s.opts.MaxTokens),
			Temperature: cmp.Or(r.Temperature, t.Params.Temperature), TopP: r.TopP, Stop: r.Stop,
			Schema: schemaOf(t),
		},
	}, nil
}

// schemaOf is what a template wants answers to be.
func schemaOf(t *prompt.Template) *provider.Schema {
	if t.Schema == nil {
		return nil
	}
	return &provider.Schema{Name: t.ID, JSON: t.Schema.JSON, Strict: true, Check: t.Schema.Check}
}

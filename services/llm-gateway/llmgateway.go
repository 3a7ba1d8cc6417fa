// Package llmgateway is the service with the one door to every model: it renders prompt templates within a token budget,
// routes to providers and streams their answers, and falls back to the built-in extractive model when they fail.
package llmgateway

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/answer"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/meter"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/prompt"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/rpc"
)

// Deps is what llm-gateway needs from the process around it.
type Deps struct {
	Telemetry *telemetry.Telemetry
	// ConfigDir holds prompts/; empty for the built-in prompt only.
	ConfigDir string
	// Revision is the configuration's.
	Revision string
	Clock    func() time.Time
}

// Service is llm-gateway. The process around it calls Register, then Run.
type Service struct {
	handler *rpc.Handler
	routes  *route.Router
	closers []func()
}

// New loads the prompts and makes the service. It speaks to no provider yet.
func New(_ context.Context, cfg Config, deps Deps) (*Service, error) {
	s := &Service{}
	prompts, revision, err := loadPrompts(deps.ConfigDir, deps.Revision)
	if err != nil {
		return nil, err
	}
	ladders, err := s.ladders(cfg, deps.Clock)
	if err != nil {
		return nil, err
	}
	m, err := meter.New(deps.Telemetry)
	if err != nil {
		return nil, err
	}
	s.routes, err = route.New(ladders, route.Options{
		Default: cfg.defaultModel(), FirstText: cfg.Limits.FirstToken, Idle: cfg.Limits.Idle, MaxConcurrent: cfg.Limits.Concurrent,
	}, route.Deps{
		Meter: m, Tracer: deps.Telemetry.Tracer.Tracer("github.com/ragmesh/ragmesh/services/llm-gateway"),
		Report: report(deps.Telemetry), Clock: deps.Clock,
	})
	if err != nil {
		return nil, err
	}
	answers, err := answer.New(prompts, s.routes, answer.Options{
		Budget:    prompt.Budget{Context: cfg.Budget.Context, History: cfg.Budget.History, Total: cfg.Budget.Total},
		MaxTokens: cfg.Budget.Answer,
	})
	if err != nil {
		return nil, err
	}
	s.handler = rpc.New(answers, rpc.Options{Revision: revision, Heartbeat: cfg.Limits.Heartbeat, Clock: deps.Clock})
	return s, nil
}

// ladders makes the routes' targets, over one client per provider.
func (s *Service) ladders(cfg Config, clock func() time.Time) (map[string][]route.Target, error) {
	builtin := route.Target{Name: extractive.Name, Provider: extractive.Model{}, Model: extractive.Name}
	providers := make(map[string]provider.Provider)
	for name, p := range cfg.Providers {
		connections := p.MaxConnections
		if connections == 0 {
			connections = defaultConnections
		}
		client, err := openai.New(openai.Config{
			BaseURL: p.BaseURL, Key: p.Key, LegacyMaxTokens: p.LegacyMaxTokens, MaxConnections: connections,
		}, clock)
		if err != nil {
			return nil, fmt.Errorf("providers.%s.%w", name, err)
		}
		providers[name] = client
		s.closers = append(s.closers, client.Close)
	}
	out := make(map[string][]route.Target)
	for name, m := range cfg.Models {
		ends := false
		for _, t := range m.Targets {
			if ends = t.Provider == extractive.Name; ends {
				out[name] = append(out[name], builtin)
				break // it never fails: nothing below it is reached
			}
			out[name] = append(out[name], route.Target{Name: t.Provider, Provider: providers[t.Provider], Model: t.Model})
		}
		if !ends && !m.WithoutExtractive {
			out[name] = append(out[name], builtin)
		}
	}
	return out, nil
}

// loadPrompts reads prompts/*.yaml. The revision it returns covers the configuration and the prompts.
func loadPrompts(dir, revision string) (*prompt.Library, string, error) {
	var files []prompt.Source
	if dir != "" {
		named, err := config.LoadDir(filepath.Join(dir, "prompts"), prompt.File{})
		if err != nil {
			return nil, "", err
		}
		for _, n := range named {
			files = append(files, prompt.Source{ID: n.Name, Revision: n.Revision, File: n.Value})
		}
		revision = config.RevisionWith(revision, named)
	}
	library, err := prompt.NewLibrary(files)
	return library, revision, err
}

// report logs why a rung was skipped.
func report(t *telemetry.Telemetry) func(context.Context, string, string, error) {
	return func(ctx context.Context, route, provider string, cause error) {
		log := t.Logger(ctx)
		log.Warn().Err(cause).Str("route", route).Str("provider", provider).Msg("provider failed before its first text; trying the next target")
	}
}

// Register adds llm-gateway's handlers.
func (s *Service) Register(mux *librpc.Mux) {
	mux.Handle(llmv1connect.NewLLMServiceHandler(s.handler, mux.HandlerOptions()...))
}

// Run waits until ctx ends, then lets go of the providers' connections.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	for _, c := range s.closers {
		c()
	}
	return nil
}

// Ready returns the rows of the readiness report.
func (s *Service) Ready(context.Context) []health.Component {
	row := health.Component{Name: "answers", Ready: !s.routes.Saturated()}
	if !row.Ready {
		row.Detail = "as many answers are under way as limits.concurrent allows"
	}
	return []health.Component{row}
}

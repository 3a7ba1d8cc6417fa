// Package tools is the service that runs declared tools for answers: built-ins and HTTP endpoints, with checked arguments,
// bounded time and size, and an audit record of every call. Only tools named in enabled_plugins exist.
package tools

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
	"github.com/ragmesh/ragmesh/services/tools/internal/audit"
	"github.com/ragmesh/ragmesh/services/tools/internal/builtin"
	"github.com/ragmesh/ragmesh/services/tools/internal/httptool"
	"github.com/ragmesh/ragmesh/services/tools/internal/meter"
	"github.com/ragmesh/ragmesh/services/tools/internal/registry"
	"github.com/ragmesh/ragmesh/services/tools/internal/rpc"
)

// Deps is what tools needs from the process around it.
type Deps struct {
	Telemetry *telemetry.Telemetry
	Bus       *bus.Bus
	// ConfigDir holds tools/; empty for the built-in tools only.
	ConfigDir string
	// Revision is the configuration's.
	Revision string
	Clock    func() time.Time
}

// Service is tools. The process around it calls Register, then Run.
type Service struct {
	handler  *rpc.Handler
	registry *registry.Registry
	audit    *audit.Log
}

// New loads the plugins and makes the service. It contacts nothing yet.
func New(_ context.Context, cfg Config, deps Deps) (*Service, error) {
	declared, revision, err := load(deps)
	if err != nil {
		return nil, err
	}
	m, err := meter.New(deps.Telemetry)
	if err != nil {
		return nil, err
	}
	s := &Service{audit: audit.New(deps.Bus, audit.Options{
		Subject: func(workspace string) string { return bus.EventSubject("audit", workspace) },
		Queue:   cfg.Limits.AuditQueue, Timeout: cfg.Limits.AuditWait,
	}, m, deps.Telemetry.Log)}
	s.registry, err = registry.New(declared, registry.Options{
		Enabled: cfg.EnabledPlugins, MaxConcurrent: cfg.Limits.Concurrent,
	}, registry.Deps{
		Auditor: s.audit, Meter: m, Tracer: deps.Telemetry.Tracer.Tracer("github.com/ragmesh/ragmesh/services/tools"),
		Report: report(deps.Telemetry), Clock: deps.Clock,
	})
	if err != nil {
		return nil, err
	}
	s.handler, err = rpc.New(s.registry, revision)
	return s, err
}

// load returns the built-in tools and those of tools/*.yaml. The revision covers the configuration and the plugins.
func load(deps Deps) ([]registry.Tool, string, error) {
	declared := []registry.Tool{builtin.Calculator(), builtin.CurrentTime(deps.Clock)}
	if deps.ConfigDir == "" {
		return declared, deps.Revision, nil
	}
	plugins, err := config.LoadDir(filepath.Join(deps.ConfigDir, "tools"), httptool.Spec{})
	if err != nil {
		return nil, "", err
	}
	for _, p := range plugins {
		t, err := httptool.New(p.Name, p.Value)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", p.Path, err)
		}
		declared = append(declared, t)
	}
	return declared, config.RevisionWith(deps.Revision, plugins), nil
}

// report logs what callers are not shown of a failure.
func report(t *telemetry.Telemetry) func(context.Context, string, error) {
	return func(ctx context.Context, tool string, cause error) {
		log := t.Logger(ctx)
		log.Warn().Err(cause).Str("tool", tool).Msg("tool failed")
	}
}

// Register adds tools' handlers.
func (s *Service) Register(mux *librpc.Mux) {
	mux.Handle(toolsv1connect.NewToolsServiceHandler(s.handler, mux.HandlerOptions()...))
}

// Run publishes audit records until ctx ends.
func (s *Service) Run(ctx context.Context) error { return s.audit.Run(ctx) }

// Ready returns the rows of the readiness report.
func (s *Service) Ready(context.Context) []health.Component {
	row := health.Component{Name: "calls", Ready: !s.registry.Saturated()}
	if !row.Ready {
		row.Detail = "as many calls run as limits.concurrent allows"
	}
	return []health.Component{row}
}

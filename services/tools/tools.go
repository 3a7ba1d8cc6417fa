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

// Service is tools. The process around it calls Register, then Run, and Reload when the configuration has changed.
type Service struct {
	deps    Deps
	meter   *meter.Meter
	audit   *audit.Log
	slots   registry.Slots
	handler *rpc.Handler
}

// New loads the plugins and makes the service. It contacts nothing yet.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	m, err := meter.New(deps.Telemetry)
	if err != nil {
		return nil, err
	}
	s := &Service{deps: deps, meter: m, slots: registry.NewSlots(cfg.Limits.Concurrent), handler: &rpc.Handler{}}
	s.audit = audit.New(deps.Bus, audit.Options{
		Subject: func(workspace string) string { return bus.EventSubject("audit", workspace) },
		Queue:   cfg.Limits.AuditQueue, Timeout: cfg.Limits.AuditWait,
	}, m, deps.Telemetry.Log)
	if err := s.Reload(ctx, config.Loaded[Config]{Value: cfg, Revision: deps.Revision}); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload answers from now on with the tools of cfg and the plugins as they are now. Calls that run end as they began.
func (s *Service) Reload(_ context.Context, cfg config.Loaded[Config]) error {
	declared, revision, err := load(s.deps, cfg.Revision)
	if err != nil {
		return err
	}
	tools, err := registry.New(declared, cfg.Value.EnabledPlugins, registry.Deps{
		Auditor: s.audit, Meter: s.meter, Tracer: s.deps.Telemetry.Tracer.Tracer("github.com/ragmesh/ragmesh/services/tools"),
		Report: report(s.deps.Telemetry), Clock: s.deps.Clock, Slots: s.slots,
	})
	if err != nil {
		return err
	}
	return s.handler.Use(tools, revision)
}

// Revision returns the revision that answers carry.
func (s *Service) Revision() string { return s.handler.Revision() }

// load returns the built-in tools and those of tools/*.yaml. The revision covers the configuration and the plugins.
func load(deps Deps, revision string) ([]registry.Tool, string, error) {
	declared := []registry.Tool{builtin.Calculator(), builtin.CurrentTime(deps.Clock)}
	if deps.ConfigDir == "" {
		return declared, revision, nil
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
	return declared, config.RevisionWith(revision, plugins), nil
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
	row := health.Component{Name: "calls", Ready: !s.slots.Full()}
	if !row.Ready {
		row.Detail = "as many calls run as limits.concurrent allows"
	}
	return []health.Component{row}
}

// Package llmgateway is the service with the one door to every model: it renders prompt templates within a token budget,
// routes to providers and streams their answers, and falls back to the built-in extractive model when they fail.
package llmgateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/answer"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/api"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/meter"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/prompt"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/rpc"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/tally"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/usage"
)

// Deps is what llm-gateway needs from the process around it.
type Deps struct {
	Telemetry *telemetry.Telemetry
	// Bus carries what was used to other processes and back, and keeps answers. While NATS is away the service works all the same.
	Bus *bus.Bus
	// DataDir is the service's own folder: the ledger's journal is there.
	DataDir string
	// ConfigDir holds prompts/; empty for the built-in prompt only.
	ConfigDir string
	// Revision is the configuration's.
	Revision string
	Clock    func() time.Time
}

// Service is llm-gateway. The process around it calls Register, then Run, and Reload when the configuration has changed.
type Service struct {
	deps    Deps
	meter   *meter.Meter
	health  *route.Health
	vectors route.Slots
	handler *rpc.Handler
	api     *api.Handler
	// Where the API is served by itself, how many requests it takes, and how long it may take to stop.
	apiAddr     string
	maxInFlight int
	drain       time.Duration

	ledger  *ledger.Ledger
	book    *account.Book
	cache   *cache.Cache
	carrier *usage.Carrier

	mu        sync.Mutex
	providers map[string]*client // by name
	made      int                // clients so far
}

// New loads the prompts and makes the service. It speaks to no provider yet.
func New(_ context.Context, cfg Config, deps Deps) (_ *Service, err error) {
	m, err := meter.New(deps.Telemetry)
	if err != nil {
		return nil, err
	}
	s := &Service{deps: deps, meter: m, vectors: route.NewSlots(cfg.Limits.Vectors)}
	s.health = route.NewHealth(s.watchTargets())
	if err := m.Watch(s.health, deps.Clock); err != nil {
		return nil, err
	}
	if err := s.open(cfg); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.ledger.CloseFile())
		}
	}()
	serving, providers, err := s.serving(cfg, deps.Revision)
	if err != nil {
		return nil, err
	}
	others, err := s.apiServing(cfg, serving)
	if err != nil {
		return nil, err
	}
	serving.Answers.Routes().Use()
	s.handler, s.api, s.providers = rpc.New(serving, rpc.Accounts{Usage: s.ledger, Budgets: s.book, Forget: s.forget}, deps.Clock), s.newAPI(others), providers
	s.apiAddr, s.maxInFlight, s.drain = cfg.API.Addr, cfg.RPC.MaxInFlight, max(cfg.Shutdown.Timeout/2, cfg.Shutdown.Timeout-6*time.Second)
	return s, nil
}

// Reload answers from now on with cfg and the prompts as they are now. Answers under way keep their prompt and their route.
func (s *Service) Reload(_ context.Context, cfg config.Loaded[Config]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	serving, providers, err := s.serving(cfg.Value, cfg.Revision)
	if err != nil {
		return err
	}
	others, err := s.apiServing(cfg.Value, serving)
	if err != nil {
		return err
	}
	serving.Answers.Routes().Use()
	s.book.Use(cfg.Value.accounts())
	s.cache.Use(cfg.Value.kept())
	s.handler.Use(serving)
	s.api.Use(others)
	for name, old := range s.providers {
		if providers[name] != old {
			old.close() // idle connections only: answers under way keep theirs
		}
	}
	s.providers = providers
	return nil
}

// Revision returns the revision that answers carry.
func (s *Service) Revision() string { return s.handler.Revision() }

// serving makes what calls are answered with, and the clients that it uses.
func (s *Service) serving(cfg Config, revision string) (_ rpc.Serving, _ map[string]*client, err error) {
	prompts, revision, err := loadPrompts(s.deps.ConfigDir, revision)
	if err != nil {
		return rpc.Serving{}, nil, err
	}
	providers, err := s.clients(cfg)
	if err != nil {
		return rpc.Serving{}, nil, err
	}
	defer func() {
		if err != nil {
			s.closeUnused(providers)
		}
	}()
	routes, err := s.routes(cfg, providers)
	if err != nil {
		return rpc.Serving{}, nil, err
	}
	caching, err := cfg.caching()
	if err != nil {
		return rpc.Serving{}, nil, err
	}
	answers, err := answer.New(prompts, routes, answer.Options{
		Budget:    prompt.Budget{Context: cfg.Budget.Context, History: cfg.Budget.History, Total: cfg.Budget.Total},
		MaxTokens: cfg.Budget.Answer,
		Clock:     s.deps.Clock, Draw: rand.Float64,
		Book: s.book, Cache: s.cache, Caching: caching,
	})
	return rpc.Serving{
		Answers: answers, Vectors: s.vectorModels(cfg, providers), Revision: revision, Heartbeat: cfg.Limits.Heartbeat,
	}, providers, err
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

// Register adds llm-gateway's handlers.
func (s *Service) Register(mux *librpc.Mux) {
	mux.Handle(llmv1connect.NewLLMServiceHandler(s.handler, mux.HandlerOptions()...))
	s.registerAPI(mux)
}

// Run carries usage, tells other processes what is taken of limits, and serves the API on its own port if it has one, until ctx ends; then it lets go of the ledger and of the
// providers' connections.
func (s *Service) Run(ctx context.Context) error {
	// What the API's last answers used is carried too.
	carrying, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	carried := make(chan error, 2)
	go func() { carried <- s.carrier.Run(carrying) }()
	go func() {
		carried <- tally.Run(carrying, tally.Deps{Book: s.book, Bus: s.deps.Bus, Node: s.ledger.Node(), Log: s.deps.Telemetry.Log})
	}()
	var err error
	if s.apiAddr != "" {
		err = s.serveAPI(ctx, s.apiAddr, s.drain)
	}
	if err == nil {
		<-ctx.Done()
	}
	stop()
	err = errors.Join(err, <-carried, <-carried)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.providers {
		c.close()
	}
	return err
}

// Ready returns the rows of the readiness report.
func (s *Service) Ready(context.Context) []health.Component {
	rows := []health.Component{s.readyAnswers(), s.readyTargets(), s.readyUsage()}
	unreadable := s.handler.Unreadable()
	for _, name := range slices.Sorted(maps.Keys(unreadable)) {
		rows = append(rows, health.Component{
			Name: "embeddings " + name, Ready: true,
			Detail: fmt.Sprintf("it has no token for %.0f %% of what the documents say: it was not made for their language", 100*unreadable[name]),
		})
	}
	return rows
}

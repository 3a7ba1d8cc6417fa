// Package process makes a program of a service: flags, configuration, data folder, keys, NATS, telemetry, the admin and the
// RPC server, signals, and the order in which they start and stop. A service's main is Main(Program{...}); the all-in-one
// uses the parts. The package knows no service.
//
// What is started first is stopped last: admin server, bus, telemetry, NATS being there, the service, the RPC server. So
// probes get answers from beginning to end, and calls under way finish while everything they need is still there.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// Service is what a program hosts.
type Service interface {
	// Register adds the service's handlers, before anything is served.
	Register(*rpc.Mux)
	// Run does background work until ctx ends, then closes what the service holds. It starts ahead of the RPC server and
	// its context ends when that has drained.
	Run(ctx context.Context) error
	// Ready returns the rows of the readiness report.
	Ready(ctx context.Context) []health.Component
}

// MuxConfigurer is a Service with options of its own for its handlers, as the edge has.
type MuxConfigurer interface {
	Service
	// ConfigureMux changes the options its mux is made with.
	ConfigureMux(*rpc.MuxOptions)
}

// Env is what a program gives the service it builds.
type Env struct {
	Telemetry *telemetry.Telemetry
	Bus       *bus.Bus
	Signer    *identity.Signer
	Verifier  *identity.Verifier
	// Live takes the pulses of the service's loops.
	Live *health.Liveness
	// DataDir is the service's own folder, locked; empty for a stateless one.
	DataDir string
	// ConfigDir is where prompts/, retrieval/ and tools/ are; empty when no folder was given.
	ConfigDir string
	// KeysDir is where the keys are, the bootstrap key among them.
	KeysDir string
	Version string
	// Dial returns a connection to another service. It connects at the first call and needs no closing before the end.
	Dial func(url, audience string) rpc.Conn
}

// Program describes a service's binary.
type Program[C any] struct {
	// Service is its name, as of its configuration file.
	Service string
	// Defaults returns the configuration without any file.
	Defaults func() C
	// Host returns the process's part of a configuration.
	Host func(*C) *Config
	// Build makes the service once NATS is there.
	Build func(context.Context, *Env, config.Loaded[C]) (Service, error)
	// Stateless services get no data folder.
	Stateless bool
	// WithoutNATS services start, and are ready, while NATS is away.
	WithoutNATS bool
	// HeapGrowth is by how many per cent of what is live the heap may grow before garbage is collected; 0 for 200.
	HeapGrowth int
	// LookEvery is how often the configuration folder is looked at for changes; 1 s when zero.
	LookEvery time.Duration
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs a program with the process's arguments, environment and signals, and returns its exit code.
func Main[C any](p Program[C]) int {
	ctx, stop := Signals(context.Background())
	defer stop()
	return p.Run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

// oneWish is within how much time several signals count as one: a wrapper such as timeout(1) signals the process and then
// its whole group.
const oneWish = 250 * time.Millisecond

// Signals returns a context that ends at SIGINT or SIGTERM. After that signals act as if nobody listened, so that a second
// one ends the process at once. The returned function must be called to stop listening.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with ctx, or oneWish after a signal: a process that ends sooner must not die of the same wish's second one
		defer signal.Stop(signals)
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
			return
		}
		<-time.After(oneWish)
	}()
	return ctx, cancel
}

// Run is Main with everything it takes from the process passed in. It stops when ctx ends.
func (p Program[C]) Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	o, err := parseFlags(p.Service, args, stderr)
	switch {
	case errors.Is(err, errHelp):
		return exitDone
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\nTry %s --help.\n", p.Service, err, p.Service)
		return exitUsage
	case o.version:
		fmt.Fprintf(stdout, "%s %s (%s)\n", p.Service, telemetry.Version, runtime.Version())
		return exitDone
	}
	h, err := p.load(o, environ, stderr)
	if err == nil {
		err = h.run(ctx)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "%s: %s\n", p.Service, strings.TrimSuffix(line, "\n"))
		}
		return exitFailed
	}
	return exitDone
}

// load reads the configuration and returns what hosts the service with it.
func (p Program[C]) load(o options, environ []string, stderr io.Writer) (*host, error) {
	read := func() (config.Loaded[C], error) {
		if err := config.CheckDir(o.configDir, identity.Services()); err != nil {
			return config.Loaded[C]{}, err
		}
		return config.Load(p.Service, p.Defaults(), config.Source{
			Dir: o.configDir, Environ: environ, Flags: o.values, FlagNames: o.names,
		})
	}
	if err := config.CheckEnviron(environ, identity.Services()); err != nil {
		return nil, err
	}
	fingerprint, err := Fingerprint(o.configDir)
	if err != nil {
		return nil, err
	}
	loaded, err := read()
	if err != nil {
		return nil, err
	}
	cfg := p.Host(&loaded.Value)
	level := telemetry.NewLevel(cfg.Log.Level)
	console := cfg.Log.Format == "console" || cfg.Log.Format == "auto" && telemetry.Terminal(stderr)
	return &host{
		service: p.Service, config: cfg, configDir: o.configDir, revision: loaded.Revision, files: loaded.Files,
		stateless: p.Stateless, withoutNATS: p.WithoutNATS, heapGrowth: p.HeapGrowth,
		log: telemetry.Threshold(telemetry.Unleveled(stderr, console), level),
		build: func(ctx context.Context, env *Env) (Service, error) {
			return p.Build(ctx, env, loaded)
		},
		follow: func(s Service, t *telemetry.Telemetry) (follower, error) {
			return NewLive(LiveOptions[C]{
				Dir: o.configDir, Fingerprint: fingerprint, Running: loaded, Revision: RevisionOf(s, loaded.Revision), Load: read, Every: p.LookEvery, Telemetry: t,
				Apply: func(ctx context.Context, cfg config.Loaded[C]) (string, error) {
					return Apply(ctx, s, cfg, p.Host(&cfg.Value), level)
				},
			})
		},
	}, nil
}

// Apply hands a changed configuration to a service, if it is a [Reloader], and to its logger. host is the process's part of
// cfg.
func Apply[C any](ctx context.Context, s Service, cfg config.Loaded[C], host *Config, level *telemetry.Level) (string, error) {
	if r, ok := s.(Reloader[C]); ok {
		if err := r.Reload(ctx, cfg); err != nil {
			return "", err
		}
	}
	level.Set(host.Log.Level)
	return RevisionOf(s, cfg.Revision), nil
}

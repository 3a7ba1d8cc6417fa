// Package wire is the one place that knows what runs in this process: NATS, the keys and all five services, which reach each
// other through their ordinary clients, without connections. The services can't tell.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/lifecycle"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// Options says how to run everything.
type Options struct {
	// Settings is the configuration. Its folder is followed: live keys take effect when they change.
	Settings *settings.Settings
	// LookEvery is how often the folder is looked at for changes; 1 s when zero.
	LookEvery time.Duration
	// Data is the folder that everything is kept in.
	Data string
	// Log has no level: each service's log.level decides, dialog's for what is nobody's.
	Log zerolog.Logger
	// Parser is the command of a process that reads documents; without one PDF files are refused.
	Parser []string
	// Ready is called as each part becomes ready, with what there is to say about it.
	Ready func(part, detail string)
	// Started is called once everything serves, with the edge's and the admin port's address.
	Started func(edge, admin net.Addr)
}

// Up runs everything until ctx ends. Nothing is written outside Data.
func Up(ctx context.Context, o Options) (err error) {
	lock, err := process.LockDir(o.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	all := services(o.Settings, o.Parser)
	edge := all[len(all)-1]
	w, err := newWiring(o, o.Settings.Dialog.Value.Config, telemetry.Threshold(o.Log, edge.level))
	if err != nil {
		return err
	}
	for _, p := range all {
		w.add(p)
	}
	w.listen(o.Settings.Dialog.Value.RPC.Addr, edge)
	return w.group.Run(ctx)
}

// wiring is everything in this process while it comes to be.
type wiring struct {
	o                   Options
	log                 zerolog.Logger
	keys                *identity.Keys
	verifier            *identity.Verifier
	registry            *prometheus.Registry
	state               *health.State
	live                *health.Liveness
	nats                *natsserver.Server
	locals              map[string]*rpc.Local
	group               *lifecycle.Group
	edgeAddr, adminAddr net.Addr
}

// newWiring makes what all services share. host is the configuration of the one process that there is, dialog's, and log the
// logger of what is no service's.
func newWiring(o Options, host process.Config, log zerolog.Logger) (*wiring, error) {
	keys, err := identity.GenerateKeys()
	if err != nil {
		return nil, err
	}
	w := &wiring{
		o: o, log: log, keys: keys, verifier: identity.NewVerifier(keys.Set(), time.Now), registry: telemetry.NewRegistry(),
		state: health.NewState(health.StateOptions{}), live: health.NewLiveness(nil), locals: map[string]*rpc.Local{},
	}
	for _, service := range identity.Services() {
		w.locals[service] = rpc.NewLocal()
	}
	if err := process.RegisterVitals(w.registry, w.state, w.live, identity.Services()...); err != nil {
		return nil, err
	}
	w.group = lifecycle.New(lifecycle.Options{
		Log: log, StopTimeout: host.Shutdown.Timeout, DrainDelay: host.Shutdown.Delay, OnDrain: w.state.Drain,
		OnStarted: func() {
			w.state.Started()
			o.Started(w.edgeAddr, w.adminAddr)
		},
	})
	return w, w.addShared(host)
}

// addShared adds the admin server, which answers probes from beginning to end, and NATS.
func (w *wiring) addShared(host process.Config) error {
	admin := host.Admin.Addr
	if admin == "" {
		var err error
		if admin, err = process.AdminAddr(host.RPC.Addr); err != nil {
			return fmt.Errorf("choose admin port: %w", err)
		}
	}
	w.group.Add(process.AdminComponent(admin, health.Handler(health.Options{
		State: w.state, Live: w.live, Metrics: telemetry.MetricsHandler(w.registry), Pprof: host.Admin.Pprof, Version: telemetry.Version,
	}), func(a net.Addr) { w.adminAddr = a }))
	w.group.Add(process.Memory(0))
	var lock *process.Lock // `ragmesh nats` takes the same one
	w.group.Add(lifecycle.Component{
		Name: "nats",
		Start: func(ctx context.Context) (err error) {
			dir := filepath.Join(w.o.Data, "nats")
			if lock, err = process.LockDir(dir); err != nil {
				return err
			}
			w.nats, err = natsserver.Start(ctx, natsserver.Options{Dir: dir, Log: w.log})
			if err == nil {
				w.o.Ready("nats", "in process, data in "+dir)
			}
			return err
		},
		Stop: func(context.Context) error {
			w.nats.Shutdown()
			return lock.Unlock()
		},
	})
	return nil
}

// part is a service while it comes to be.
type part struct {
	name      string
	stateless bool
	revision  string
	// build makes the service.
	build func(context.Context, *process.Env) (process.Service, error)
	// follow returns what has the service follow its configuration.
	follow func(process.Service, *telemetry.Telemetry, time.Duration) (follower, error)
	level  *telemetry.Level
	// maxInFlight is how many calls its server takes.
	maxInFlight int
	sampleRatio float64

	env     *process.Env
	lock    *process.Lock
	service process.Service
	live    follower // nil without a configuration folder
	server  *rpc.Server
}

// follower is a *process.Live of some configuration.
type follower interface {
	Run(ctx context.Context) error
	Ready(ctx context.Context) []health.Component
}

// newPart returns the part of a service with its configuration as loaded.
func newPart[C any](s *settings.Settings, kind settings.Kind[C], cfg config.Loaded[C], build func(context.Context, *process.Env, config.Loaded[C]) (process.Service, error)) *part {
	host := kind.Host(&cfg.Value)
	level := telemetry.NewLevel(host.Log.Level)
	return &part{
		name: kind.Service, revision: cfg.Revision, level: level, maxInFlight: host.RPC.MaxInFlight, sampleRatio: host.Telemetry.SampleRatio,
		build: func(ctx context.Context, env *process.Env) (process.Service, error) { return build(ctx, env, cfg) },
		follow: func(service process.Service, t *telemetry.Telemetry, every time.Duration) (follower, error) {
			return process.NewLive(process.LiveOptions[C]{
				Dir: s.Source.Dir, Fingerprint: s.Fingerprint, Running: cfg, Revision: process.RevisionOf(service, cfg.Revision), Every: every, Telemetry: t,
				Load: func() (config.Loaded[C], error) {
					if err := config.CheckDir(s.Source.Dir, identity.Services()); err != nil {
						return config.Loaded[C]{}, err
					}
					return kind.Load(s.Source)
				},
				Apply: func(ctx context.Context, changed config.Loaded[C]) (string, error) {
					return process.Apply(ctx, service, changed, kind.Host(&changed.Value), level)
				},
			})
		},
	}
}

// add makes a service components: what it reports and stores with, the service itself, what follows its configuration, and
// its server for the others.
func (w *wiring) add(p *part) {
	w.group.Add(lifecycle.Component{
		Name:  p.name + "'s connections",
		Start: func(ctx context.Context) error { return w.connect(ctx, p) },
		Stop: func(ctx context.Context) error {
			return errors.Join(p.env.Telemetry.Shutdown(ctx), p.release())
		},
	})
	w.group.Add(lifecycle.Component{
		Name:  p.name,
		Start: func(ctx context.Context) error { return w.host(ctx, p) },
		Run:   func(ctx context.Context) error { return p.service.Run(ctx) },
	})
	if w.o.Settings.Source.Dir != "" {
		w.group.Add(lifecycle.Component{
			Name: p.name + "'s configuration",
			Run:  func(ctx context.Context) error { return p.live.Run(ctx) },
		})
	}
	w.group.Add(process.Watchdog(p.name, w.live, func(ctx context.Context) []health.Component { return p.service.Ready(ctx) }))
	w.group.Add(lifecycle.Component{
		Name: p.name + "'s server",
		Run:  func(context.Context) error { return p.server.ServeLocal(w.locals[p.name]) },
		Stop: func(ctx context.Context) error { return p.server.Shutdown(ctx) },
	})
}

// ensureFor is how long a start waits for streams and buckets. NATS is in this process and ready: only a busy machine keeps it from
// answering.
const ensureFor = time.Minute

// connect gives a service its connection to NATS, its telemetry and its clients of the others.
func (w *wiring) connect(ctx context.Context, p *part) (err error) {
	log := telemetry.Threshold(w.o.Log, p.level)
	env := &process.Env{Live: w.live, Verifier: w.verifier, ConfigDir: w.o.Settings.Source.Dir, Version: telemetry.Version}
	p.env = env
	defer func() {
		if err != nil { // nobody stops what has not started
			err = errors.Join(err, p.release())
		}
	}()
	if !p.stateless {
		env.DataDir = filepath.Join(w.o.Data, p.name)
		if p.lock, err = process.LockDir(env.DataDir); err != nil {
			return err
		}
	}
	if env.Signer, err = w.keys.Signer(p.name, time.Now); err != nil {
		return err
	}
	if env.Bus, err = bus.Connect(ctx, bus.Options{
		Name: p.name, InProcess: w.nats, Log: log.With().Str("service", p.name).Logger(), Registry: telemetry.Registerer(w.registry, p.name),
	}); err != nil {
		return err
	}
	bound, cancel := context.WithTimeout(ctx, ensureFor)
	defer cancel()
	if err := env.Bus.EnsureTopology(bound); err != nil {
		return err
	}
	env.Telemetry, err = telemetry.New(ctx, telemetry.Options{
		Service: p.name, Version: telemetry.Version, Log: log, Registry: w.registry, Spans: env.Bus.Spans(p.name), SampleRatio: p.sampleRatio,
	})
	if err != nil {
		return err
	}
	env.Dial = func(_, audience string) rpc.Conn {
		return rpc.Dial(w.locals[audience].Target(audience), rpc.ClientOptions{Telemetry: env.Telemetry, Signer: env.Signer, Audience: audience})
	}
	return nil
}

// release gives back what connect took, as far as it got.
func (p *part) release() (err error) {
	if p.env.Bus != nil {
		p.env.Bus.Close()
	}
	if p.lock != nil {
		err = p.lock.Unlock()
	}
	return err
}

// host builds a service and its server.
func (w *wiring) host(ctx context.Context, p *part) (err error) {
	if p.service, err = p.build(ctx, p.env); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if w.o.Settings.Source.Dir != "" {
		if p.live, err = p.follow(p.service, p.env.Telemetry, w.o.LookEvery); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if err := process.RegisterRevision(p.env.Telemetry, func() string { return process.RevisionOf(p.service, p.revision) }); err != nil {
		return err
	}
	o := rpc.MuxOptions{Telemetry: p.env.Telemetry, Verifier: w.verifier}
	if c, ok := p.service.(process.MuxConfigurer); ok {
		c.ConfigureMux(&o)
	}
	mux := rpc.NewMux(o)
	p.service.Register(mux)
	p.server = rpc.NewServer(mux, rpc.ServerOptions{MaxInFlight: p.maxInFlight})
	w.state.Watch(func(ctx context.Context) []health.Component {
		connection := health.Component{Name: "nats"}
		connection.Ready, connection.Detail = p.env.Bus.Healthy()
		rows := append(slices.Clone(p.service.Ready(ctx)), connection)
		if p.live != nil {
			rows = append(rows, p.live.Ready(ctx)...)
		}
		for i := range rows {
			rows[i].Name = p.name + "/" + rows[i].Name
		}
		return rows
	})
	w.o.Ready(p.name, "revision "+process.RevisionOf(p.service, p.revision))
	return nil
}

// listen serves the edge, which is dialog's server, to the world.
func (w *wiring) listen(addr string, dialog *part) {
	w.group.Add(process.RPCComponent(addr, func() process.Server {
		w.state.SaturatedBy(func() (bool, string) { return process.Saturated(dialog.server, dialog.service) })
		return dialog.server
	}, func(a net.Addr) { w.edgeAddr = a }))
}

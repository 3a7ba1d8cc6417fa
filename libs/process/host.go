package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/lifecycle"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// host is a program's parts while it runs.
type host struct {
	service     string
	config      *Config
	configDir   string
	revision    string
	files       []string
	stateless   bool
	withoutNATS bool
	heapGrowth  int
	log         zerolog.Logger
	build       func(context.Context, *Env) (Service, error)
	follow      func(Service, *telemetry.Telemetry) (follower, error)

	began     time.Time
	registry  *prometheus.Registry
	state     *health.State
	live      *health.Liveness
	env       *Env
	hosted    Service
	follower  follower
	mux       *rpc.Mux
	server    *rpc.Server
	rpcAddr   net.Addr
	adminAddr net.Addr
}

// run hosts the service until ctx ends.
func (h *host) run(ctx context.Context) (err error) {
	h.began = time.Now()
	h.registry = telemetry.NewRegistry()
	h.state = health.NewState(health.StateOptions{})
	h.live = health.NewLiveness(nil)
	if err := RegisterVitals(h.registry, h.state, h.live, h.service); err != nil {
		return err
	}
	h.env = &Env{ConfigDir: h.configDir, KeysDir: h.keysDir(), Version: telemetry.Version, Live: h.live}

	if err := h.loadKeys(); err != nil {
		return err
	}
	if !h.stateless {
		h.env.DataDir = filepath.Join(h.config.Data, h.service)
		lock, lockErr := AwaitDir(ctx, h.env.DataDir, h.config.DataWait, func(why error) {
			h.log.Warn().Str("service", h.service).Err(why).Dur("patience", h.config.DataWait).Msg("waiting for the data folder")
		})
		if lockErr != nil {
			return lockErr
		}
		defer func() { err = errors.Join(err, lock.Unlock()) }()
	}
	adminAddr := h.config.Admin.Addr
	if adminAddr == "" {
		if adminAddr, err = AdminAddr(h.config.RPC.Addr); err != nil {
			return fmt.Errorf("choose admin port: %w", err)
		}
	}
	err = h.group(adminAddr).Run(ctx)
	h.log.Info().Str("service", h.service).Int64("ran_ms", time.Since(h.began).Milliseconds()).Msg("stopped")
	return err
}

// group returns the parts in the order in which they start.
func (h *host) group(adminAddr string) *lifecycle.Group {
	group := lifecycle.New(lifecycle.Options{
		Log: h.log, StopTimeout: h.config.Shutdown.Timeout, DrainDelay: h.config.Shutdown.Delay,
		OnStarted: h.started, OnDrain: h.drain,
	})
	admin := health.Handler(health.Options{
		State: h.state, Live: h.live, Metrics: telemetry.MetricsHandler(h.registry), Pprof: h.config.Admin.Pprof, Version: telemetry.Version,
	})
	group.Add(AdminComponent(adminAddr, admin, func(a net.Addr) { h.adminAddr = a }))
	group.Add(Memory(h.heapGrowth))
	group.Add(lifecycle.Component{Name: "bus", Start: h.connect, Stop: h.disconnect})
	group.Add(lifecycle.Component{Name: "telemetry", Start: h.report, Stop: func(ctx context.Context) error {
		return h.env.Telemetry.Shutdown(ctx)
	}})
	if !h.withoutNATS {
		group.Add(lifecycle.Component{Name: "NATS", Start: h.awaitNATS})
	}
	group.Add(lifecycle.Component{Name: h.service, Start: h.host, Run: func(ctx context.Context) error { return h.hosted.Run(ctx) }})
	group.Add(Watchdog(h.service, h.live, func(ctx context.Context) []health.Component { return h.hosted.Ready(ctx) }))
	if h.configDir != "" {
		group.Add(lifecycle.Component{Name: "config", Start: h.followConfig, Run: func(ctx context.Context) error { return h.follower.Run(ctx) }})
	}
	group.Add(RPCComponent(h.config.RPC.Addr, func() Server { return h.server }, func(a net.Addr) { h.rpcAddr = a }))
	return group
}

func (h *host) keysDir() string {
	if h.config.Identity.KeysDir != "" {
		return h.config.Identity.KeysDir
	}
	return filepath.Join(h.config.Data, "keys")
}

// loadKeys reads what this service signs with and checks callers against.
func (h *host) loadKeys() error {
	missing := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w; make keys with `ragmesh keys init --data %s`, or see identity in the configuration", err, h.config.Data)
		}
		return err
	}
	secret := h.config.Identity.SigningKey
	if secret.IsZero() {
		secret = config.Secret{File: filepath.Join(h.env.KeysDir, h.service+".pem")}
	}
	text, err := secret.Resolve()
	if err != nil {
		return fmt.Errorf("load signing key: %w", missing(err))
	}
	key, err := identity.ParsePrivateKey([]byte(text))
	if err != nil {
		return fmt.Errorf("load signing key from %s: %w", secret, err)
	}
	if h.env.Signer, err = identity.NewSigner(h.service, key, time.Now); err != nil {
		return fmt.Errorf("load signing key: %w", err)
	}
	path := h.config.Identity.JWKSFile
	if path == "" {
		path = filepath.Join(h.env.KeysDir, identity.JWKSFile)
	}
	keys, err := identity.OpenKeySet(path, time.Now)
	if err != nil {
		return missing(err)
	}
	h.env.Verifier = identity.NewVerifier(keys, time.Now)
	h.state.Watch(func(context.Context) []health.Component {
		row := health.Component{Name: "keys", Ready: true}
		if err := keys.Err(); err != nil {
			row.Ready, row.Detail = false, "the last good keys stay in use: "+err.Error()
		}
		return []health.Component{row}
	})
	return nil
}

// connect makes the bus, which is usable at once and fails its calls while NATS is away.
func (h *host) connect(ctx context.Context) error {
	o := bus.Options{
		URL: h.config.NATS.URL, Name: h.service, Replicas: h.config.NATS.Replicas,
		Log: h.log.With().Str("service", h.service).Logger(), Registry: telemetry.Registerer(h.registry, h.service),
	}
	var err error
	if o.Token, err = optional(h.config.NATS.Token); err != nil {
		return err
	}
	if o.Credentials, err = optional(h.config.NATS.Credentials); err != nil {
		return err
	}
	b, err := bus.Connect(ctx, o)
	if err != nil {
		return err
	}
	h.env.Bus = b
	h.state.Watch(func(context.Context) []health.Component {
		row := health.Component{Name: "nats", Hard: !h.withoutNATS}
		if row.Ready, row.Detail = b.Healthy(); !row.Ready {
			row.Detail = "waiting for nats: " + row.Detail
		}
		return []health.Component{row}
	})
	return nil
}

// optional resolves a secret that need not be there.
func optional(s config.Secret) (string, error) {
	if s.IsZero() {
		return "", nil
	}
	return s.Resolve()
}

func (h *host) disconnect(context.Context) error {
	h.env.Bus.Close()
	return nil
}

func (h *host) report(ctx context.Context) error {
	t, err := telemetry.New(ctx, telemetry.Options{
		Service: h.service, Version: telemetry.Version, Log: h.log, Registry: h.registry,
		Spans: h.env.Bus.Spans(h.service), SampleRatio: h.config.Telemetry.SampleRatio,
	})
	if err != nil {
		return err
	}
	h.env.Telemetry = t
	h.env.Dial = func(url, audience string) rpc.Conn {
		return rpc.Dial(rpc.Target{URL: url}, rpc.ClientOptions{Telemetry: t, Signer: h.env.Signer, Audience: audience})
	}
	return nil
}

const (
	natsPoll    = 50 * time.Millisecond
	natsLogEach = 10 * time.Second
)

// awaitNATS waits, for as long as it takes, until NATS holds what the services need. Probes say so meanwhile.
func (h *host) awaitNATS(ctx context.Context) error {
	poll := time.NewTicker(natsPoll)
	defer poll.Stop()
	next := time.Now().Add(time.Second)
	for {
		ok, detail := h.env.Bus.Healthy()
		if ok {
			return nil
		}
		if time.Now().After(next) {
			h.env.Telemetry.Log.Warn().Str("url", h.config.NATS.URL).Str("detail", detail).Stringer("admin", h.adminAddr).
				Msg("waiting for NATS")
			next = time.Now().Add(natsLogEach)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// host builds the service and its server.
func (h *host) host(ctx context.Context) (err error) {
	if h.hosted, err = h.build(ctx, h.env); err != nil {
		return err
	}
	h.state.Watch(h.hosted.Ready)
	if err := RegisterRevision(h.env.Telemetry, func() string { return RevisionOf(h.hosted, h.revision) }); err != nil {
		return err
	}
	o := rpc.MuxOptions{Telemetry: h.env.Telemetry, Verifier: h.env.Verifier}
	if c, ok := h.hosted.(MuxConfigurer); ok {
		c.ConfigureMux(&o)
	}
	h.mux = rpc.NewMux(o)
	h.hosted.Register(h.mux)
	h.server = rpc.NewServer(h.mux, rpc.ServerOptions{MaxInFlight: h.config.RPC.MaxInFlight})
	h.state.SaturatedBy(func() (bool, string) { return Saturated(h.server, h.hosted) })
	return nil
}

// follower is a *Live of some configuration.
type follower interface {
	Run(ctx context.Context) error
	Ready(ctx context.Context) []health.Component
}

// followConfig has changes of the configuration folder taken from now on.
func (h *host) followConfig(context.Context) (err error) {
	if h.follower, err = h.follow(h.hosted, h.env.Telemetry); err == nil {
		h.state.Watch(h.follower.Ready)
	}
	return err
}

// started writes the one line that says what runs and with what.
func (h *host) started() {
	h.state.Started()
	h.env.Telemetry.Log.Info().Stringer("rpc", h.rpcAddr).Stringer("admin", h.adminAddr).Str("version", telemetry.Version).
		Str("revision", RevisionOf(h.hosted, h.revision)).Strs("files", h.files).Str("data", h.env.DataDir).
		Int64("took_ms", time.Since(h.began).Milliseconds()).Msg("serving")
}

func (h *host) drain() {
	h.state.Drain()
	if h.mux != nil {
		h.mux.SetServing(false)
	}
	h.log.Info().Str("service", h.service).Msg("stopping")
}

package gatebench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/port"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
)

// gateway is llm-gateway with everything on, and what it needs.
type gateway struct {
	b           *bench
	nats        *spawn.Program
	program     *spawn.Program
	url         string
	addr, admin string
	bus         string
	conn        rpc.Conn
	rpc         llmv1connect.LLMServiceClient
}

// startGateway makes keys and configuration, and starts NATS and the gateway.
func (b *bench) startGateway(ctx context.Context) (_ *gateway, err error) {
	o := b.options()
	if err := b.writeConfig(o.ConfigDir); err != nil {
		return nil, err
	}
	if err := spawn.Run(ctx, o, "keys", "init", "--data", o.Data); err != nil {
		return nil, err
	}
	g := &gateway{b: b}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.stop())
		}
	}()
	if g.nats, err = spawn.Start(o.Binary, o, b.loading, "nats", "--json", "--data", o.Data, "--addr", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	var said struct{ URL string }
	if err := g.nats.Says(ctx, &said); err != nil {
		return nil, err
	}
	ports, err := port.Free(ctx, 2)
	if err != nil {
		return nil, err
	}
	g.addr, g.admin, g.bus, g.url = ports[0], ports[1], said.URL, "http://"+ports[0]
	if err := g.start(ctx); err != nil {
		return nil, err
	}
	keys, err := identity.LoadKeys(filepath.Join(o.Data, "keys"))
	if err != nil {
		return nil, err
	}
	signer, err := keys.Signer(identity.Dialog, time.Now)
	if err != nil {
		return nil, err
	}
	g.conn = rpc.Dial(rpc.Target{URL: g.url}, rpc.ClientOptions{Telemetry: telemetry.Nop("bench"), Signer: signer, Audience: identity.Gateway})
	g.rpc = llmv1connect.NewLLMServiceClient(g.conn.HTTP, g.conn.URL, g.conn.Options...)
	return g, nil
}

// as is a context in which the bench is dialog.
func (g *gateway) as(ctx context.Context) context.Context {
	return identity.NewContext(ctx, identity.Principal{Service: identity.Dialog, Subject: "bench", Workspace: "default"})
}

// start starts the gateway's process, where it was before if it was before.
func (g *gateway) start(ctx context.Context) error {
	o := g.b.options()
	args := []string{
		"--data", o.Data, "--config", o.ConfigDir, "--rpc-addr", g.addr, "--admin-addr", g.admin, "--nats-url", g.bus, "--set", "log.level=warn",
	}
	for _, pair := range g.b.Set {
		args = append(args, "--set", pair)
	}
	if g.b.Profile != "" {
		args = append(args, "--set", "admin.pprof=true")
	}
	p, err := spawn.Start(filepath.Join(filepath.Dir(o.Binary), "ragmesh-llm-gateway"), o, g.b.serving, args...)
	if err != nil {
		return err
	}
	g.program = p
	return p.Ready(ctx, g.admin)
}

func (g *gateway) stop() error {
	if g.rpc != nil {
		g.conn.Close()
	}
	var errs []error
	for _, p := range []*spawn.Program{g.program, g.nats} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	return errors.Join(errs...)
}

// writeConfig has the gateway do all that it does for applications: a key with limits, a budget and a price, in front of the
// mock.
func (b *bench) writeConfig(dir string) error {
	type object = map[string]any
	models := object{}
	for _, name := range []string{fast, paced, slow} {
		models[name] = object{"without_extractive": true, "targets": []object{{"provider": "mock", "model": name, "price": object{"prompt": 1, "completion": 2}}}}
	}
	bounds := object{"requests_per_minute": 100_000_000, "tokens_per_minute": 1_000_000_000, "day": 1_000_000, "month": 10_000_000} // counted, never reached
	raw, err := yaml.Marshal(object{
		"default_model": fast,
		"models":        models,
		"providers":     object{"mock": object{"type": "openai", "base_url": b.upstream + "/v1", "max_connections": MaxConcurrency}},
		"limits":        object{"concurrent": MaxConcurrency},
		"account":       object{"key": bounds, "workspace": bounds},
		"keys":          []object{{"name": "bench", "key": object{"env": "BENCH_KEY"}}},
	})
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "llm-gateway.yaml"), raw, 0o644); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// Check makes every service as [Up] would, in a temporary folder, so that whatever Up refuses is refused here: prompts,
// strategies, tools and intents included. Nothing is served or called, and no secret is asked for: those are where the
// services run. It returns the revisions that answers would carry, by service; the error joins the problems of all services.
func Check(ctx context.Context, s *settings.Settings) (revisions map[string]string, err error) {
	dir, err := os.MkdirTemp("", "ragmesh-check-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to check in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: filepath.Join(dir, "nats"), NoSync: true})
	if err != nil {
		return nil, err
	}
	defer server.Shutdown()
	keys, err := identity.GenerateKeys()
	if err != nil {
		return nil, err
	}
	revisions = map[string]string{}
	var errs []error
	for _, p := range services(withoutSecrets(s), nil) {
		revisions[p.name], err = check(ctx, p, server, keys, s.Source.Dir, filepath.Join(dir, p.name))
		errs = append(errs, err)
	}
	return revisions, errors.Join(errs...)
}

// check makes one service, lets go of it again and returns its revision.
func check(ctx context.Context, p *part, server *natsserver.Server, keys *identity.Keys, configDir, dataDir string) (string, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return "", fmt.Errorf("make a folder to check in: %w", err)
	}
	b, err := bus.Connect(ctx, bus.Options{Name: p.name, InProcess: server})
	if err != nil {
		return "", err
	}
	defer b.Close()
	signer, err := keys.Signer(p.name, time.Now)
	if err != nil {
		return "", err
	}
	t := telemetry.Nop(p.name)
	service, err := p.build(ctx, &process.Env{
		Telemetry: t, Bus: b, Signer: signer, Verifier: identity.NewVerifier(keys.Set(), time.Now), ConfigDir: configDir, DataDir: dataDir,
		Dial: func(_, audience string) rpc.Conn {
			return rpc.Dial(rpc.NewLocal().Target(audience), rpc.ClientOptions{Telemetry: t, Signer: signer, Audience: audience})
		},
	})
	if err != nil {
		return "", err
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := service.Run(ended); err != nil && !errors.Is(err, context.Canceled) { // closes what the service holds
		return "", fmt.Errorf("%s: %w", p.name, err)
	}
	return process.RevisionOf(service, p.revision), nil
}

// withoutSecrets returns s without references to secrets.
func withoutSecrets(s *settings.Settings) *settings.Settings {
	c := *s
	c.Dialog.Value.Auth.BootstrapKey = config.Secret{}
	c.Gateway.Value.Providers = maps.Clone(s.Gateway.Value.Providers)
	for name, provider := range c.Gateway.Value.Providers {
		provider.Key = config.Secret{}
		c.Gateway.Value.Providers[name] = provider
	}
	return &c
}

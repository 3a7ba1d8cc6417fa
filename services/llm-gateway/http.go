package llmgateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/api"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/keys"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/rpc"
)

// API is OpenAI's HTTP API for other applications.
type API struct {
	Addr    string       `yaml:"addr" doc:"Address on which the API is served by itself, host:port; empty for the port of calls only. The all-in-one has no such port: there, this is the only way in."`
	MaxBody config.Bytes `yaml:"max_body" live:"true" doc:"Largest request. Bytes, 1KiB to 64MiB."`
}

// Key is an API key of another application.
type Key struct {
	Name      string        `yaml:"name" doc:"Name of the key in logs, metrics and the ledger, such as the application's. 1 to 64 letters, digits, '.', '-' and '_'."`
	Key       config.Secret `yaml:"key" doc:"The key itself, 16 to 512 bytes; openssl rand -hex 24 makes one. One in a file is read again every 5 s."`
	Workspace string        `yaml:"workspace" doc:"Workspace on whose account it asks; empty for default."`
	Models    []string      `yaml:"models" doc:"Models that it may ask, embedding models included; empty for all."`
}

const (
	defaultWorkspace = "default"
	maxKeys          = 10_000
)

var (
	keyName   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	workspace = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
)

func (c Config) validateAPI(check checker) {
	if c.API.Addr != "" {
		_, port, err := net.SplitHostPort(c.API.Addr)
		check(err == nil && port != "", "api.addr", `must be host:port, such as "127.0.0.1:8085", not %q`, c.API.Addr)
	}
	check(c.API.MaxBody >= 1<<10 && c.API.MaxBody <= 64<<20, "api.max_body", "must be 1KiB to 64MiB, not %v", c.API.MaxBody)
	check(len(c.Keys) <= maxKeys, "keys", "must be at most %d, not %d", maxKeys, len(c.Keys))
	seen := map[string]bool{}
	for _, k := range c.Keys {
		check(keyName.MatchString(k.Name), "keys", "need a name of 1 to 64 letters, digits, '.', '-' and '_', not %q", k.Name)
		check(!seen[k.Name], "keys", "have one name twice: %q", k.Name)
		seen[k.Name] = true
		check(!k.Key.IsZero(), "keys", "need a reference to the key itself: %s has none", k.Name)
		check(k.Workspace == "" || workspace.MatchString(k.Workspace), "keys", "name a workspace that can't be one: %q", k.Workspace)
		for _, m := range k.Models {
			_, chats := c.Models[m]
			_, embeds := c.Embeddings[m]
			check(chats || embeds, "keys", "name a model that there is not: %q of %s", m, k.Name)
		}
	}
}

// apiServing makes what requests to the API are answered with, beside the procedures.
func (s *Service) apiServing(cfg Config, beside rpc.Serving) (api.Serving, error) {
	all := make([]keys.Key, len(cfg.Keys))
	for i, k := range cfg.Keys {
		all[i] = keys.Key{Name: k.Name, Secret: k.Key, Workspace: k.Workspace, Models: k.Models}
		if k.Workspace == "" {
			all[i].Workspace = defaultWorkspace
		}
	}
	ring, err := keys.New(all, s.deps.Clock)
	if err != nil {
		return api.Serving{}, err
	}
	caching, err := cfg.caching()
	return api.Serving{
		Keys: ring, Routes: beside.Answers.Routes(), Vectors: beside.Vectors, MaxTokens: cfg.Budget.Answer, MaxBody: int64(cfg.API.MaxBody),
		Book: s.book, Cache: s.cache, Caching: caching,
	}, err
}

func (s *Service) newAPI(serving api.Serving) *api.Handler {
	return api.New(serving, api.Deps{
		Meter: s.meter, Clock: s.deps.Clock, Ended: librpc.NoteFault, TraceID: telemetry.TraceID,
		Caller: func(ctx context.Context, workspace, key string) {
			librpc.NoteCaller(ctx, identity.Principal{Workspace: workspace, Subject: key})
		},
	})
}

func (s *Service) registerAPI(mux *librpc.Mux) {
	for pattern, handler := range s.api.Routes() {
		mux.HandleTrusting(pattern, handler, s.api.Knows)
	}
}

// serveAPI serves the API on a port of its own until ctx ends, and lets answers under way come to their end for so long.
func (s *Service) serveAPI(ctx context.Context, addr string, drain time.Duration) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve OpenAI's API: %w; choose another address with api.addr", err)
	}
	mux := librpc.NewMux(librpc.MuxOptions{Telemetry: s.deps.Telemetry, Edge: true})
	s.registerAPI(mux)
	server := librpc.NewServer(mux, librpc.ServerOptions{MaxInFlight: s.maxInFlight})
	s.deps.Telemetry.Log.Info().Stringer("addr", l.Addr()).Msg("serving OpenAI's API")
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		return errors.Join(server.Shutdown(ctx), <-served)
	}
}

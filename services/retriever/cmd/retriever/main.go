// Command retriever runs ragmesh's retriever service.
package main

import (
	"context"
	"os"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/retriever"
)

func main() {
	os.Exit(process.Main(process.Program[retriever.Config]{
		Service:  "retriever",
		Defaults: retriever.Defaults,
		Host:     func(c *retriever.Config) *process.Config { return &c.Config },
		Build:    build,
	}))
}

func build(ctx context.Context, env *process.Env, cfg config.Loaded[retriever.Config]) (process.Service, error) {
	return retriever.New(ctx, cfg.Value, retriever.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, Live: env.Live, DataDir: env.DataDir, ConfigDir: env.ConfigDir,
		Revision: cfg.Revision, Clock: time.Now, LLM: env.Dial(cfg.Value.Peers.LLM, identity.Gateway),
	})
}

// Command tools runs ragmesh's tools service.
package main

import (
	"context"
	"os"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/tools"
)

func main() {
	os.Exit(process.Main(process.Program[tools.Config]{
		Service:     "tools",
		Defaults:    tools.Defaults,
		Host:        func(c *tools.Config) *process.Config { return &c.Config },
		Build:       build,
		Stateless:   true,
		WithoutNATS: true,
	}))
}

func build(ctx context.Context, env *process.Env, cfg config.Loaded[tools.Config]) (process.Service, error) {
	return tools.New(ctx, cfg.Value, tools.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, ConfigDir: env.ConfigDir, Revision: cfg.Revision, Clock: time.Now,
	})
}

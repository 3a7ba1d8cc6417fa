// Command eval runs ragmesh's eval service.
package main

import (
	"context"
	"os"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/eval"
)

func main() {
	os.Exit(process.Main(process.Program[eval.Config]{
		Service:  "eval",
		Defaults: eval.Defaults,
		Host:     func(c *eval.Config) *process.Config { return &c.Config },
		Build:    build,
	}))
}

func build(ctx context.Context, env *process.Env, cfg config.Loaded[eval.Config]) (process.Service, error) {
	return eval.New(ctx, cfg.Value, eval.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, Live: env.Live, DataDir: env.DataDir, Clock: time.Now,
	})
}

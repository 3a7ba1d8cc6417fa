// Command llm-gateway runs ragmesh's LLM gateway.
package main

import (
	"context"
	"os"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
)

func main() {
	os.Exit(process.Main(process.Program[llmgateway.Config]{
		Service:     "llm-gateway",
		Defaults:    llmgateway.Defaults,
		Host:        func(c *llmgateway.Config) *process.Config { return &c.Config },
		Build:       build,
		WithoutNATS: true,
		HeapGrowth:  100, // what passes through leaves next to nothing behind: collecting it is cheap
	}))
}

func build(ctx context.Context, env *process.Env, cfg config.Loaded[llmgateway.Config]) (process.Service, error) {
	return llmgateway.New(ctx, cfg.Value, llmgateway.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, DataDir: env.DataDir, ConfigDir: env.ConfigDir, Revision: cfg.Revision, Clock: time.Now,
	})
}

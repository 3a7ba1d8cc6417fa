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
	if len(os.Args) == 2 && os.Args[1] == retriever.ParserArgument {
		os.Exit(retriever.Parser(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(process.Main(process.Program[retriever.Config]{
		Service:  "retriever",
		Defaults: retriever.Defaults,
		Host:     func(c *retriever.Config) *process.Config { return &c.Config },
		Build:    build,
	}))
}

func build(ctx context.Context, env *process.Env, cfg config.Loaded[retriever.Config]) (process.Service, error) {
	parser, err := retriever.ParserCommand()
	if err != nil {
		return nil, err
	}
	return retriever.New(ctx, cfg.Value, retriever.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, Live: env.Live, DataDir: env.DataDir, ConfigDir: env.ConfigDir,
		Revision: cfg.Revision, Clock: time.Now, Parser: parser, LLM: env.Dial(cfg.Value.Peers.LLM, identity.Gateway),
	})
}

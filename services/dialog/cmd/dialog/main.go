// Command dialog runs ragmesh's dialog service: the edge.
package main

import (
	"context"
	"os"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/dialog"
)

func main() {
	os.Exit(process.Main(process.Program[dialog.Config]{
		Service:  identity.Dialog,
		Defaults: dialog.Defaults,
		Host:     func(c *dialog.Config) *process.Config { return &c.Config },
		Build:    build,
	}))
}

func build(ctx context.Context, env *process.Env, cfg config.Loaded[dialog.Config]) (process.Service, error) {
	peers := cfg.Value.Peers
	return dialog.New(ctx, cfg.Value, dialog.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, Live: env.Live, Verifier: env.Verifier, DataDir: env.DataDir,
		Revision: cfg.Revision, Clock: time.Now, Alone: false,
		Retriever: env.Dial(peers.Retriever, identity.Retriever), Tools: env.Dial(peers.Tools, identity.Tools),
		LLM: env.Dial(peers.LLM, identity.Gateway), Eval: env.Dial(peers.Eval, identity.Eval),
	})
}

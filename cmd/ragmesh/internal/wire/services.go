package wire

import (
	"context"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/dialog"
	"github.com/ragmesh/ragmesh/services/eval"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/retriever"
	"github.com/ragmesh/ragmesh/services/tools"
)

// services returns the services, each after those it calls; dialog, the edge that people reach, comes last.
func services(s *settings.Settings, parser []string) []*part {
	gateway := newPart(s, settings.Gateway(), s.Gateway, buildGateway)
	plugins := newPart(s, settings.Tools(), s.Tools, buildTools)
	plugins.stateless = true
	return []*part{
		newPart(s, settings.Eval(), s.Eval, buildEval),
		gateway,
		plugins,
		newPart(s, settings.Retriever(), s.Retriever, buildRetriever(parser)),
		newPart(s, settings.Dialog(), s.Dialog, buildDialog),
	}
}

func buildEval(ctx context.Context, env *process.Env, cfg config.Loaded[eval.Config]) (process.Service, error) {
	return eval.New(ctx, cfg.Value, eval.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, Live: env.Live, DataDir: env.DataDir, Clock: time.Now,
	})
}

func buildGateway(ctx context.Context, env *process.Env, cfg config.Loaded[llmgateway.Config]) (process.Service, error) {
	return llmgateway.New(ctx, cfg.Value, llmgateway.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, DataDir: env.DataDir, ConfigDir: env.ConfigDir, Revision: cfg.Revision, Clock: time.Now,
	})
}

func buildTools(ctx context.Context, env *process.Env, cfg config.Loaded[tools.Config]) (process.Service, error) {
	return tools.New(ctx, cfg.Value, tools.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, ConfigDir: env.ConfigDir, Revision: cfg.Revision, Clock: time.Now,
	})
}

func buildRetriever(parser []string) func(context.Context, *process.Env, config.Loaded[retriever.Config]) (process.Service, error) {
	return func(ctx context.Context, env *process.Env, cfg config.Loaded[retriever.Config]) (process.Service, error) {
		return retriever.New(ctx, cfg.Value, retriever.Deps{
			Telemetry: env.Telemetry, Bus: env.Bus, Live: env.Live, DataDir: env.DataDir, ConfigDir: env.ConfigDir,
			Revision: cfg.Revision, Clock: time.Now, LLM: env.Dial("", identity.Gateway), Parser: parser,
		})
	}
}

func buildDialog(ctx context.Context, env *process.Env, cfg config.Loaded[dialog.Config]) (process.Service, error) {
	// Where peers are in the configuration is for a process of its own: here they are in this one.
	return dialog.New(ctx, cfg.Value, dialog.Deps{
		Telemetry: env.Telemetry, Bus: env.Bus, Live: env.Live, Verifier: env.Verifier, DataDir: env.DataDir,
		Revision: cfg.Revision, Clock: time.Now,
		Alone:     true, // its NATS has no port
		Retriever: env.Dial("", identity.Retriever), Tools: env.Dial("", identity.Tools),
		LLM: env.Dial("", identity.Gateway), Eval: env.Dial("", identity.Eval),
	})
}

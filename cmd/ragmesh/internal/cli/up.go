package cli

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

func (a *app) up() *cobra.Command {
	var configDir, data, addr, adminAddr, level, embedding, rerank string
	var set []string
	c := &cobra.Command{
		Use:   "up",
		Short: "Run everything in one process: the five services, NATS and the built-in model",
		Long: "Run everything in one process: the five services, NATS with its streams on disk, the embedded index and the built-in extractive model.\n\n" +
			"Everything is kept under --data and nothing is written elsewhere. Ctrl-C stops it cleanly; a second Ctrl-C ends it at once.",
		Example: "  ragmesh up\n  ragmesh up --config examples/bank-support/config --set retriever.log.level=debug",
		Args:    cobra.NoArgs,
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		src := settings.Source{LogLevel: "warn", Dir: configDir, Environ: a.Environ, Set: map[string]map[string]string{}, FlagNames: map[string]map[string]string{}}
		if err := parseSet(set, src); err != nil {
			return err
		}
		for name, flag := range map[string]struct{ key, value string }{"addr": {"rpc.addr", addr}, "admin-addr": {"admin.addr", adminAddr}} {
			if c.Flags().Changed(name) {
				put(src.Set, identity.Dialog, flag.key, flag.value)
				put(src.FlagNames, identity.Dialog, flag.key, "--"+name)
			}
		}
		if err := localModels(src, embedding, rerank); err != nil {
			return err
		}
		if level != "" {
			for _, service := range identity.Services() {
				if _, given := src.Set[service]["log.level"]; !given {
					put(src.Set, service, "log.level", level)
					put(src.FlagNames, service, "log.level", "--log-level")
				}
			}
		}
		loaded, err := settings.Load(src)
		if err != nil {
			return err
		}
		ctx, stop := a.Interruptible(cmd.Context())
		defer stop()
		return a.runUp(ctx, wire.Options{Settings: loaded, Data: data, Parser: a.Parser, Log: telemetry.Unleveled(a.err.w, a.err.terminal)})
	}
	addData(c, &data)
	c.Flags().StringVar(&configDir, "config", "", "folder with the configuration (default: built-in defaults)")
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:8080", "address people and programs reach")
	c.Flags().StringVar(&adminAddr, "admin-addr", "", "address of health and metrics (default: port of --addr + 1000)")
	c.Flags().StringVar(&level, "log-level", "", "least level that every service logs to standard error: debug, info, warn or error (default: its log.level, else warn)")
	c.Flags().StringVar(&embedding, "embedding-model", "", "folder of an embedding model to run in this process: search is then by meaning, too (ragmesh models check --help tells where to get one)")
	c.Flags().StringVar(&rerank, "rerank-model", "", "folder of a cross-encoder to run in this process: it ranks what the search finds once more")
	c.Flags().StringArrayVar(&set, "set", nil, "set one configuration key, SERVICE.KEY=VALUE; may be repeated")
	return c
}

// localModels has models of folders make vectors and rerank, and search use them.
func localModels(src settings.Source, embedding, rerank string) error {
	use := func(flag, folder, section string) error {
		path, err := filepath.Abs(folder)
		if err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
		for key, value := range map[string]string{"provider": "local", "model": path} {
			put(src.Set, identity.Gateway, section+".local."+key, value)
			put(src.FlagNames, identity.Gateway, section+".local."+key, "--"+flag)
		}
		return nil
	}
	strategy := ""
	if embedding != "" {
		if err := use("embedding-model", embedding, "embeddings"); err != nil {
			return err
		}
		put(src.Set, identity.Retriever, "embedding.model", "local")
		put(src.FlagNames, identity.Retriever, "embedding.model", "--embedding-model")
		strategy = "hybrid"
	}
	if rerank != "" {
		if err := use("rerank-model", rerank, "rerankers"); err != nil {
			return err
		}
		strategy = "reranked"
	}
	if _, given := src.Set[identity.Retriever]["search.strategy"]; strategy != "" && !given {
		put(src.Set, identity.Retriever, "search.strategy", strategy)
		put(src.FlagNames, identity.Retriever, "search.strategy", "--"+map[string]string{"hybrid": "embedding-model", "reranked": "rerank-model"}[strategy])
	}
	return nil
}

// parseSet reads SERVICE.KEY=VALUE.
func parseSet(pairs []string, src settings.Source) error {
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		service, rest, dotted := strings.Cut(key, ".")
		if !ok || !dotted || rest == "" {
			return usagef("--set %s: write it as SERVICE.KEY=VALUE, such as retriever.log.level=debug", pair)
		}
		put(src.Set, service, rest, value)
		put(src.FlagNames, service, rest, "--set "+key)
	}
	return nil
}

func put(table map[string]map[string]string, service, key, value string) {
	if table[service] == nil {
		table[service] = map[string]string{}
	}
	table[service][key] = value
}

// started is what `ragmesh up --json` prints when everything serves.
type started struct {
	Ready  bool   `json:"ready"`
	Server string `json:"server"`
	Admin  string `json:"admin"`
	TookMS int64  `json:"took_ms"`
}

func (a *app) runUp(ctx context.Context, o wire.Options) error {
	begin := time.Now()
	o.Ready = func(part, detail string) {
		if !a.json {
			a.out.printf("%s %-12s %s\n", a.out.style(green, "✓"), part, a.out.style(dim, detail))
		}
	}
	o.Started = func(edge, admin net.Addr) {
		took := time.Since(begin)
		if a.json {
			// Whoever reads this has gone when it fails; the server serves all the same.
			_ = a.out.value(started{Ready: true, Server: "http://" + edge.String(), Admin: "http://" + admin.String(), TookMS: took.Milliseconds()})
			return
		}
		a.welcome("http://"+edge.String(), "http://"+admin.String(), took)
	}
	if err := wire.Up(ctx, o); err != nil {
		return err
	}
	if !a.json {
		a.out.printf("Stopped.\n")
	}
	return nil
}

// welcome says what to try next.
func (a *app) welcome(server, admin string, took time.Duration) {
	flag := ""
	if server != defaultServer {
		flag = " --server " + server
	}
	a.out.printf("\nReady after %s at %s (health and metrics: %s). Stop with Ctrl-C.\n\n", took.Round(time.Millisecond), a.out.style(bold, server), admin)
	a.out.printf("Try next, in another terminal:\n")
	for _, next := range [][2]string{
		{"ragmesh ingest%s PATH", "take in a file or a folder: PDF, Office, HTML, Markdown ..."},
		{"ragmesh ask%s \"your question\"", "ask it; the answer cites its sources"},
		{"ragmesh trace%s last", "see how the answer came about"},
	} {
		a.out.printf("  %-*s  %s\n", 32+len(flag), fmt.Sprintf(next[0], flag), a.out.style(dim, next[1]))
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

func (a *app) nats() *cobra.Command {
	var data, addr, tokenFile string
	c := &cobra.Command{
		Use:   "nats",
		Short: "Run the NATS server alone, for services that run as processes of their own",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !process.Loopback(addr) && tokenFile == "" {
				return usagef("%s is more than this machine, and this server asks nobody who they are; use 127.0.0.1, --token-file, or a NATS of your own", addr)
			}
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			return a.runNATS(ctx, filepath.Join(data, "nats"), addr, tokenFile)
		},
	}
	addData(c, &data)
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:4222", "address to listen on; port 0 takes a free one")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with the token that clients must give (nats.token in their configuration); needed for any address but loopback")
	must(c.MarkFlagFilename("token-file"))
	return c
}

func (a *app) runNATS(ctx context.Context, dir, addr, tokenFile string) (err error) {
	var token string
	if tokenFile != "" {
		if token, err = (config.Secret{File: tokenFile}).Resolve(); err != nil {
			return fmt.Errorf("read the clients' token: %w", err)
		}
	}
	lock, err := process.LockDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: dir, Addr: addr, Token: token, Log: telemetry.Logger(a.err.w, "warn", a.err.terminal)})
	if err != nil {
		return err
	}
	defer server.Shutdown()
	if a.json {
		if err := a.out.value(map[string]string{"url": server.URL()}); err != nil {
			return err
		}
	} else {
		a.out.printf("NATS serves at %s, data in %s\n", server.URL(), dir)
		a.out.printf("Start a service with --nats-url %s, stop with Ctrl-C.\n", strings.TrimSuffix(server.URL(), "/"))
	}
	<-ctx.Done()
	return nil
}

func addData(c *cobra.Command, data *string) {
	c.Flags().StringVar(data, "data", ".ragmesh", "folder that everything is kept in")
	must(c.MarkFlagDirname("data"))
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

func (a *app) nats() *cobra.Command {
	var data, addr, tokenFile string
	var wait time.Duration
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
			lock, err := process.AwaitDir(ctx, filepath.Join(data, "nats"), wait, func(why error) { a.err.printf("waiting for up to %s: %s\n", wait, why) })
			if err != nil {
				return err
			}
			return errors.Join(a.runNATS(ctx, filepath.Join(data, "nats"), addr, tokenFile), lock.Unlock())
		},
	}
	addData(c, &data)
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:4222", "address to listen on; port 0 takes a free one")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with the token that clients must give (nats.token in their configuration); needed for any address but loopback")
	must(c.MarkFlagFilename("token-file"))
	c.Flags().DurationVar(&wait, "wait", 0, "how long to wait for a data folder that another process still holds")
	return c
}

func (a *app) runNATS(ctx context.Context, dir, addr, tokenFile string) (err error) {
	var token string
	if tokenFile != "" {
		if token, err = (config.Secret{File: tokenFile}).Resolve(); err != nil {
			return fmt.Errorf("read the clients' token: %w", err)
		}
	}
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

// Package cli is the ragmesh command: one file per command, and what they share. A command ends with exit code 0 when its
// work is done, 1 when the work failed, and 2 when it was used wrongly.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// defaultServer is where `ragmesh up` serves.
const defaultServer = "http://127.0.0.1:8080"

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Environment is the world around a command.
type Environment struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Environ is the environment as os.Environ returns it.
	Environ []string
	// Interruptible returns a context that ends when the user asks to stop. Once it has, asking again ends the process.
	Interruptible func(context.Context) (context.Context, context.CancelFunc)
	// Parser is the command of a process that reads documents for `up`; without one PDF files are refused.
	Parser []string
}

func (e Environment) getenv(name string) string {
	for _, pair := range e.Environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// app is one run of the command.
type app struct {
	Environment
	out, err *screen

	// The global flags.
	server, apiKey, workspace string
	json                      bool
	// begun says that a command's own work has begun: errors before it are wrong usage.
	begun bool
}

// Run runs the command that env names and returns its exit code.
func Run(ctx context.Context, env Environment) int {
	a := &app{Environment: env}
	a.out, a.err = newScreen(env.Stdout, env.getenv), newScreen(env.Stderr, env.getenv)
	root := a.root()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitDone
	case !a.begun, errors.As(err, new(usageError)):
		fmt.Fprintf(env.Stderr, "ragmesh: %s\nRun `%s --help` for usage.\n", err, cmd.CommandPath())
		return exitUsage
	case errors.Is(err, errReported):
		return exitFailed
	default:
		a.reportError(err)
		return exitFailed
	}
}

// usageError is wrong usage that only the command itself can see.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errReported ends a command that has already said what failed.
var errReported = errors.New("reported")

// each does something for each name, whatever becomes of the others.
func (a *app) each(names []string, do func(string) error) error {
	failed := false
	for _, name := range names {
		if err := do(name); err != nil {
			a.reportError(err)
			failed = true
		}
	}
	if failed {
		return errReported
	}
	return nil
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "ragmesh",
		Short:         "Ask your team's documents and live systems, with citations",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	flags := root.PersistentFlags()
	server := a.getenv("RAGMESH_SERVER")
	if server == "" {
		server = defaultServer
	}
	flags.StringVar(&a.server, "server", server, "address of the server (RAGMESH_SERVER)")
	// The default stays empty so that --help shows no secret; apply reads the variable.
	flags.StringVar(&a.apiKey, "api-key", "", "API key, sent as bearer token (RAGMESH_API_KEY)")
	flags.StringVarP(&a.workspace, "workspace", "w", "default", "workspace to work in")
	flags.BoolVar(&a.json, "json", false, "print the server's messages as JSON, one per line")
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "use", Title: "Use:"}, &cobra.Group{ID: "keep", Title: "Look after:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", a.up(), a.nats())
	add("use", a.ingest(), a.docs(), a.search(), a.ask(), a.chat(), a.sessions(), a.feedback())
	add("keep", a.trace(), a.eval(), a.prompts(), a.models(), a.usage(), a.bench(), a.config(), a.health(), a.workspaces(), a.members(), a.keys(), a.backup(), a.restore(), a.version())
	a.prepare(root)
	return root
}

// prepare makes every command note when its own work begins, and refuse what is no command of its group.
func (a *app) prepare(c *cobra.Command) {
	for _, child := range c.Commands() {
		a.prepare(child)
	}
	run := c.RunE
	if run == nil {
		// A group: alone it shows its help, with anything else cobra.NoArgs calls that an unknown command.
		c.Args = cobra.NoArgs
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		return
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		a.begun = true
		if a.apiKey == "" {
			a.apiKey = a.getenv("RAGMESH_API_KEY")
		}
		return run(c, args)
	}
}

// connect returns a client of the server.
func (a *app) connect() (*client.Client, error) {
	c, err := client.New(client.Options{Server: a.server, APIKey: a.apiKey, UserAgent: "ragmesh/" + telemetry.Version})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// online makes a command that talks to the server: f gets a client, and a context that ends on Ctrl-C.
func (a *app) online(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		defer c.Close()
		ctx, stop := a.Interruptible(cmd.Context())
		defer stop()
		return f(ctx, c, args)
	}
}

// Command ragmesh runs everything in one process, and is the command line for a server that runs elsewhere.
package main

import (
	"context"
	"os"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/cli"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
	"github.com/ragmesh/ragmesh/libs/process"
)

func main() {
	if code, started := wire.Parse(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); started {
		os.Exit(code)
	}
	os.Exit(cli.Run(context.Background(), cli.Environment{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Interruptible: process.Signals, Parser: wire.Parser(),
	}))
}

// Command ragmesh runs everything in one process, and is the command line for a server that runs elsewhere.
package main

import (
	"context"
	"os"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/cli"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/services/retriever"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == retriever.ParserArgument {
		os.Exit(retriever.Parser(os.Stdin, os.Stdout, os.Stderr))
	}
	parser, err := retriever.ParserCommand()
	if err != nil { // PDF files are refused then, with a reason
		parser = nil
	}
	os.Exit(cli.Run(context.Background(), cli.Environment{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Interruptible: process.Signals, Parser: parser,
	}))
}

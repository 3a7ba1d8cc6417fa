package wire

import (
	"io"
	"slices"

	"github.com/ragmesh/ragmesh/services/retriever"
)

// Parse is all that this process does when it was started to read documents for the retriever, which its arguments say. It returns
// the exit code; started is false in any other process.
func Parse(args []string, in io.Reader, out, errs io.Writer) (code int, started bool) {
	if !slices.Equal(args, []string{retriever.ParserArgument}) {
		return 0, false
	}
	return retriever.Parser(in, out, errs), true
}

// Parser returns the command that starts this program so, for [Options]; none where it can't be told.
func Parser() []string {
	command, err := retriever.ParserCommand()
	if err != nil { // PDF files are refused then, with a reason
		return nil
	}
	return command
}

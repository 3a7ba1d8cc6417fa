package retriever

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/ragmesh/ragmesh/services/retriever/internal/isolate"
	"github.com/ragmesh/ragmesh/services/retriever/internal/meter"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// ParserArgument is the only argument of a process that reads documents for the retriever: the main function of a program that
// runs one calls [Parser] when it finds it.
const ParserArgument = isolate.Argument

// Parser is such a process. It returns the exit code.
func Parser(in io.Reader, out, errs io.Writer) int {
	if err := isolate.Serve(in, out); err != nil {
		_, _ = fmt.Fprintln(errs, "read documents:", err)
		return 1
	}
	return 0
}

// ParserCommand starts this program as such a process.
func ParserCommand() ([]string, error) { return isolate.Command() }

// parser returns what reads documents, and what ends its processes.
func parser(c Parse, command []string, dataDir string, m *meter.Meter) (registry *parse.Registry, end func()) {
	limits := parse.Limits{Text: int64(c.MaxText), Expanded: int64(c.MaxExpanded), Pages: c.MaxPages, Rows: c.MaxRows, Files: c.MaxFiles}
	if len(command) == 0 {
		return parse.New(parse.Config{Limits: limits}), func() {}
	}
	const documents = 100 // that one process reads, so that nothing grows in it for ever
	pool := isolate.New(isolate.Config{
		Settings: isolate.Settings{
			Limits: limits, Memory: int64(c.Memory), Cache: filepath.Join(dataDir, "cache"), OCR: c.OCR.Command, OCRTimeout: c.OCR.Timeout,
		},
		Command: command, Processes: c.Processes, Timeout: c.Timeout, Idle: c.Idle, Documents: documents, Warn: m.Warn,
	})
	return parse.New(parse.Config{Limits: limits, Isolated: pool.Parse}), pool.Close
}

// Package ocr gives a text to PDF files that have none, through an external command. The command reads the file from its
// standard input and writes to its standard output either a PDF with a text layer, as `ocrmypdf - -` does, or plain text with a
// form feed after each page.
package ocr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// Config is what can be chosen about OCR.
type Config struct {
	// Command is the program with its arguments; no shell reads it.
	Command []string
	Timeout time.Duration
	Limits  parse.Limits
	// Reader reads a PDF that the command has written.
	Reader func(ctx context.Context, s parse.Source) (parse.Document, error)
	// Dir is where the command runs.
	Dir string
}

// Read has the command find the text of a PDF file.
func Read(ctx context.Context, c Config, s parse.Source) (parse.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...) //nolint:gosec // the operator's own
	cmd.Dir, cmd.Stdin = c.Dir, bytes.NewReader(s.Data)
	cmd.WaitDelay = 5 * time.Second
	out := &bounded{limit: c.Limits.Expanded}
	said := &bounded{limit: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case out.over:
		return parse.Document{}, fault.New(fault.Invalid, fault.DocumentTooLarge, "OCR of the PDF gave more than %d MiB", c.Limits.Expanded>>20)
	case ctx.Err() != nil:
		return parse.Document{}, fault.New(fault.Invalid, fault.OCRRequired, "the PDF has no text, and OCR took longer than %s", c.Timeout)
	case err != nil:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return parse.Document{}, fault.Wrap(fmt.Errorf("%w: %s", err, said.b.String()), fault.Invalid, fault.OCRRequired, "the PDF has no text, and OCR failed (%s)", exit.ProcessState)
		}
		return parse.Document{}, fault.Wrap(err, fault.Invalid, fault.OCRRequired, "the PDF has no text, and the OCR command %s can't be started", c.Command[0])
	}
	data := out.b.Bytes()
	if bytes.HasPrefix(data, []byte("%PDF-")) {
		s.Data = data
		return c.Reader(ctx, s)
	}
	return pages(strings.ToValidUTF8(string(data), ""), c.Limits)
}

// pages makes a document of plain text with a form feed after each page.
func pages(s string, limits parse.Limits) (parse.Document, error) {
	b := parse.NewBuilder(limits)
	number := 0
	for page := range strings.SplitSeq(s, "\f") {
		number++
		for paragraph := range strings.SplitSeq(parse.Clean(page), "\n\n") {
			paragraph = strings.Trim(paragraph, "\n")
			if err := b.Add(parse.Paragraph, 0, paragraph, parse.Place{End: len(paragraph), Page: number}); err != nil {
				return parse.Document{}, err
			}
		}
	}
	doc := b.Document("")
	if len(doc.Blocks) == 0 {
		return parse.Document{}, fault.New(fault.Invalid, fault.OCRRequired, "the PDF has no text, and OCR found none")
	}
	return doc, nil
}

// bounded keeps what is written up to a limit, and fails beyond it.
type bounded struct {
	b     bytes.Buffer
	limit int64
	over  bool
}

func (w *bounded) Write(p []byte) (int, error) {
	if int64(w.b.Len()+len(p)) > w.limit {
		w.over = true
		return 0, errors.New("more than is allowed")
	}
	return w.b.Write(p)
}

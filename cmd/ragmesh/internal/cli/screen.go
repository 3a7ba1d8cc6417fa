package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// screen is where a command writes. It knows whether a person looks on.
type screen struct {
	w        io.Writer
	terminal bool
	colour   bool
	width    int
}

// defaultWidth is how wide a pipe is.
const defaultWidth = 100

func newScreen(w io.Writer, getenv func(string) string) *screen {
	s := &screen{w: w, width: defaultWidth}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = true
		s.colour = getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			s.width = width
		}
	}
	return s
}

// The styles.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// style wraps text in a colour when somebody can see it.
func (s *screen) style(style, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// paint colours text by a status.
func (s *screen) paint(status, text string) string {
	switch status {
	case "failed", "error":
		return s.style(red, text)
	case "degraded":
		return s.style(yellow, text)
	case "skipped":
		return s.style(dim, text)
	case "ok", "":
		return s.style(cyan, text)
	default:
		return text
	}
}

func (s *screen) printf(format string, args ...any) { fmt.Fprintf(s.w, format, args...) }

// message writes a protobuf message as one line of JSON.
func (s *screen) message(m proto.Message) error {
	b, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	// protojson varies its white space on purpose; scripts and tests want the same bytes each time.
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return s.line(line.Bytes())
}

// value writes a value of our own as one line of JSON.
func (s *screen) value(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return s.line(b)
}

func (s *screen) line(b []byte) error {
	if _, err := s.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// table writes rows in aligned columns. The last column is not filled up.
func (s *screen) table(header []string, rows [][]string) {
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], columns().StringWidth(cell))
		}
	}
	for n, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = cell; i < len(row)-1 {
				cells[i] = columns().FillRight(cell, width[i])
			}
		}
		line := strings.TrimRight(strings.Join(cells, "  "), " ")
		if n == 0 {
			line = s.style(bold, line)
		}
		s.printf("%s\n", line)
	}
}

// columns measures text in terminal columns: two for a Chinese character.
func columns() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

// clean makes text from documents and models safe to show: a terminal obeys control characters, and a reader is misled by
// those that turn the direction of writing. Line breaks and tabs stay.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r', unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		default:
			return r
		}
	}, text)
}

// oneLine returns text cleaned and on one line, cut to width columns; 0 for no cut.
func oneLine(text string, width int) string {
	text = strings.Join(strings.Fields(clean(text)), " ")
	if width > 0 {
		text = columns().Truncate(text, width, "…")
	}
	return text
}

// reportError says what went wrong: what may be shown of it, never Go internals.
func (a *app) reportError(err error) {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		// An error of this program about files, flags or the terminal: its own words say best what it is.
		for line := range strings.Lines(err.Error()) {
			a.err.printf("%s %s\n", a.err.style(red, "ragmesh:"), clean(strings.TrimSuffix(line, "\n")))
		}
		return
	}
	a.err.printf("%s %s\n", a.err.style(red, "ragmesh:"), clean(f.Message))
	if f.Reason != fault.Unspecified {
		a.err.printf("  reason: %s\n", fault.ReasonName(f.Reason))
	}
	for _, field := range f.Fields {
		a.err.printf("  %s: %s\n", clean(field.Path), clean(field.Description))
	}
	if f.RetryAfter > 0 {
		a.err.printf("  try again in %s\n", f.RetryAfter)
	}
	if f.Help != "" {
		a.err.printf("  help: %s\n", clean(f.Help))
	}
}

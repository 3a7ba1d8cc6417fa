// Package export writes a conversation as a file for people: Markdown, with each question, its answer, and below it what the
// answer cites. What people, documents and models wrote can't change the structure of the file: questions and quotes appear
// letter for letter, answers keep their lists, emphasis and code, and nothing is loaded from elsewhere.
package export

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/services/dialog/internal/title"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Head is what is said of a conversation as a whole.
type Head struct {
	Title         string
	Begun, Ended  time.Time
	Exported      time.Time
	Session, User string
	Turns         int
}

// Markdown writes a conversation. It holds one turn at a time.
func Markdown(w io.Writer, h Head, turns iter.Seq2[turn.Turn, error]) error {
	out := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(out, "# %s\n\n", literal(h.Title))
	fmt.Fprintf(out, "%s to %s, %s. Exported %s. Session %s of %s.\n\n", date(h.Begun), date(h.Ended), count(h.Turns), date(h.Exported), code(h.Session), code(h.User))
	number := 0
	for t, err := range turns {
		if err != nil {
			return err
		}
		number++
		write(out, number, t)
	}
	if err := out.Flush(); err != nil { // of every write: the first error stays
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// put leaves the error to Flush, which returns the first.
func put(out *bufio.Writer, text string) { _, _ = out.WriteString(text) }

func count(turns int) string {
	if turns == 1 {
		return "1 question"
	}
	return strconv.Itoa(turns) + " questions"
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func write(out *bufio.Writer, number int, t turn.Turn) {
	heading := title.Of(t.Question)
	fmt.Fprintf(out, "## %d. %s\n\n", number, literal(heading))
	if heading != t.Question { // the heading is a part of it
		put(out, quoted(paragraphs(t.Question)))
	}
	fmt.Fprintf(out, "*%s%s*\n\n", date(t.StartedAt), ending(t))
	if answer := strings.TrimSpace(t.Answer); answer != "" {
		put(out, quoted(answerLines(answer)))
	}
	if t.Failure != nil {
		put(out, quoted(paragraphs(t.Failure.Message)))
	}
	if t.Withheld {
		put(out, "Texts of documents that you may not read, or that are gone, are left out.\n\n")
	}
	for _, d := range t.Degradations {
		if d.Message != "" {
			fmt.Fprintf(out, "Note: %s\n\n", literal(d.Message))
		}
	}
	cite(out, t)
}

// ending says how a turn ended, unless it was answered.
func ending(t turn.Turn) string {
	switch t.Outcome {
	case turn.Abstained:
		return ", not answered: the sources do not hold it"
	case turn.Interrupted:
		return ", interrupted: the answer is not whole"
	case turn.Failed:
		return ", failed"
	default:
		return ""
	}
}

// cite lists what stands behind the answer's markers, each once.
func cite(out *bufio.Writer, t turn.Turn) {
	type key struct {
		number uint32
		quote  string
	}
	seen := map[key]bool{}
	sources := map[string]*turn.Passage{}
	for _, s := range t.Sources {
		sources[s.ID] = s.Passage
	}
	for _, c := range t.Citations {
		k := key{c.Number, c.Quote}
		if seen[k] {
			continue
		}
		seen[k] = true
		if len(seen) == 1 {
			fmt.Fprintf(out, "Sources:\n\n")
		}
		fmt.Fprintf(out, "- \\[%d\\] %s", c.Number, literal(c.Title))
		if p := sources[c.SourceID]; p != nil {
			put(out, where(p, c.Title))
		}
		if c.URI != "" {
			fmt.Fprintf(out, " — %s", code(c.URI))
		}
		switch c.Support {
		case evidence.Supported:
		case evidence.Unverified:
			put(out, " — not verified")
		default:
			put(out, " — does not support what is said")
		}
		put(out, "\n")
		for _, line := range paragraphs(c.Quote) {
			put(out, strings.TrimRight("  > "+line, " ")+"\n")
		}
		put(out, "\n")
	}
}

// where names the place in a document: headings and pages.
func where(p *turn.Passage, title string) string {
	var b strings.Builder
	for i, h := range p.Headings {
		if i == 0 && h == title {
			continue
		}
		b.WriteString(" › " + literal(h))
	}
	for i, r := range p.Pages {
		switch {
		case i > 0:
			fmt.Fprintf(&b, ", %d", r.Page)
		case len(p.Pages) > 1:
			fmt.Fprintf(&b, ", pages %d", r.Page)
		default:
			fmt.Fprintf(&b, ", page %d", r.Page)
		}
	}
	return b.String()
}

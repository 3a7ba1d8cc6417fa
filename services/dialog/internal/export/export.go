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

	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
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
		out.WriteString(quoted(paragraphs(t.Question)))
	}
	fmt.Fprintf(out, "*%s%s*\n\n", date(t.StartedAt), ending(t))
	if answer := strings.TrimSpace(t.Answer); answer != "" {
		out.WriteString(quoted(answerLines(answer)))
	}
	if t.Failure != nil {
		out.WriteString(quoted(paragraphs(t.Failure.Message)))
	}
	if t.Withheld {
		out.WriteString("Texts of documents that you may not read, or that are gone, are left out.\n\n")
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
		if k := (key{c.Number, c.Quote}); seen[k] {
			continue
		} else {
			seen[k] = true
		}
		if len(seen) == 1 {
			fmt.Fprintf(out, "Sources:\n\n")
		}
		fmt.Fprintf(out, "- \\[%d\\] %s", c.Number, literal(c.Title))
		if p := sources[c.SourceID]; p != nil {
			out.WriteString(where(p, c.Title))
		}
		if c.URI != "" {
			fmt.Fprintf(out, " — %s", code(c.URI))
		}
		switch c.Support {
		case citing.Supported:
		case citing.Unverified:
			out.WriteString(" — not verified")
		default:
			out.WriteString(" — does not support what is said")
		}
		out.WriteByte('\n')
		for _, line := range paragraphs(c.Quote) {
			out.WriteString(strings.TrimRight("  > "+line, " ") + "\n")
		}
		out.WriteByte('\n')
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

package cli

import (
	"fmt"
	"strconv"
	"strings"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// maxTextWidth is as wide as text reads well.
const maxTextWidth = 100

// heading returns "Title › Heading › Subheading", without a heading that repeats the title.
func heading(title string, path []string) string {
	parts := []string{oneLine(title, 0)}
	for _, h := range path {
		if h = oneLine(h, 0); h != parts[len(parts)-1] {
			parts = append(parts, h)
		}
	}
	return strings.Join(parts, " › ")
}

// place returns "docs/fees.md:120-180": where a text stands, in bytes of the document's canonical text.
func place(uri string, r *retrieverv1.ByteRange) string {
	if r == nil {
		return oneLine(uri, 0)
	}
	return fmt.Sprintf("%s:%d-%d", oneLine(uri, 0), r.GetStart(), r.GetEnd())
}

func score(s float64) string { return strconv.FormatFloat(s, 'g', 4, 64) }

// wrap breaks text into at most limit lines of at most width columns; 0 for no limit. What was left out shows as an ellipsis.
func wrap(text string, width, limit int) []string {
	width = max(width, 20)
	var lines []string
	line := ""
	flush := func() {
		if line != "" {
			lines = append(lines, line)
			line = ""
		}
	}
	for _, word := range strings.Fields(clean(text)) {
		for columns().StringWidth(word) > width { // Chinese has no spaces to break at
			flush()
			head := columns().Truncate(word, width, "")
			lines, word = append(lines, head), word[len(head):]
		}
		if line != "" && columns().StringWidth(line)+1+columns().StringWidth(word) > width {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	flush()
	if limit > 0 && len(lines) > limit {
		lines = lines[:limit]
		lines[limit-1] = columns().Truncate(lines[limit-1], width-2, "") + " …"
	}
	return lines
}

func (a *app) showDegradations(degradations []*retrieverv1.Degradation) {
	for _, d := range degradations {
		text := fmt.Sprintf("degraded: %s (%s)", oneLine(d.GetStage(), 0), oneLine(d.GetReason(), 0))
		if d.GetMessage() != "" {
			text += ": " + oneLine(d.GetMessage(), 0)
		}
		a.out.printf("%s\n", a.out.style(yellow, text))
	}
}

var outcomes = map[dialogv1.Outcome]string{
	dialogv1.Outcome_OUTCOME_ANSWERED: "answered", dialogv1.Outcome_OUTCOME_ABSTAINED: "abstained",
	dialogv1.Outcome_OUTCOME_INTERRUPTED: "interrupted", dialogv1.Outcome_OUTCOME_FAILED: "failed",
}

var supports = map[dialogv1.Support]string{
	dialogv1.Support_SUPPORT_SUPPORTED: "supported", dialogv1.Support_SUPPORT_UNSUPPORTED: "unsupported",
	dialogv1.Support_SUPPORT_UNVERIFIED: "unverified",
}

// showCitations lists a turn's citations: which source, where in it, and in which words.
func (a *app) showCitations(turn *dialogv1.Turn) {
	if len(turn.GetCitations()) == 0 {
		return
	}
	headings := map[uint32]string{}
	for _, s := range turn.GetSources() {
		headings[s.GetNumber()] = sourceHeading(s)
	}
	a.out.printf("\n%s\n", a.out.style(bold, "Citations"))
	for _, c := range turn.GetCitations() {
		title := headings[c.GetNumber()]
		if title == "" {
			title = oneLine(c.GetTitle(), 0)
		}
		a.out.printf("[%d] %s", c.GetNumber(), title)
		if c.GetSourceUri() != "" {
			a.out.printf("  %s", a.out.style(dim, place(c.GetSourceUri(), c.GetSourceRange())))
		}
		support := supports[c.GetSupport()]
		switch c.GetSupport() {
		case dialogv1.Support_SUPPORT_SUPPORTED:
			support = a.out.style(green, support)
		case dialogv1.Support_SUPPORT_UNSUPPORTED:
			support = a.out.style(red, support)
		default:
			support = a.out.style(yellow, support)
		}
		a.out.printf("  %s\n", support)
		for _, line := range wrap("“"+c.GetQuote()+"”", min(a.out.width, maxTextWidth)-4, 0) {
			a.out.printf("    %s\n", line)
		}
	}
}

// showSources lists everything an answer could cite.
func (a *app) showSources(sources []*llmv1.Source) {
	for _, s := range sources {
		a.out.printf("[%d] %s", s.GetNumber(), a.out.style(bold, sourceHeading(s)))
		text := s.GetToolResult().GetText()
		if p := s.GetPassage(); p != nil {
			a.out.printf("  %s", a.out.style(dim, place(p.GetSourceUri(), p.GetRange())))
			text = p.GetText()
		}
		a.out.printf("\n")
		for _, line := range wrap(text, min(a.out.width, maxTextWidth)-4, excerptLines) {
			a.out.printf("    %s\n", line)
		}
	}
}

func sourceHeading(s *llmv1.Source) string {
	if t := s.GetToolResult(); t != nil {
		return "tool " + oneLine(t.GetTool(), 0)
	}
	return heading(s.GetPassage().GetTitle(), s.GetPassage().GetHeadingPath())
}

package parse

import "strings"

// stripComments removes HTML comments outside code, together with the lines they leave blank. Goldmark would take them as
// HTML blocks that tear lists and tables apart; a translated page has one, with the original text, before each paragraph.
// An opener that is never closed is kept as text rather than swallowing the rest of the page.
func stripComments(s string) string {
	if !strings.Contains(s, "<!--") {
		return s
	}
	c := commentStripper{rest: s}
	c.out.Grow(len(s))
	for c.rest != "" {
		c.line()
	}
	return c.out.String()
}

type commentStripper struct {
	rest     string
	out      strings.Builder
	fence    fence
	previous byte // first character of the last line that was not blank
	removed  bool // a comment was removed since that line
	unclosed bool // no comment closes any more
}

// line moves one line, or what comments leave of several, from rest to out.
func (c *commentStripper) line() {
	current := upToNewline(c.rest)
	if c.fence.next(current) || c.unclosed {
		c.emit(current)
		c.rest = c.rest[len(current):]
		return
	}
	var kept strings.Builder
	ticks := 0
	for {
		at := strings.Index(current, "<!--")
		if at < 0 {
			break
		}
		ticks += strings.Count(current[:at], "`")
		if ticks%2 == 0 {
			end := strings.Index(c.rest[at+len("<!--"):], "-->")
			if end < 0 {
				c.unclosed = true
				break
			}
			kept.WriteString(current[:at])
			at += len("<!--") + end + len("-->")
			c.removed = true
		} else {
			at += len("<!--")
			kept.WriteString(current[:at])
		}
		c.rest = c.rest[at:]
		if at >= len(current) {
			current = upToNewline(c.rest)
		} else {
			current = current[at:]
		}
	}
	kept.WriteString(current)
	c.rest = c.rest[len(current):]
	c.emit(kept.String())
}

func (c *commentStripper) emit(l string) {
	trimmed := strings.TrimSpace(l)
	if trimmed == "" {
		if c.removed && c.previous == '|' && strings.HasPrefix(strings.TrimLeft(c.rest[:min(len(c.rest), 64)], " \n"), "|") {
			return // between two rows of a table
		}
		c.out.WriteByte('\n')
		return
	}
	c.out.WriteString(l)
	c.previous, c.removed = trimmed[0], false
}

func upToNewline(s string) string {
	if n := strings.IndexByte(s, '\n'); n >= 0 {
		return s[:n+1]
	}
	return s
}

// fence tracks whether lines are inside a fenced code block.
type fence struct{ open string }

// next takes the next line and reports whether it belongs to a code block, its fences included.
func (f *fence) next(l string) bool {
	t := strings.TrimLeft(l, " \t")
	run := 0
	for run < len(t) && (t[run] == '`' || t[run] == '~') && t[run] == t[0] {
		run++
	}
	switch {
	case f.open == "" && run >= 3 && !(t[0] == '`' && strings.Contains(t[run:], "`")):
		f.open = t[:run]
		return true
	case f.open == "":
		return false
	}
	if run >= len(f.open) && t[0] == f.open[0] && strings.TrimSpace(t[run:]) == "" {
		f.open = ""
	}
	return true
}

package parse

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// canon writes canonical text block by block and records where each block stands.
type canon struct {
	text   strings.Builder
	blocks []Block
	places []Place
	limit  int64 // bytes of text
}

// add appends a block, one blank line after the one before. Blank blocks are dropped.
func (c *canon) add(kind Kind, level int, s string) error {
	s = strings.Trim(s, "\n")
	if strings.TrimSpace(s) == "" {
		return nil
	}
	if len(c.blocks) == maxBlocks {
		return tooLarge("the document has more than %d headings, paragraphs and tables; split it", maxBlocks)
	}
	if int64(c.text.Len()+len(s)) > c.limit {
		return tooLarge("the document holds more than %d MiB of text; split it", c.limit>>20)
	}
	if c.text.Len() > 0 {
		c.text.WriteString("\n\n")
	}
	start := c.text.Len()
	c.text.WriteString(s)
	c.blocks = append(c.blocks, Block{Kind: kind, Level: level, Start: start, End: c.text.Len()})
	return nil
}

func (c *canon) document(title string) Document {
	return Document{Title: title, Text: c.text.String(), Blocks: c.blocks, Places: c.places}
}

// addAt appends a block that stands on a page. Places are within s, in the order of its text.
func (c *canon) addAt(kind Kind, level int, s string, places []Place) error {
	trimmed := len(s) - len(strings.TrimLeft(s, "\n"))
	before := len(c.blocks)
	if err := c.add(kind, level, s); err != nil || len(c.blocks) == before {
		return err
	}
	b := c.blocks[before]
	for _, p := range places {
		p.Start, p.End = max(p.Start-trimmed, 0)+b.Start, min(p.End-trimmed+b.Start, b.End)
		if p.Start < p.End {
			c.places = append(c.places, p)
		}
	}
	return nil
}

// Builder writes canonical text for parsers outside of this package.
type Builder struct{ canon canon }

// NewBuilder returns a builder that refuses more text than the limits allow.
func NewBuilder(l Limits) *Builder { return &Builder{canon{limit: l.Text}} }

// Add appends a block with the places of its parts, which count from the start of s. Blank blocks are dropped.
func (b *Builder) Add(kind Kind, level int, s string, places ...Place) error {
	return b.canon.addAt(kind, level, s, places)
}

// Table appends a table, row by row; at tells where each stands. The first row may be the headings, see [Table].
func (b *Builder) Table(grid [][]string, at []Place) error {
	t := rows{c: &b.canon, spent: newBudget(Limits{Rows: len(grid)})}
	if len(grid) > 1 && looksLikeHead(grid[0]) {
		t.head(grid[0])
		grid, at = grid[1:], at[1:]
	}
	var places []Place
	for i, row := range grid {
		before := t.block.Len()
		if err := t.add(row); err != nil {
			return err
		}
		if t.lines == 0 && i+1 < len(grid) { // a full block has been written
			places = nil
			continue
		}
		if after := t.block.Len(); after > before {
			place := at[i]
			place.Start, place.End = before, after
			places = append(places, place)
		}
	}
	return b.canon.addAt(Table, 0, t.block.String(), places)
}

// Document returns what was written.
func (b *Builder) Document(title string) Document { return b.canon.document(title) }

// Clean makes raw text fit for canonical text: no control or invisible characters, ordinary spaces and line ends.
func Clean(s string) string { return clean(s) }

// Joins reports whether a line break between two characters stands for nothing rather than for a space.
func Joins(a, b rune) bool { return joins(a, b) }

// clean makes raw text fit for canonical text: \n line ends, no byte order mark, control or invisible characters, ordinary
// spaces.
func clean(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return '\n'
		case r == '\u00a0' || r == '\u202f' || r == '\u2007':
			return ' '
		case r == '\ufeff' || r == '\u200b' || r == '\u2060' || r == '\u00ad' || unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
}

// line collects running text: white space collapses to one space, and a line break between two characters of a script
// that is written without spaces collapses to nothing.
type line struct {
	b    strings.Builder
	gap  gap
	last rune
}

type gap uint8

const (
	none  gap = iota
	space     // becomes one space
	wrap      // a line break of the source: a space, or nothing between CJK characters
)

func (l *line) write(s string) {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case r == '\n':
			l.gap = max(l.gap, wrap)
			continue
		case unicode.IsSpace(r):
			l.gap = max(l.gap, space)
			continue
		}
		if l.gap != none && l.last != 0 && l.last != '\n' && !(l.gap == wrap && joins(l.last, r)) {
			l.b.WriteByte(' ')
		}
		l.gap = none
		l.b.WriteRune(r)
		l.last = r
	}
}

// breakLine ends the line for good, as a hard line break does.
func (l *line) breakLine() {
	if l.last == 0 || l.last == '\n' {
		return
	}
	l.b.WriteByte('\n')
	l.gap, l.last = none, '\n'
}

func (l *line) String() string { return strings.TrimSpace(l.b.String()) }

// joins reports whether a line break between a and b stands for nothing: between two wide characters, and after wide
// punctuation.
func joins(a, b rune) bool {
	return wide(a) && wide(b) || widePunctuation(a) || widePunctuation(b)
}

func wide(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || widePunctuation(r)
}

func widePunctuation(r rune) bool {
	return r >= 0x3001 && r <= 0x303f || r >= 0xff01 && r <= 0xff65 || strings.ContainsRune("“”‘’…—·", r)
}

// indent puts prefix before every line of s but the first and blank ones.
func indent(s, prefix string) string {
	if !strings.Contains(s, "\n") {
		return s
	}
	lines := strings.Split(s, "\n")
	for i := 1; i < len(lines); i++ {
		if lines[i] != "" {
			lines[i] = prefix + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

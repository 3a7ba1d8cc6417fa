package parse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	rowsInBlock = 500
	maxColumns  = 4_096
	maxHeading  = 200 // bytes of a column's heading that stand in every cell
)

// rows writes a table row by row. Every cell carries its column's heading ("Fee: 12 euros"), because a row is read, found and
// cited without the rows above it.
type rows struct {
	c        *canon
	spent    *budget
	headings []string
	block    strings.Builder
	lines    int
}

// head sets the headings of the columns.
func (t *rows) head(cells []string) {
	t.headings = make([]string, len(cells))
	for i, cell := range cells {
		if len(cell) > maxHeading {
			cell = strings.ToValidUTF8(cell[:maxHeading], "")
		}
		t.headings[i] = strings.TrimRight(cell, ": ：")
	}
}

// add writes a row. Cells are in their columns' order; empty ones are left out.
func (t *rows) add(cells []string) error {
	if err := t.spent.row(); err != nil {
		return err
	}
	if len(cells) > maxColumns {
		return tooLarge("a table has more than %d columns", maxColumns)
	}
	empty := true
	for i, cell := range cells {
		if cell == "" {
			continue
		}
		if empty && t.lines > 0 {
			t.block.WriteByte('\n')
		}
		if empty {
			t.block.WriteByte('|')
		}
		empty = false
		t.block.WriteByte(' ')
		if i < len(t.headings) && t.headings[i] != "" {
			t.block.WriteString(t.headings[i])
			t.block.WriteString(": ")
		}
		t.block.WriteString(cell)
		t.block.WriteString(" |")
	}
	if empty {
		return nil
	}
	if t.lines++; t.lines == rowsInBlock {
		return t.flush()
	}
	return nil
}

// flush writes the rows that are held back.
func (t *rows) flush() error {
	if t.lines == 0 {
		return nil
	}
	err := t.c.add(Table, 0, t.block.String())
	t.block.Reset()
	t.lines = 0
	return err
}

// table writes rows of which the first may be the headings: it is when every cell of it is short and filled and different.
func (t *rows) table(all [][]string, headed bool) error {
	if len(all) > 1 && (headed || len(all[0]) > 2) && looksLikeHead(all[0]) {
		t.head(all[0])
		all = all[1:]
	}
	for _, row := range all {
		if err := t.add(row); err != nil {
			return err
		}
	}
	return t.flush()
}

// looksLikeHead reports whether cells could be the headings of columns.
func looksLikeHead(cells []string) bool {
	filled, words := 0, 0
	for _, c := range cells {
		if c == "" {
			continue
		}
		filled++
		if len(c) <= maxHeading && !number(c) {
			words++
		}
	}
	return filled > 0 && filled*2 >= len(cells) && words == filled
}

// number reports whether a cell is a figure rather than a word.
func number(s string) bool {
	digits := 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case strings.ContainsRune("+-.,%/: eE€$£¥()", r):
		default:
			return false
		}
	}
	return digits > 0
}

// cell makes one line of what a cell holds.
func cell(s string) string {
	if s == "" || strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= utf8.RuneSelf }) < 0 && !strings.Contains(s, "  ") {
		return strings.TrimSpace(s)
	}
	return strings.Join(strings.Fields(clean(s)), " ")
}

// parseTable reads values separated by commas, tabs, semicolons or bars, whichever it is. The first row names the columns when
// it looks like that.
func (r *Registry) parseTable(ctx context.Context, s Source) (Document, error) {
	c := r.canon()
	t := rows{c: &c, spent: s.spent}
	reader := csv.NewReader(newLines(s.Data))
	reader.Comma = delimiter(s.Data)
	reader.FieldsPerRecord, reader.LazyQuotes, reader.ReuseRecord = -1, true, true
	var first []string
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return Document{}, ctx.Err()
		}
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Document{}, malformed("the table can't be read: %v", err)
		}
		if len(record) > maxColumns {
			return Document{}, tooLarge("a table has more than %d columns", maxColumns)
		}
		for i := range record {
			record[i] = cell(record[i])
		}
		switch {
		case n == 0 && looksLikeHead(record):
			first = append(first, record...)
			t.head(first)
			continue
		}
		if err := t.add(record); err != nil {
			return Document{}, err
		}
	}
	if err := t.flush(); err != nil {
		return Document{}, err
	}
	if len(c.blocks) == 0 && first != nil { // headings and nothing below
		t.headings = nil
		if err := errors.Join(t.add(first), t.flush()); err != nil {
			return Document{}, err
		}
	}
	return c.document(""), nil
}

// lines gives a text to a CSV reader with the line ends that it knows.
type lines struct{ in *bufio.Reader }

func newLines(data []byte) io.Reader {
	return &lines{bufio.NewReaderSize(bytes.NewReader(data), 64<<10)}
}

func (l *lines) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	for i := range n {
		if p[i] == '\r' {
			if i+1 < n && p[i+1] == '\n' {
				continue
			}
			if i+1 == n {
				if next, _ := l.in.Peek(1); len(next) == 1 && next[0] == '\n' {
					continue
				}
			}
			p[i] = '\n'
		}
	}
	return n, err
}

// delimiter is the sign that separates the values: the one that most lines have, and alike.
func delimiter(data []byte) rune {
	head := string(data[:min(len(data), headSize)])
	best, most := ',', 0
	for _, d := range ",\t;|" {
		counts := map[int]int{}
		seen := 0
		for l := range strings.Lines(head) {
			if strings.TrimSpace(l) == "" {
				continue
			}
			if seen++; seen > 50 {
				break
			}
			if n := unquoted(l, d); n > 0 {
				counts[n]++
			}
		}
		for n, lines := range counts {
			if score := lines*100 + min(n, 50); lines*2 >= min(seen, 50) && score > most {
				best, most = d, score
			}
		}
	}
	return best
}

// unquoted counts d outside of quotation marks.
func unquoted(line string, d rune) int {
	n, quoted := 0, false
	for _, r := range line {
		switch r {
		case '"':
			quoted = !quoted
		case d:
			if !quoted {
				n++
			}
		}
	}
	return n
}

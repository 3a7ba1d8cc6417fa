package parse

import (
	"context"
	"encoding/xml"
	"path"
	"strconv"
	"strings"
)

// word reads a DOCX: headings, paragraphs, lists, tables as rows, text boxes, footnotes where they are referred to. Page headers
// and footers, comments, deleted and hidden text and tables of contents are left out.
func (r *Registry) word(ctx context.Context, s Source, p *pack, name string) (Document, error) {
	w := wordReader{ctx: ctx, pack: p, spent: s.spent, canon: r.canon(), styles: map[string]wordStyle{}, notes: map[string]string{}}
	folder := path.Dir(strings.TrimPrefix(name, "/"))
	if err := w.readStyles(folder + "/styles.xml"); err != nil {
		return Document{}, err
	}
	if err := w.readNumbering(folder + "/numbering.xml"); err != nil {
		return Document{}, err
	}
	for _, kind := range []string{"footnote", "endnote"} {
		if err := w.readNotes(folder+"/"+kind+"s.xml", kind); err != nil {
			return Document{}, err
		}
	}
	f := p.file(name)
	if f == nil {
		return Document{}, malformed("the document's main part is missing")
	}
	x, err := p.part(f)
	if err != nil {
		return Document{}, err
	}
	defer func() { _ = x.close() }()
	if err := w.body(x, 0, w.block); err != nil {
		return Document{}, err
	}
	if err := w.flushList(); err != nil {
		return Document{}, err
	}
	title := p.title()
	if title == "" {
		title = w.title
	}
	doc := w.canon.document(title)
	doc.ContentType = typeWord
	return doc, nil
}

type wordReader struct {
	ctx     context.Context
	pack    *pack
	spent   *budget
	canon   canon
	styles  map[string]wordStyle
	ordered map[string]bool   // "number/level" of lists that count
	notes   map[string]string // "footnote3"
	title   string

	items []string // of the lists that are being read
	list  string   // the number of the last one
	count map[int]int
}

// paragraph is one w:p.
type paragraph struct {
	text    string
	style   string
	outline int // level of a heading set on the paragraph itself, from 1
	number  string
	indent  int
	boxes   []paragraph // text boxes anchored in it
}

const maxNotes = 50_000

func (w *wordReader) readNotes(name, kind string) error {
	return w.pack.each(name, func(x *part, e xml.StartElement) error {
		if e.Name.Local != kind || value(e, "type") != "" || len(w.notes) > maxNotes { // separators have a type
			return nil
		}
		var texts []string
		err := w.body(x, x.depth, func(p paragraph) error {
			if s := strings.TrimSpace(p.text); s != "" {
				texts = append(texts, s)
			}
			return nil
		})
		w.notes[kind+value(e, "id")] = strings.Join(texts, " ")
		return err
	})
}

// body reads paragraphs and tables until the element that is open at a depth ends.
func (w *wordReader) body(x *part, until int, do func(paragraph) error) error {
	for n := 0; ; n++ {
		if n%1024 == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		t, err := x.next()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case nil:
			if until > 0 {
				return malformed("the document's XML is cut off")
			}
			return nil
		case xml.EndElement:
			if until > 0 && x.depth < until {
				return nil
			}
		case xml.StartElement:
			switch t.Name.Local {
			case "p":
				p, err := w.paragraph(x)
				if err != nil {
					return err
				}
				if err := do(p); err != nil {
					return err
				}
				for _, box := range p.boxes {
					if err := do(box); err != nil {
						return err
					}
				}
			case "tbl":
				if err := w.table(x); err != nil {
					return err
				}
			case "Fallback", "del", "moveFrom", "sectPr":
				if err := x.skip(); err != nil {
					return err
				}
			}
		}
	}
}

// paragraph reads what is left of a w:p.
func (w *wordReader) paragraph(x *part) (paragraph, error) {
	var p paragraph
	var l line
	p.outline = 0
	hidden := false
	until := x.depth - 1
	for x.depth > until {
		t, err := x.next()
		if err != nil {
			return p, err
		}
		switch t := t.(type) {
		case nil:
			return p, malformed("the document's XML is cut off")
		case xml.EndElement:
			if t.Name.Local == "r" {
				hidden = false
			}
		case xml.StartElement:
			switch t.Name.Local {
			case "pStyle":
				p.style = value(t, "val")
			case "outlineLvl":
				if n, err := strconv.Atoi(value(t, "val")); err == nil && n < 9 {
					p.outline = min(n+1, 6)
				}
			case "ilvl":
				p.indent, _ = strconv.Atoi(value(t, "val"))
				p.indent = min(max(p.indent, 0), 8)
			case "numId":
				p.number = value(t, "val")
			case "r":
				hidden = false
			case "vanish":
				hidden = on(t)
			case "t":
				s, err := x.text()
				if err != nil {
					return p, err
				}
				if !hidden {
					l.write(clean(s))
				}
			case "tab":
				l.write(" ")
			case "br", "cr":
				l.breakLine()
			case "noBreakHyphen":
				l.write("-")
			case "footnoteReference", "endnoteReference":
				kind := strings.TrimSuffix(t.Name.Local, "Reference")
				if note := w.notes[kind+value(t, "id")]; note != "" && !hidden {
					l.write(" (" + note + ")")
				}
			case "txbxContent":
				err := w.body(x, x.depth, func(box paragraph) error {
					p.boxes = append(p.boxes, box)
					return nil
				})
				if err != nil {
					return p, err
				}
			case "Fallback", "del", "moveFrom", "instrText", "rubyBase", "pPrChange", "rPrChange":
				if t.Name.Local == "rubyBase" { // the text itself; what is above it comes as rt
					continue
				}
				if err := x.skip(); err != nil {
					return p, err
				}
			case "rt":
				if err := x.skip(); err != nil {
					return p, err
				}
			}
		}
	}
	p.text = l.String()
	return p, nil
}

// block writes a paragraph.
func (w *wordReader) block(p paragraph) error {
	style := w.style(p.style)
	level := style.level
	if p.outline > 0 {
		level = p.outline
	}
	switch {
	case strings.TrimSpace(p.text) == "" || style.skipped:
		return nil
	case style.title:
		if w.title == "" {
			w.title = cell(p.text)
		}
		level = 1
	}
	if level > 0 {
		if err := w.flushList(); err != nil {
			return err
		}
		return w.canon.add(Heading, level, cell(p.text))
	}
	if p.number != "" && p.number != "0" || style.list {
		if p.number != w.list && p.indent == 0 {
			w.list, w.count = p.number, map[int]int{}
		}
		w.count[p.indent]++
		for deeper := p.indent + 1; deeper < 9; deeper++ {
			w.count[deeper] = 0
		}
		marker := "- "
		if w.ordered[p.number+"/"+strconv.Itoa(p.indent)] {
			marker = strconv.Itoa(w.count[p.indent]) + ". "
		}
		margin := strings.Repeat("  ", p.indent)
		w.items = append(w.items, margin+marker+indent(p.text, margin+strings.Repeat(" ", len(marker))))
		return nil
	}
	if err := w.flushList(); err != nil {
		return err
	}
	return w.canon.add(Paragraph, 0, p.text)
}

func (w *wordReader) flushList() error {
	if len(w.items) == 0 {
		return nil
	}
	s := strings.Join(w.items, "\n")
	w.items, w.count = nil, map[int]int{}
	return w.canon.add(List, 0, s)
}

// table reads what is left of a w:tbl and writes its rows. A table within a cell is text of the cell.
func (w *wordReader) table(x *part) error {
	if err := w.flushList(); err != nil {
		return err
	}
	grid, headed, err := w.grid(x)
	if err != nil {
		return err
	}
	if len(grid) == 1 && len(grid[0]) == 1 { // a frame around a text
		return w.canon.add(Paragraph, 0, grid[0][0])
	}
	t := rows{c: &w.canon, spent: w.spent}
	return t.table(grid, headed)
}

func (w *wordReader) grid(x *part) (grid [][]string, headed bool, err error) {
	var row []string
	var texts []string
	wide, merged := 1, false
	cells := 0
	until := x.depth - 1
	for x.depth > until {
		t, err := x.next()
		if err != nil {
			return nil, false, err
		}
		switch t := t.(type) {
		case nil:
			return nil, false, malformed("the document's XML is cut off")
		case xml.StartElement:
			switch t.Name.Local {
			case "tr":
				row = nil
			case "tc":
				texts, wide, merged = nil, 1, false
			case "gridSpan":
				wide, _ = strconv.Atoi(value(t, "val"))
				wide = min(max(wide, 1), maxSpan)
			case "vMerge":
				merged = value(t, "val") != "restart"
			case "tblHeader":
				headed = headed || len(grid) == 0 && on(t)
			case "p":
				p, err := w.paragraph(x)
				if err != nil {
					return nil, false, err
				}
				for _, part := range append([]paragraph{p}, p.boxes...) {
					if s := cell(part.text); s != "" {
						texts = append(texts, s)
					}
				}
			case "tbl":
				inner, _, err := w.grid(x)
				if err != nil {
					return nil, false, err
				}
				for _, r := range inner {
					texts = append(texts, strings.Join(r, ", "))
				}
			case "Fallback", "del", "trPrChange", "tcPrChange":
				if err := x.skip(); err != nil {
					return nil, false, err
				}
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "tc":
				text := strings.Join(texts, " ")
				if above := len(grid) - 1; merged && text == "" && above >= 0 && len(row) < len(grid[above]) {
					text = grid[above][len(row)]
				}
				if cells += wide; cells > w.spent.limits.Rows || len(row)+wide > maxColumns {
					return nil, false, tooLarge("a table has too many cells")
				}
				for range wide {
					row = append(row, text)
				}
				texts = nil
			case "tr":
				if len(row) > 0 {
					grid = append(grid, row)
				}
				row = nil
			}
		}
	}
	return grid, headed, nil
}

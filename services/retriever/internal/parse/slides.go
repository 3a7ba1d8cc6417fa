package parse

import (
	"context"
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
)

// slides reads a PPTX: a section per slide under its title, with the text of its shapes, its tables as rows and the speaker's
// notes. A slide is a page. Hidden slides, dates, numbers and footers are left out.
func (r *Registry) slides(ctx context.Context, s Source, p *pack, name string) (Document, error) {
	relations, err := p.relations(name)
	if err != nil {
		return Document{}, err
	}
	var order []string
	err = p.each(name, func(_ *part, e xml.StartElement) error {
		if e.Name.Local == "sldId" {
			for _, a := range e.Attr {
				if a.Name.Local == "id" && a.Name.Space != "" {
					order = append(order, relations[a.Value].target)
				}
			}
		}
		return nil
	})
	if err != nil {
		return Document{}, err
	}
	if len(order) > s.spent.limits.Pages {
		return Document{}, tooLarge("the document has more than %d slides", s.spent.limits.Pages)
	}
	c := r.canon()
	title := p.title()
	for i, target := range order {
		if err := ctx.Err(); err != nil {
			return Document{}, err
		}
		w := slideReader{pack: p, spent: s.spent, canon: &c, page: i + 1}
		if err := w.slide(target); err != nil {
			return Document{}, err
		}
		if title == "" {
			title = w.title
		}
	}
	doc := c.document(title)
	doc.ContentType = typeSlides
	return doc, nil
}

type slideReader struct {
	pack  *pack
	spent *budget
	canon *canon
	page  int
	title string
}

// shape is a piece of a slide: lines of text, or a table.
type shape struct {
	kind  string // of its placeholder
	lines []string
	list  bool
	grid  [][]string
}

func (w *slideReader) slide(name string) error {
	f := w.pack.file(name)
	if f == nil {
		return nil
	}
	shapes, hidden, err := w.shapes(name)
	if err != nil || hidden {
		return err
	}
	for _, s := range shapes {
		if (s.kind == "title" || s.kind == "ctrTitle") && len(s.lines) > 0 && w.title == "" {
			w.title = cell(strings.Join(s.lines, " "))
		}
	}
	notes, err := w.notes(name)
	if err != nil {
		return err
	}
	shapes = append(shapes, notes...)
	heading := w.title
	if heading == "" {
		heading = "Slide " + strconv.Itoa(w.page)
		if !slices.ContainsFunc(shapes, shape.says) {
			return nil // nothing but a picture
		}
	}
	if err := w.add(Heading, 1, heading); err != nil {
		return err
	}
	for _, s := range shapes {
		if err := w.write(s); err != nil {
			return err
		}
	}
	return nil
}

// says reports whether a shape has text that is written.
func (s shape) says() bool {
	switch s.kind {
	case "title", "ctrTitle", "dt", "sldNum", "ftr", "hdr", "sldImg":
		return false
	}
	return len(s.lines) > 0 || len(s.grid) > 0
}

func (w *slideReader) add(kind Kind, level int, s string) error {
	return w.canon.addAt(kind, level, s, []Place{{Start: 0, End: len(s), Page: w.page}})
}

func (w *slideReader) write(s shape) error {
	if !s.says() {
		return nil
	}
	if s.grid != nil {
		before := len(w.canon.blocks)
		t := rows{c: w.canon, spent: w.spent}
		if err := t.table(s.grid, true); err != nil {
			return err
		}
		for _, b := range w.canon.blocks[before:] {
			w.canon.places = append(w.canon.places, Place{Start: b.Start, End: b.End, Page: w.page})
		}
		return nil
	}
	kind := Paragraph
	if s.list && len(s.lines) > 1 {
		kind = List
		for i := range s.lines {
			depth := len(s.lines[i]) - len(strings.TrimLeft(s.lines[i], "\t"))
			s.lines[i] = strings.Repeat("  ", depth) + "- " + strings.TrimLeft(s.lines[i], "\t")
		}
	} else {
		for i := range s.lines {
			s.lines[i] = strings.TrimLeft(s.lines[i], "\t")
		}
	}
	return w.add(kind, 0, strings.Join(s.lines, "\n"))
}

// shapes reads a slide's shapes in their order.
func (w *slideReader) shapes(name string) (shapes []shape, hidden bool, err error) {
	var current *shape
	err = w.pack.each(name, func(x *part, e xml.StartElement) error {
		switch e.Name.Local {
		case "sld":
			hidden = value(e, "show") == "0"
		case "Fallback":
			return x.skip()
		case "sp", "graphicFrame":
			shapes = append(shapes, shape{})
			current = &shapes[len(shapes)-1]
		case "ph":
			if current != nil {
				current.kind = value(e, "type")
				current.list = current.kind == "" || current.kind == "body" || current.kind == "obj"
			}
		case "tbl":
			grid, err := w.grid(x)
			if current != nil {
				current.grid = grid
			}
			return err
		case "p":
			if current == nil {
				return nil
			}
			level, text, err := slideParagraph(x)
			if text != "" {
				current.lines = append(current.lines, strings.Repeat("\t", level)+text)
			}
			return err
		}
		return nil
	})
	return shapes, hidden, err
}

// slideParagraph reads what is left of an a:p.
func slideParagraph(x *part) (level int, text string, err error) {
	var l line
	for until := x.depth - 1; x.depth > until; {
		t, err := x.next()
		if err != nil {
			return 0, "", err
		}
		switch t := t.(type) {
		case nil:
			return 0, "", malformed("the document's XML is cut off")
		case xml.StartElement:
			switch t.Name.Local {
			case "pPr":
				level, _ = strconv.Atoi(value(t, "lvl"))
				level = min(max(level, 0), 8)
			case "t":
				s, err := x.text()
				if err != nil {
					return 0, "", err
				}
				l.write(clean(s))
			case "br":
				l.write(" ")
			}
		}
	}
	return level, strings.ReplaceAll(l.String(), "\n", " "), nil
}

// grid reads what is left of an a:tbl.
func (w *slideReader) grid(x *part) (grid [][]string, err error) {
	var row, texts []string
	cells := 0
	wide := 1
	for until := x.depth - 1; x.depth > until; {
		t, err := x.next()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case nil:
			return nil, malformed("the document's XML is cut off")
		case xml.StartElement:
			switch t.Name.Local {
			case "tr":
				row = nil
			case "tc":
				texts = nil
				wide, _ = strconv.Atoi(value(t, "gridSpan"))
				wide = min(max(wide, 1), maxSpan)
				if on := value(t, "hMerge"); on == "1" || on == "true" {
					wide = 0 // it is part of the cell before
				}
			case "p":
				_, s, err := slideParagraph(x)
				if err != nil {
					return nil, err
				}
				if s != "" {
					texts = append(texts, s)
				}
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "tc":
				if cells += wide; cells > w.spent.limits.Rows || len(row)+wide > maxColumns {
					return nil, tooLarge("a table has too many cells")
				}
				for range wide {
					row = append(row, strings.Join(texts, " "))
				}
			case "tr":
				if len(row) > 0 {
					grid = append(grid, row)
				}
			}
		}
	}
	return grid, nil
}

// notes are what the speaker has noted down for a slide.
func (w *slideReader) notes(name string) ([]shape, error) {
	relations, err := w.pack.relations(name)
	if err != nil {
		return nil, err
	}
	var out []shape
	for _, r := range relations {
		if r.kind != "notesSlide" {
			continue
		}
		shapes, _, err := w.shapes(r.target)
		if err != nil {
			return nil, err
		}
		for _, s := range shapes {
			if s.kind == "body" {
				s.list = false
				out = append(out, s)
			}
		}
	}
	return out, nil
}

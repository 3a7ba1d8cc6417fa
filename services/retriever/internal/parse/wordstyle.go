package parse

import (
	"encoding/xml"
	"strconv"
	"strings"
)

type wordStyle struct {
	based   string
	level   int // of a heading, from 1
	title   bool
	list    bool
	skipped bool // a table of contents
}

func (w *wordReader) readStyles(name string) error {
	id, current := "", wordStyle{}
	keep := func() {
		if id != "" {
			w.styles[id] = current
		}
	}
	err := w.pack.each(name, func(_ *part, e xml.StartElement) error {
		switch e.Name.Local {
		case "style":
			keep()
			id, current = value(e, "styleId"), wordStyle{}
		case "basedOn":
			current.based = value(e, "val")
		case "name":
			label := strings.ToLower(value(e, "val"))
			current.title = label == "title"
			current.skipped = strings.HasPrefix(label, "toc ") || label == "table of figures"
			current.list = strings.HasPrefix(label, "list bullet") || strings.HasPrefix(label, "list number")
			if n, err := strconv.Atoi(strings.TrimPrefix(label, "heading ")); err == nil {
				current.level = min(max(n, 1), 6)
			}
		case "outlineLvl":
			if n, err := strconv.Atoi(value(e, "val")); err == nil && n < 9 && current.level == 0 {
				current.level = min(n+1, 6)
			}
		}
		return nil
	})
	keep()
	return err
}

// style follows what a style is based on.
func (w *wordReader) style(id string) wordStyle {
	var out wordStyle
	for range 10 {
		s, ok := w.styles[id]
		if !ok {
			break
		}
		if out.level == 0 {
			out.level = s.level
		}
		out.title, out.skipped, out.list = out.title || s.title, out.skipped || s.skipped, out.list || s.list
		if s.level > 0 || s.based == "" {
			break
		}
		id = s.based
	}
	return out
}

func (w *wordReader) readNumbering(name string) error {
	w.ordered, w.count = map[string]bool{}, map[int]int{}
	abstract := map[string]bool{}
	definition, level, number := "", "", ""
	return w.pack.each(name, func(_ *part, e xml.StartElement) error {
		switch e.Name.Local {
		case "abstractNum":
			definition = value(e, "abstractNumId")
		case "lvl":
			level = value(e, "ilvl")
		case "numFmt":
			if v := value(e, "val"); v != "bullet" && v != "none" {
				abstract[definition+"/"+level] = true
			}
		case "num":
			number = value(e, "numId")
		case "abstractNumId":
			for i := range 9 {
				if abstract[value(e, "val")+"/"+strconv.Itoa(i)] {
					w.ordered[number+"/"+strconv.Itoa(i)] = true
				}
			}
		}
		return nil
	})
}

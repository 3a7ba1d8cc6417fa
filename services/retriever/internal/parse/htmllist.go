package parse

import (
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// list writes a list with simple markers; what an item holds is indented below it.
func (p *page) list(n *html.Node, depth int) (string, error) {
	if depth > maxElements {
		return "", malformed("the page's lists are nested more than %d deep", maxElements)
	}
	var out []string
	number := 0
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != html.ElementNode || p.left(c) {
			continue
		}
		s, err := p.item(c, depth+1)
		if err != nil {
			return "", err
		}
		if s == "" {
			continue
		}
		marker := "- "
		switch {
		case c.DataAtom == atom.Dt, c.DataAtom == atom.Div && n.DataAtom == atom.Dl:
			marker = ""
		case n.DataAtom == atom.Ol:
			number++
			marker = strconv.Itoa(number) + ". "
		}
		out = append(out, marker+indent(s, strings.Repeat(" ", len(marker))))
	}
	return strings.Join(out, "\n"), nil
}

// item is what stands in an item: lines of text, with lists and code below.
func (p *page) item(n *html.Node, depth int) (string, error) {
	if depth > maxElements {
		return "", malformed("the page's lists are nested more than %d deep", maxElements)
	}
	var parts []string
	var running line
	flush := func() {
		if s := running.String(); s != "" {
			parts = append(parts, s)
		}
		running = line{}
	}
	var walk func(n *html.Node, depth int) error
	walk = func(n *html.Node, depth int) error {
		if depth > maxElements {
			return malformed("the page's elements are nested more than %d deep", maxElements)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			switch {
			case c.Type == html.TextNode:
				running.write(clean(c.Data))
			case c.Type != html.ElementNode || p.left(c):
			case c.DataAtom == atom.Br:
				running.breakLine()
			case c.DataAtom == atom.Ul, c.DataAtom == atom.Ol, c.DataAtom == atom.Dl, c.DataAtom == atom.Menu:
				flush()
				s, err := p.list(c, depth+1)
				if err != nil {
					return err
				}
				if s != "" {
					parts = append(parts, s)
				}
			case c.DataAtom == atom.Pre:
				flush()
				if s := fenced(raw(c)); s != "" {
					parts = append(parts, s)
				}
			case c.DataAtom == atom.Table && !layout(c):
				flush()
				s, err := p.tableText(c)
				if err != nil {
					return err
				}
				if s != "" {
					parts = append(parts, s)
				}
			case blocky(c.DataAtom) || c.DataAtom == atom.Table || heading(c.DataAtom):
				flush()
				if err := walk(c, depth+1); err != nil {
					return err
				}
				flush()
			default:
				if err := walk(c, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := walk(n, depth)
	flush()
	return strings.Join(parts, "\n"), err
}

func heading(a atom.Atom) bool {
	switch a {
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		return true
	}
	return false
}

// layout reports whether a table only places things on the page: it says so, or has one column, or holds blocks or tables.
func layout(n *html.Node) bool {
	if role := attribute(n, "role"); role == "presentation" || role == "none" {
		return true
	}
	columns, headings := 0, false
	for d := range n.Descendants() {
		switch d.DataAtom {
		case atom.Th:
			headings = true
		case atom.Table, atom.H1, atom.H2, atom.H3, atom.Article, atom.Main:
			return true
		case atom.Tr:
			cells := 0
			for c := d.FirstChild; c != nil; c = c.NextSibling {
				if c.DataAtom == atom.Td || c.DataAtom == atom.Th {
					cells++
				}
			}
			columns = max(columns, cells)
		}
	}
	return columns < 2 && !headings
}

// table writes a table's caption and rows.
func (p *page) table(n *html.Node) error {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.DataAtom == atom.Caption {
			if err := p.canon.add(Paragraph, 0, words(c)); err != nil {
				return err
			}
		}
	}
	grid, headed, err := p.grid(n)
	if err != nil {
		return err
	}
	t := rows{c: &p.canon, spent: p.spent}
	return t.table(grid, headed)
}

// tableText is a table within a list.
func (p *page) tableText(n *html.Node) (string, error) {
	grid, headed, err := p.grid(n)
	if err != nil {
		return "", err
	}
	inner := canon{limit: p.canon.limit}
	t := rows{c: &inner, spent: p.spent}
	err = t.table(grid, headed)
	return strings.ReplaceAll(inner.text.String(), "\n\n", "\n"), err
}

const maxSpan = 1_000 // columns or rows that one cell covers

// grid lays a table's cells out: a cell that spans several columns or rows stands in each. Headed says that the first row names
// the columns.
func (p *page) grid(n *html.Node) (grid [][]string, headed bool, err error) {
	type falling struct {
		text string
		rows int
	}
	below := map[int]falling{} // by column: cells that reach into further rows
	cells := 0
	for tr := range n.Descendants() {
		if tr.DataAtom != atom.Tr || tr.Type != html.ElementNode || p.left(tr) {
			continue
		}
		var row []string
		fill := func() {
			for {
				f, ok := below[len(row)]
				if !ok {
					return
				}
				if f.rows--; f.rows == 0 {
					delete(below, len(row))
				} else {
					below[len(row)] = f
				}
				row = append(row, f.text)
			}
		}
		naming, values := 0, 0
		for c := tr.FirstChild; c != nil; c = c.NextSibling {
			if c.DataAtom != atom.Td && c.DataAtom != atom.Th {
				continue
			}
			if c.DataAtom == atom.Th {
				naming++
			} else {
				values++
			}
			text := words(c)
			fill()
			wide, high := span(c, "colspan"), span(c, "rowspan")
			if cells += wide; cells > p.spent.limits.Rows || len(row)+wide > maxColumns {
				return nil, false, tooLarge("a table has too many cells")
			}
			for range wide {
				if high > 1 {
					below[len(row)] = falling{text, high - 1}
				}
				row = append(row, text)
			}
		}
		fill()
		if len(grid) == 0 {
			headed = naming > 0 && values == 0 || within(tr, atom.Thead)
		}
		if len(row) > 0 {
			grid = append(grid, row)
		}
	}
	if headed && len(grid) > 2 && headRows(n) == 2 { // two rows of headings are one
		for i := range grid[0] {
			if i < len(grid[1]) && grid[1][i] != "" && grid[1][i] != grid[0][i] {
				grid[0][i] = strings.TrimSpace(grid[0][i] + " " + grid[1][i])
			}
		}
		grid = append(grid[:1], grid[2:]...)
	}
	return grid, headed, nil
}

// headRows counts the rows of a table's head.
func headRows(n *html.Node) int {
	count := 0
	for tr := range n.Descendants() {
		if tr.DataAtom == atom.Tr && within(tr, atom.Thead) {
			count++
		}
	}
	return count
}

func span(n *html.Node, name string) int {
	v, err := strconv.Atoi(strings.TrimSpace(attribute(n, name)))
	if err != nil || v < 1 {
		return 1
	}
	return min(v, maxSpan)
}

package pdf

import (
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

const (
	tableRows = 3 // with several cells, that a table has at least; two where they have three cells
)

// tableAt counts the lines of the table at the beginning of lines, 0 when there is none: rows of cells that stand under one
// another, with lines between them that continue a cell.
func tableAt(lines [][]segment) int {
	if len(lines[0]) < 2 || contents(lines[0]) {
		return 0
	}
	columns := columnsOf(lines[:1])
	rows, n, widest := 0, 0, 0
	for i, l := range lines {
		if i > 0 {
			above := lines[i-1][0]
			distance := above.middle() - l[0].middle()
			if l[0].page != above.page || distance <= 0 || distance > 3.2*max(above.size, l[0].size) {
				break
			}
		}
		if contents(l) {
			break
		}
		if len(l) >= 2 {
			grown := columnsOf(lines[:i+1])
			if len(grown) < 2 || len(grown) < len(columns)-1 {
				break
			}
			columns = grown
			rows++
			widest = max(widest, len(l))
			n = i + 1
			continue
		}
		// One cell: the rest of one above, not a line across the table.
		if i == 0 || l[0].box.width() > 0.6*(columns[len(columns)-1].right-columns[0].left) || i+1 < len(lines) && i-n >= 3 {
			break
		}
	}
	if rows >= tableRows || rows == 2 && widest >= 3 && n <= 4 {
		return n
	}
	return 0
}

// contents reports whether a line is an entry of a table of contents: a title, dots, and the number of a page.
func contents(l []segment) bool {
	text := strings.TrimSpace(lineText(l))
	at := leaders.FindStringIndex(text)
	if at == nil || at[0] == 0 {
		return false
	}
	rest := strings.TrimSpace(text[at[1]:])
	return rest == "" || small(rest) >= 0 || len(rest) <= 6 && strings.Trim(rest, "ivxlcIVXLC-") == ""
}

// columnsOf merges where cells stand from left to right into columns.
func columnsOf(lines [][]segment) []box {
	var out []box
	for _, l := range lines {
		if len(l) < 2 {
			continue
		}
		for _, s := range l {
			b := box{s.box.left, 0, s.box.right, 0}
			var kept []box
			for _, o := range out {
				if o.left < b.right && b.left < o.right {
					b.left, b.right = min(b.left, o.left), max(b.right, o.right)
				} else {
					kept = append(kept, o)
				}
			}
			kept = append(kept, b)
			out = kept
		}
	}
	slices.SortFunc(out, func(a, b box) int {
		if a.left < b.left {
			return -1
		}
		return 1
	})
	return out
}

// table writes the rows of a table.
func (c *composer) table(lines [][]segment, page int) error {
	columns := columnsOf(lines)
	var grid [][]string
	var at []parse.Place
	var above segment
	for i, l := range lines {
		row := make([]string, len(columns))
		whole := l[0].box
		for _, s := range l {
			column := columnOf(columns, s.box)
			text := strings.Join(strings.Fields(strings.ReplaceAll(parse.Clean(s.text), "\u00ad", "-")), " ")
			if row[column] != "" {
				row[column] += " "
			}
			row[column] += text
			whole = whole.union(s.box)
		}
		if n := len(grid); n > 0 && continued(row, grid[n-1]) && above.middle()-l[0].middle() < 1.45*max(l[0].size, above.size) {
			for j, text := range row {
				if text != "" {
					grid[n-1][j] = joinLines(grid[n-1][j], text)
				}
			}
			b := at[n-1].Box
			union := box{float64(b.Left), float64(b.Bottom), float64(b.Right), float64(b.Top)}.union(whole)
			at[n-1].Box = shownBox(union)
		} else {
			grid = append(grid, row)
			at = append(at, parse.Place{Page: page, Box: shownBox(whole)})
		}
		above = lines[i][0]
	}
	return c.out.Table(grid, at)
}

// continued reports whether a row is the rest of the one above: it has nothing in the first column, or in one column only.
func continued(row, above []string) bool {
	filled := 0
	for j, text := range row {
		if text == "" {
			continue
		}
		if filled++; above[j] == "" {
			return false
		}
	}
	return row[0] == "" || filled == 1
}

// columnOf is the column that a cell stands in most.
func columnOf(columns []box, b box) int {
	best, most := 0, -1.0
	for i, c := range columns {
		if shared := min(c.right, b.right) - max(c.left, b.left); shared > most {
			best, most = i, shared
		}
	}
	return best
}

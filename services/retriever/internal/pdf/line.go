package pdf

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// segment is a run of words side by side: a line of a column, or a cell of a table.
type segment struct {
	text string
	box  box
	size float64
	bold bool
	page int // from 1
}

func (s segment) middle() float64 { return (s.box.bottom + s.box.top) / 2 }

// segments puts a page's words together. Watermarks, which are written across, are left out; text that runs up or down the page
// comes last.
func segments(p page, number int) []segment {
	var upright []word
	var turned []segment
	for _, w := range p.words {
		switch {
		case w.tilt:
		case w.turn:
			if n := len(turned); n > 0 && near(turned[n-1].box, w.box, w.size) {
				turned[n-1].text += gap(turned[n-1].text, w) + w.text
				turned[n-1].box = turned[n-1].box.union(w.box)
			} else {
				turned = append(turned, segment{w.text, w.box, w.size, w.bold, number})
			}
		default:
			upright = append(upright, w)
		}
	}
	var out []segment
	for _, row := range rowsOf(upright) {
		slices.SortStableFunc(row, func(a, b word) int { return cmp.Compare(a.box.left, b.box.left) })
		out = append(out, split(row, number)...)
	}
	return append(out, turned...)
}

func near(a, b box, size float64) bool {
	return b.left-a.right < 2*size && a.left-b.right < 2*size && b.bottom-a.top < 2*size && a.bottom-b.top < 2*size
}

// rowsOf groups words that stand on one line, from the top of the page to its bottom.
func rowsOf(words []word) [][]word {
	sorted := slices.Clone(words)
	slices.SortStableFunc(sorted, func(a, b word) int { return cmp.Compare(b.box.bottom+b.box.top, a.box.bottom+a.box.top) })
	type row struct {
		words       []word
		bottom, top float64
	}
	var rows []row
	for _, w := range sorted {
		best := -1
		for i := len(rows) - 1; i >= 0 && i >= len(rows)-6; i-- {
			shared := min(w.box.top, rows[i].top) - max(w.box.bottom, rows[i].bottom)
			if shared > 0.55*min(w.box.height(), rows[i].top-rows[i].bottom) {
				best = i
				break
			}
		}
		if best < 0 {
			rows = append(rows, row{[]word{w}, w.box.bottom, w.box.top})
			continue
		}
		r := &rows[best]
		r.words = append(r.words, w)
		if w.box.height() > r.top-r.bottom && w.box.height() < 1.5*(r.top-r.bottom) {
			r.bottom, r.top = w.box.bottom, w.box.top
		}
	}
	out := make([][]word, len(rows))
	for i, r := range rows {
		out[i] = r.words
	}
	return out
}

// split cuts a row where there is a gap that no space makes.
func split(row []word, number int) []segment {
	var out []segment
	for i, w := range row {
		if i > 0 {
			last := &out[len(out)-1]
			size := min(max(last.size, w.size), 2*min(last.size, w.size))
			if distance := w.box.left - last.box.right; distance < 1.15*size {
				if distance < 0.5 && distance > -0.5 && w.box.left == row[i-1].box.left && w.text == row[i-1].text { // printed twice to look bold
					continue
				}
				before, more := float64(len(last.text)), float64(len(w.text))
				last.size = (last.size*before + w.size*more) / (before + more)
				last.text += gap(last.text, w) + w.text
				last.box = last.box.union(w.box)
				last.bold = last.bold && w.bold
				continue
			}
		}
		out = append(out, segment{w.text, w.box, w.size, w.bold, number})
	}
	return out
}

// gap is what stands between a text and the word that follows on the same line.
func gap(before string, w word) string {
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(w.text)
	if w.join || wideRune(last) && wideRune(first) {
		return ""
	}
	return " "
}

// order sorts segments as they are read: columns one after the other, within them from top to bottom. Rows of tables stay together.
func order(all []segment, depth int) [][]segment {
	if len(all) == 0 {
		return nil
	}
	lines := linesOf(all)
	if depth > 12 || len(lines) < 2 {
		return lines
	}
	if at, ok := gutter(lines, all); ok {
		var out [][]segment
		for _, band := range bands(lines, at) {
			if band.across {
				out = append(out, band.lines...)
				continue
			}
			var left, right []segment
			for _, l := range band.lines {
				for _, s := range l {
					if (s.box.left+s.box.right)/2 < at {
						left = append(left, s)
					} else {
						right = append(right, s)
					}
				}
			}
			out = append(out, order(left, depth+1)...)
			out = append(out, order(right, depth+1)...)
		}
		return out
	}
	return lines
}

// linesOf groups segments into lines, top to bottom, each from left to right.
func linesOf(all []segment) [][]segment {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b segment) int { return cmp.Compare(b.middle(), a.middle()) })
	var out [][]segment
	for _, s := range sorted {
		if n := len(out); n > 0 {
			l := out[n-1][0]
			if math.Abs(l.middle()-s.middle()) < 0.4*min(l.box.height(), s.box.height()) {
				out[n-1] = append(out[n-1], s)
				continue
			}
		}
		out = append(out, []segment{s})
	}
	for _, l := range out {
		slices.SortStableFunc(l, func(a, b segment) int { return cmp.Compare(a.box.left, b.box.left) })
	}
	return out
}

const (
	columnLines  = 5    // that a column has at least
	columnChars  = 18   // that a line of a column has, in the middle of all; cells of tables have fewer
	columnShared = 0.25 // of a column's lines that may reach across the gutter: titles, figures, tables
)

// gutter finds where a page is cut into columns: an upright strip that few lines cross, with running text on both sides.
func gutter(lines [][]segment, all []segment) (float64, bool) {
	whole := all[0].box
	for _, s := range all {
		whole = whole.union(s.box)
	}
	if whole.width() < 100 {
		return 0, false
	}
	best, fewest := 0.0, math.MaxInt
	for x := whole.left + 0.2*whole.width(); x < whole.left+0.8*whole.width(); x += 2 {
		crossed, beside := 0, 0
		for _, l := range lines {
			left, right := false, false
			for _, s := range l {
				switch {
				case s.box.left < x-1 && s.box.right > x+1:
					left, right = false, false
					crossed++
				case s.box.right <= x+1:
					left = true
					continue
				default:
					right = true
					continue
				}
				break
			}
			if left && right {
				beside++
			}
		}
		if beside+crossed == 0 {
			continue
		}
		center := math.Abs(x - (whole.left + whole.width()/2))
		if score := crossed*1000 + int(center); beside >= columnLines-2 && score < fewest {
			best, fewest = x, score
		}
	}
	if fewest == math.MaxInt || float64(fewest/1000) > columnShared*float64(len(lines))+2 {
		return 0, false
	}
	var left, right []segment
	for _, s := range all {
		switch {
		case s.box.right <= best+1:
			left = append(left, s)
		case s.box.left >= best-1:
			right = append(right, s)
		}
	}
	return best, running(left) && running(right)
}

// running reports whether segments are lines of running text rather than cells: most are long, and fill the column.
func running(column []segment) bool {
	lines := linesOf(column)
	if len(lines) < columnLines {
		return false
	}
	whole := column[0].box
	chars := make([]int, 0, len(lines))
	for _, s := range column {
		whole = whole.union(s.box)
	}
	full := 0
	for _, l := range lines {
		n, width := 0, 0.0
		for _, s := range l {
			for _, r := range s.text {
				if n++; wideRune(r) {
					n++
				}
			}
			width += s.box.width()
		}
		chars = append(chars, n)
		if width > 0.6*whole.width() {
			full++
		}
	}
	slices.Sort(chars)
	return chars[len(chars)/2] >= columnChars && full*2 >= len(lines)
}

// band is a part of a page from one height to another: lines across all columns, or lines of columns.
type band struct {
	across bool
	lines  [][]segment
}

// bands cuts lines where some reach across the gutter.
func bands(lines [][]segment, at float64) []band {
	var out []band
	for _, l := range lines {
		across := slices.ContainsFunc(l, func(s segment) bool { return s.box.left < at-1 && s.box.right > at+1 })
		if n := len(out); n > 0 && out[n-1].across == across {
			out[n-1].lines = append(out[n-1].lines, l)
			continue
		}
		out = append(out, band{across, [][]segment{l}})
	}
	return out
}

// joinLines puts two lines of a paragraph together; a word that was broken at the end of the first is made whole.
func joinLines(a, b string) string {
	if a == "" {
		return b
	}
	last, size := utf8.DecodeLastRuneInString(a)
	first, _ := utf8.DecodeRuneInString(b)
	switch {
	case last == hyphenSoft:
		return a[:len(a)-size] + b
	case (last == '-' || last == '‐') && unicode.IsLower(first):
		before, _ := utf8.DecodeLastRuneInString(a[:len(a)-size])
		if unicode.IsLower(before) && !compound(a[:len(a)-size]) {
			return a[:len(a)-size] + b
		}
		return a + b
	case last == '-' || parse.Joins(last, first):
		return a + b
	}
	return a + " " + b
}

// compound reports whether the word before a hyphen has one already, as in "state-of-the-".
func compound(s string) bool {
	return strings.Contains(s[strings.LastIndexByte(s, ' ')+1:], "-")
}

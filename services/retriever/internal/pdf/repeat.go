package pdf

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// A line is at the edge of a page when it is within this share of its height, and one of its outermost lines.
const (
	edgeShare = 0.15
	edgeLines = 4
)

// edge is a line at the upper or lower edge of a page.
type edge struct {
	page, line int
	text       string // with digits as #
	height     float64
	number     int // in it, when there is one alone; else -1
}

// strip removes what repeats over pages: headers and footers, page numbers, and text of a watermark.
func strip(pages [][][]segment, sizes []page, body float64) {
	dropped := make([]map[int]bool, len(pages))
	for i := range dropped {
		dropped[i] = map[int]bool{}
	}
	edges := edgesOf(pages, sizes)
	groups := map[string][]edge{}
	for _, e := range edges {
		groups[e.text] = append(groups[e.text], e)
	}
	for text, group := range groups {
		for _, e := range group {
			same := 0
			seen := map[int]bool{}
			for _, o := range group {
				if !seen[o.page] && math.Abs(o.height-e.height) < 6 {
					seen[o.page] = true
					same++
				}
			}
			if same >= 3 && (same*4 >= len(pages) || consecutive(seen, e.page)) || same >= 2 && len(pages) == 2 && len(text) < 60 || pageNumber.MatchString(text) && offset(e, edges, len(pages)) {
				dropped[e.page][e.line] = true
			}
		}
	}
	// A running header that names the chapter or the entry stands with the page's number, at the same height everywhere.
	for _, e := range edges {
		if !dropped[e.page][e.line] && e.number >= 0 && offset(e, edges, len(pages)) && len(pages) >= 5 {
			dropped[e.page][e.line] = true
		}
	}
	margins(pages, sizes, dropped)
	watermarks(pages, dropped, body)
	for i, lines := range pages {
		kept := lines[:0]
		for j, l := range lines {
			if !dropped[i][j] {
				kept = append(kept, l)
			}
		}
		pages[i] = kept
	}
}

// consecutive reports whether a text is on three pages around this one, left and right ones counting apart.
func consecutive(seen map[int]bool, at int) bool {
	for _, step := range []int{1, 2} {
		run := 1
		for p := at + step; seen[p]; p += step {
			run++
		}
		for p := at - step; seen[p]; p -= step {
			run++
		}
		if run >= 3 {
			return true
		}
	}
	return false
}

// pageNumber matches what is a page's number and nothing else, with digits as #.
var pageNumber = regexp.MustCompile(`(?i)^(page|p\.|seite|第)?\s*[-–—|·]?\s*(#+|[ivxlc]+)\s*[-–—|·]?\s*(页|頁)?\s*((of|/|von|共|，共)\s*#+\s*(页|頁)?)?$`)

// edgesOf lists the lines at the edges of pages.
func edgesOf(pages [][][]segment, sizes []page) []edge {
	var out []edge
	for i, lines := range pages {
		height := max(sizes[i].height, 1)
		for j, l := range lines {
			at := l[0].middle()
			top := at > height*(1-edgeShare) && rank(lines, at, true) < edgeLines
			bottom := at < height*edgeShare && rank(lines, at, false) < edgeLines
			if !top && !bottom {
				continue
			}
			text, number := pattern(lineText(l))
			if len(text) > 200 {
				continue
			}
			out = append(out, edge{i, j, text, at, number})
		}
	}
	return out
}

// rank counts the lines of a page that stand higher, or lower, than a height.
func rank(lines [][]segment, at float64, higher bool) int {
	n := 0
	for _, l := range lines {
		if m := l[0].middle(); higher && m > at+2 || !higher && m < at-2 {
			n++
		}
	}
	return n
}

// pattern writes digits as #, and finds the number in a text if it is at its beginning or end.
func pattern(s string) (string, int) {
	s = strings.ToLower(strings.Join(strings.Fields(s), " "))
	var b strings.Builder
	digits := false
	for _, r := range s {
		if unicode.IsDigit(r) {
			if !digits {
				b.WriteByte('#')
			}
			digits = true
			continue
		}
		digits = false
		b.WriteRune(r)
	}
	number := -1
	fields := strings.Fields(s)
	for _, at := range []int{len(fields) - 1, 0} {
		if at >= 0 && number < 0 {
			number = small(fields[at])
		}
	}
	return b.String(), number
}

// small reads a number of at most five digits.
func small(s string) int {
	s = strings.Trim(s, "-–—|·.[]()")
	if s == "" || len(s) > 5 {
		return -1
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// offset reports whether the number of a line counts pages: on most pages near it there is a line at the same height whose number is
// as far from the page's.
func offset(e edge, edges []edge, pages int) bool {
	if e.number < 0 {
		return len([]rune(e.text)) <= 6 && pages > 1 && strings.Trim(e.text, "ivxlc -–—") == "" // Roman
	}
	if pages == 1 {
		return e.number == 1 || strings.Contains(e.text, "page") || strings.Contains(e.text, "页")
	}
	agree := 0
	seen := map[int]bool{}
	from, _ := slices.BinarySearchFunc(edges, e.page-10, func(o edge, p int) int { return o.page - p })
	for _, o := range edges[from:] {
		if o.page > e.page+10 {
			break
		}
		if o.number-o.page == e.number-e.page && o.number >= 0 && math.Abs(o.height-e.height) < 8 && !seen[o.page] {
			seen[o.page] = true
			agree++
		}
	}
	return agree >= min(3, pages)
}

// margins finds running headers and footers that differ from page to page: the outermost line of most pages, at one height, and
// set apart from what is below or above.
func margins(pages [][][]segment, sizes []page, dropped []map[int]bool) {
	if len(pages) < 5 {
		return
	}
	for _, top := range []bool{true, false} {
		type outer struct{ page, line int }
		found := map[int][]outer{}
		for i, lines := range pages {
			first, second := -1, -1
			for j, l := range lines {
				at := l[0].middle()
				switch {
				case first < 0 || higher(at, lines[first][0].middle(), top):
					first, second = j, first
				case second < 0 || higher(at, lines[second][0].middle(), top):
					second = j
				}
			}
			if first < 0 {
				continue
			}
			l := lines[first]
			at := l[0].middle()
			inside := top && at < sizes[i].height*(1-edgeShare) || !top && at > sizes[i].height*edgeShare
			if inside || second >= 0 && math.Abs(at-lines[second][0].middle()) < 1.75*l[0].size {
				continue
			}
			key := int(math.Round(at / 3))
			found[key] = append(found[key], outer{i, first})
		}
		for key, lines := range found {
			// Heights next to each other count as one.
			if n := len(lines) + len(found[key+1]) + len(found[key-1]); n*10 < len(pages)*6 {
				continue
			}
			for _, o := range lines {
				dropped[o.page][o.line] = true
			}
		}
	}
}

func higher(a, b float64, top bool) bool { return top && a > b || !top && a < b }

// watermarks finds large text that stands at the same place on most pages.
func watermarks(pages [][][]segment, dropped []map[int]bool, body float64) {
	type place struct {
		text string
		x, y int
	}
	at := func(s segment) place {
		return place{strings.ToLower(s.text), int(s.box.left / 8), int(s.box.bottom / 8)}
	}
	count := map[place]int{}
	for _, lines := range pages {
		for _, l := range lines {
			if len(l) == 1 && l[0].size > 1.8*body {
				count[at(l[0])]++
			}
		}
	}
	for i, lines := range pages {
		for j, l := range lines {
			if len(l) == 1 && l[0].size > 1.8*body {
				if n := count[at(l[0])]; n >= 3 && n*2 >= len(pages) {
					dropped[i][j] = true
				}
			}
		}
	}
}

// lineText is a line's text, its segments apart.
func lineText(l []segment) string {
	parts := make([]string, len(l))
	for i, s := range l {
		parts[i] = s.text
	}
	return strings.Join(parts, "  ")
}

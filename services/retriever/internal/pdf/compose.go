package pdf

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// compose writes a document of what its pages hold.
func compose(f file, pages []page) (parse.Document, error) {
	lines := make([][][]segment, len(pages))
	for i, p := range pages {
		lines[i] = linesOf(segments(p, i+1))
	}
	c := composer{out: parse.NewBuilder(f.limits), body: bodySize(lines)}
	strip(lines, pages, c.body)
	c.levels = levels(lines, c.body)
	c.marks = map[int][]bookmark{}
	for _, b := range f.outline() {
		c.marks[b.page] = append(c.marks[b.page], b)
		c.deepest = max(c.deepest, b.level)
	}
	for i := range lines {
		if err := c.page(i, order(slices.Concat(lines[i]...), 0)); err != nil {
			return parse.Document{}, err
		}
		lines[i] = nil
	}
	if err := c.flush(); err != nil {
		return parse.Document{}, err
	}
	title := f.title()
	if title == "" {
		title = c.title
	}
	return c.out.Document(title), nil
}

// bodySize is the size that most of the text is set in.
func bodySize(pages [][][]segment) float64 {
	count := map[float64]int{}
	for _, lines := range pages {
		for _, l := range lines {
			for _, s := range l {
				count[rounded(s.size)] += utf8.RuneCountInString(s.text)
			}
		}
	}
	best, most := 10.0, 0
	for size, n := range count {
		if n > most || n == most && size > best {
			best, most = size, n
		}
	}
	return best
}

func rounded(size float64) float64 { return math.Round(size*2) / 2 }

const (
	larger    = 1.13 // times the body's size: a heading
	maxTitle  = 200  // characters of a heading
	maxLevels = 4    // of headings by size
)

// levels ranks the sizes of what may be headings.
func levels(pages [][][]segment, body float64) map[float64]int {
	count := map[float64]int{}
	for _, lines := range pages {
		for _, l := range lines {
			for _, s := range l {
				if s.size >= larger*body && utf8.RuneCountInString(s.text) <= maxTitle {
					count[rounded(s.size)]++
				}
			}
		}
	}
	sizes := make([]float64, 0, len(count))
	for size := range count {
		sizes = append(sizes, size)
	}
	slices.SortFunc(sizes, func(a, b float64) int { return int(math.Copysign(1, b-a)) })
	out := map[float64]int{}
	level := 0
	for i, size := range sizes {
		if i == 0 || sizes[i-1]-size > 0.75 {
			level++
		}
		out[size] = min(level, maxLevels)
	}
	return out
}

// composer writes lines as blocks.
type composer struct {
	out     *parse.Builder
	body    float64
	levels  map[float64]int // of headings by size
	marks   map[int][]bookmark
	deepest int // level of the outline
	title   string

	kind    parse.Kind
	level   int
	text    string // of the block that is being written
	places  []parse.Place
	last    segment // its last line
	right   float64 // how far its lines reach
	left    float64
	leading float64 // between the lines of the page, middle to middle
	edges   []box   // of the page's lines
}

// page writes the lines of a page, from 0.
func (c *composer) page(index int, lines [][]segment) error {
	c.leading = leading(lines)
	c.edges = c.edges[:0]
	entries := 0
	for _, l := range lines {
		if len(l) == 1 && len(c.edges) < 200 {
			c.edges = append(c.edges, l[0].box)
		}
		if contents(l) {
			entries++
		}
	}
	for i := 0; i < len(lines); i++ {
		if n := tableAt(lines[i:]); n > 0 {
			if err := c.flush(); err != nil {
				return err
			}
			if err := c.table(lines[i:i+n], index+1); err != nil {
				return err
			}
			i += n - 1
			continue
		}
		if entries >= 4 && contents(lines[i]) { // a table of contents: every search would find it, and nothing in it
			continue
		}
		line := whole(lines[i])
		if strings.TrimSpace(line.text) == "" {
			continue
		}
		if err := c.line(index, line); err != nil {
			return err
		}
	}
	return nil
}

// whole is a line as one segment, with the dots of a table of contents left out.
func whole(l []segment) segment {
	out := l[0]
	for _, s := range l[1:] {
		out.text += " " + s.text
		out.box = out.box.union(s.box)
		out.bold = out.bold && s.bold
		out.size = max(out.size, s.size)
	}
	out.text = strings.TrimSpace(leaders.ReplaceAllString(parse.Clean(strings.ReplaceAll(out.text, "\u00ad", "\ue0ad")), " "))
	out.text = strings.ReplaceAll(out.text, "\ue0ad", "\u00ad")
	return out
}

// leaders are the dots between an entry and its page.
var leaders = regexp.MustCompile(`\s*(?:[.·…_]\s?){5,}\s*`)

// leading is the usual distance between two lines.
func leading(lines [][]segment) float64 {
	var all []float64
	for i := 1; i < len(lines); i++ {
		a, b := lines[i-1][0], lines[i][0]
		if d := a.middle() - b.middle(); d > 0 && d < 3*max(a.size, b.size) && math.Abs(a.size-b.size) < 0.6 {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// line adds a line to the block that is being written, or begins another.
func (c *composer) line(index int, s segment) error {
	level := c.heading(index, s)
	kind := parse.Paragraph
	switch {
	case level > 0:
		kind = parse.Heading
	case item.MatchString(s.text):
		kind = parse.List
	}
	switch {
	case c.text == "":
	case kind == parse.Heading && c.kind == parse.Heading && c.level == level && c.follows(s) && len(c.text)+len(s.text) < maxTitle && math.Abs(c.last.size-s.size) < 0.6:
		c.add(s, joinLines(c.text, s.text))
		return nil
	case kind == parse.Heading || c.kind == parse.Heading:
		if err := c.flush(); err != nil {
			return err
		}
	case kind == parse.List && c.kind == parse.List:
		c.add(s, c.text+"\n"+bulleted(s.text))
		return nil
	case kind != parse.List && c.continues(s):
		if c.broken(s) {
			c.add(s, c.text+"\n"+s.text)
		} else {
			c.add(s, joinLines(c.text, s.text))
		}
		return nil
	default:
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.kind, c.level = kind, level
	c.left, c.right = s.box.left, s.box.right
	if kind == parse.List {
		s.text = bulleted(s.text)
	}
	c.add(s, s.text)
	return nil
}

// item matches how an item of a list begins.
var item = regexp.MustCompile(`^\s*(?:[•●○◦▪■□‣⁃·∙➢➤✓✔]\s*\S|[-*–—]\s+\S|\(?(?:[0-9]{1,2}|[a-zA-Z]|[ivx]{1,4})[.)]\s+\S|[（(][一二三四五六七八九十]+[)）]|[一二三四五六七八九十]+、)`)

// bulleted writes an item with a dash for whatever sign it has.
func bulleted(s string) string {
	r, size := utf8.DecodeRuneInString(strings.TrimSpace(s))
	if strings.ContainsRune("•●○◦▪■□‣⁃·∙➢➤✓✔*–—-", r) {
		return "- " + strings.TrimSpace(strings.TrimSpace(s)[size:])
	}
	return s
}

// add makes text that of the block, of which s is the last line.
func (c *composer) add(s segment, text string) {
	end := len(text)
	start := max(0, end-len(s.text))
	if n := len(c.places); n > 0 {
		c.places[n-1].End = min(c.places[n-1].End, start)
	}
	c.text = text
	c.places = append(c.places, parse.Place{Start: start, End: end, Page: s.page, Box: shownBox(s.box)})
	c.last = s
	c.left, c.right = min(c.left, s.box.left), max(c.right, s.box.right)
}

func shownBox(b box) parse.Box {
	return parse.Box{Left: tenth(b.left), Bottom: tenth(b.bottom), Right: tenth(b.right), Top: tenth(b.top)}
}

func tenth(v float64) float32 { return float32(math.Round(v*10) / 10) }

// follows reports whether a line stands right below the last one.
func (c *composer) follows(s segment) bool {
	d := c.last.middle() - s.middle()
	return c.last.page == s.page && d > 0 && d < 2.2*max(c.last.size, s.size)
}

// continues reports whether a line belongs to the paragraph that is being written.
func (c *composer) continues(s segment) bool {
	if math.Abs(c.last.size-s.size) > 0.12*max(c.last.size, s.size) {
		return false
	}
	distance := c.last.middle() - s.middle()
	ended := terminal(c.text)
	if c.last.page != s.page || distance <= 0 || distance > 4*s.size { // another column, or page
		first, _ := utf8.DecodeRuneInString(s.text)
		return !ended && (unicode.IsLower(first) || wideRune(first) || strings.HasSuffix(c.text, "-") || strings.HasSuffix(c.text, "\u00ad") || strings.HasSuffix(c.text, ","))
	}
	usual := c.leading
	if usual == 0 || usual > 2.2*s.size {
		usual = 1.3 * s.size
	}
	if distance > 1.35*usual || c.last.bold != s.bold && (c.last.bold && ended || s.bold && ended) {
		return false
	}
	short := c.last.box.right < c.right-0.15*max(c.right-c.left, 1) || c.last.box.width() < 0.75*max(c.right-c.left, s.box.width())
	indented := s.box.left > c.left+0.9*s.size && len(c.places) > 1 && c.kind == parse.Paragraph
	switch {
	case short && ended:
		return false
	case indented && ended:
		return false
	case c.kind == parse.List && s.box.left < c.last.box.left-0.5*s.size && ended:
		return false
	}
	return true
}

// broken reports whether a line was begun on purpose: what it begins with would have had room in the line before. That is how code,
// verses and addresses are set.
func (c *composer) broken(s segment) bool {
	if c.last.page != s.page || c.last.middle() <= s.middle() {
		return false
	}
	first := strings.IndexByte(s.text, ' ')
	if r, size := utf8.DecodeRuneInString(s.text); wideRune(r) {
		first = size
	}
	if first < 0 {
		first = len(s.text)
	}
	width := s.box.width() * float64(first) / float64(max(len(s.text), 1))
	return c.reach(s)-c.last.box.right > width+1.5*s.size
}

// reach is how far the lines go that begin where the last one does.
func (c *composer) reach(s segment) float64 {
	rights := make([]float64, 0, len(c.edges))
	for _, e := range c.edges {
		if math.Abs(e.left-c.last.box.left) < 4*s.size || math.Abs(e.left-s.box.left) < 4*s.size {
			rights = append(rights, e.right)
		}
	}
	if len(rights) == 0 {
		return c.right
	}
	slices.Sort(rights)
	return rights[len(rights)*8/10]
}

// terminal reports whether a text ends as a sentence does.
func terminal(s string) bool {
	s = strings.TrimRight(s, " \"'”’」』）)】]")
	last, _ := utf8.DecodeLastRuneInString(s)
	return strings.ContainsRune(".!?:;。！？：；…", last)
}

// heading returns the level of a line that is a heading, else 0.
func (c *composer) heading(index int, s segment) int {
	n := utf8.RuneCountInString(s.text)
	if n == 0 || n > maxTitle || strings.IndexFunc(s.text, unicode.IsLetter) < 0 {
		return 0
	}
	for _, b := range c.marks[index] {
		if s.size >= 0.95*c.body && titled(s.text, b.title) {
			return b.level
		}
	}
	level := c.levels[rounded(s.size)]
	if level == 0 || s.size < larger*c.body || n > 80 && terminal(s.text) || n == 1 {
		return 0
	}
	if c.deepest > 0 { // the outline says what the sections are; this is below them
		return min(c.deepest+1, 6)
	}
	return level
}

// titled reports whether a line is what a bookmark names, be its number in one of them only.
func titled(line, mark string) bool {
	a, b := plain(line), plain(mark)
	if a == "" || b == "" {
		return false
	}
	return a == b || strings.HasSuffix(a, b) && len(a)-len(b) <= 12 && numbering(a[:len(a)-len(b)]) || strings.HasSuffix(b, a) && numbering(b[:len(b)-len(a)])
}

// plain is a title's letters and digits.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// numbering reports whether s is the number before a title, with a word such as chapter.
func numbering(s string) bool {
	for _, word := range []string{"chapter", "appendix", "section", "part", "第", "章", "节", "附录"} {
		s = strings.ReplaceAll(s, word, "")
	}
	letters := 0
	for _, r := range s {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	return letters <= 1
}

// flush writes the block.
func (c *composer) flush() error {
	text := strings.ReplaceAll(c.text, "\u00ad", "-") // a hyphen after which nothing came
	places := c.places
	if len(text) != len(c.text) {
		places = moved(c.text, places)
	}
	if c.kind == parse.Heading && c.title == "" && len(places) > 0 && places[0].Page <= 2 {
		c.title = text
	}
	err := c.out.Add(c.kind, c.level, text, places...)
	c.text, c.places, c.kind, c.level = "", nil, parse.Paragraph, 0
	return err
}

// moved corrects places for soft hyphens, of two bytes, that became one.
func moved(text string, places []parse.Place) []parse.Place {
	out := slices.Clone(places)
	for i := range out {
		out[i].Start -= strings.Count(text[:out[i].Start], "\u00ad")
		out[i].End -= strings.Count(text[:out[i].End], "\u00ad")
	}
	return out
}

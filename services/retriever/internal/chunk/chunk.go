// Package chunk cuts canonical text into the passages that are searched and cited. A chunk is a range of the text, so that a
// citation's offsets need no mapping: Text == text[Start:End] always holds.
//
// Chunks follow the document's structure. They end where sentences end, overlap a little within a section, and take in a
// further section only when one of the two is too small to stand alone.
package chunk

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// Revision changes whenever the same canonical text is cut differently.
const Revision = "1"

// Sizes are in units of a third of an alphabetic character: a CJK character says as much as 8/3 others, which makes the best
// measured sizes of both languages, 800 English characters and 300 Chinese ones, one number.
const (
	unit    = 3
	unitCJK = 8

	target  = 800 * unit        // where a chunk is full
	whole   = target * 2        // a section up to this size is left in one piece
	tiny    = target / 4        // below this a section doesn't stand alone
	overlap = target * 20 / 100 // most that two neighbours share
)

const maxPath = 8 // headings above a chunk that are kept

// Chunk is one passage.
type Chunk struct {
	Ordinal     int      // from 0, in the order of the text
	Start, End  int      // half-open range of UTF-8 bytes in the canonical text
	HeadingPath []string // outermost first
	Language    string
	Pages       []document.Page // of paginated documents
}

// ID names a chunk of a document's version for good. Another parser or chunker gives other ids.
func ID(documentID, version string, ordinal int) string {
	space, err := uuid.Parse(documentID)
	if err != nil { // ids are made by document.ID; anything else still gets a stable id
		space = uuid.NewSHA1(uuid.Nil, []byte(documentID))
	}
	return uuid.NewSHA1(space, []byte(version+"/"+parse.Revision+"/"+Revision+"/"+strconv.Itoa(ordinal))).String()
}

// Split cuts a document. Every block's text other than headings is in at least one chunk; headings are where sections were
// joined, and in the path of what follows them. A document of headings alone is cut as if they were paragraphs.
func Split(doc parse.Document) []Chunk {
	sections := sectionsOf(doc)
	if len(sections) == 0 {
		sections = []section{everything(doc)}
	}
	var chunks []Chunk
	for _, group := range join(sections) {
		for _, sp := range cut(doc.Text, group.spans) {
			body := doc.Text[sp.Start:sp.End]
			chunks = append(chunks, Chunk{
				Ordinal: len(chunks), Start: sp.Start, End: sp.End,
				HeadingPath: group.path, Language: text.Language(body), Pages: pagesOf(doc, sp.Start, sp.End),
			})
		}
	}
	return chunks
}

// section is what stands under one heading, or several joined ones.
type section struct {
	path  []string // headings above, innermost last
	top   int      // counts the document's top sections
	spans []span
	size  int
}

// span is a piece that is cut only when it alone is too large: a sentence, a row, a line of code.
type span struct {
	text.Span
	size int
}

// sectionsOf groups the blocks under their headings. Sections without text of their own are left out.
func sectionsOf(doc parse.Document) []section {
	top := topLevel(doc)
	var out []section
	var path []parse.Block
	current := section{}
	for _, b := range doc.Blocks {
		if b.Kind != parse.Heading {
			current.add(doc.Text, b)
			continue
		}
		if len(current.spans) > 0 {
			out = append(out, current)
		}
		for len(path) > 0 && path[len(path)-1].Level >= b.Level {
			path = path[:len(path)-1]
		}
		path = append(path, b)
		count := current.top
		if b.Level <= top {
			count++
		}
		current = section{path: headings(doc, path), top: count}
	}
	if len(current.spans) > 0 {
		out = append(out, current)
	}
	return out
}

// topLevel is the level of the document's main sections: that of its first heading that is not the title alone.
func topLevel(doc parse.Document) int {
	counts := [7]int{}
	for _, b := range doc.Blocks {
		if b.Kind == parse.Heading {
			counts[min(max(b.Level, 1), 6)]++
		}
	}
	for level := 1; level <= 6; level++ {
		if counts[level] > 1 {
			return level
		}
	}
	return 6
}

// headings are the texts of a path. A title heading says nothing that the document's title doesn't.
func headings(doc parse.Document, path []parse.Block) []string {
	var out []string
	for _, b := range path {
		s := doc.Text[b.Start:b.End]
		if len(out) == 0 && strings.EqualFold(s, doc.Title) {
			continue
		}
		if out = append(out, s); len(out) == maxPath {
			break
		}
	}
	return out
}

func (s *section) add(canonical string, b parse.Block) {
	body := canonical[b.Start:b.End]
	pieces := text.Sentences(body)
	if b.Kind == parse.Code {
		pieces = lines(body)
	}
	for _, p := range pieces {
		sp := span{Span: text.Span{Start: b.Start + p.Start, End: b.Start + p.End}}
		sp.size = size(canonical[sp.Start:sp.End])
		s.spans = append(s.spans, sp)
		s.size += sp.size
	}
}

func everything(doc parse.Document) section {
	var s section
	for _, b := range doc.Blocks {
		s.add(doc.Text, b)
	}
	return s
}

// join merges sections that are too small to stand alone with a neighbour.
func join(sections []section) []section {
	out := sections[:1:1]
	for _, next := range sections[1:] {
		last := &out[len(out)-1]
		limit := tiny // across top sections
		if last.top == next.top {
			limit = target / 2
		}
		if (last.size < limit || next.size < tiny) && last.size+next.size <= target {
			last.path = common(last.path, next.path)
			last.spans = append(last.spans[:len(last.spans):len(last.spans)], next.spans...)
			last.size += next.size
			continue
		}
		out = append(out, next)
	}
	return out
}

// common is the path that two sections share.
func common(a, b []string) []string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// cut packs spans into ranges of about the target size, each beginning with the last sentences of the one before.
func cut(canonical string, spans []span) []text.Span {
	spans = small(canonical, spans)
	total := 0
	for _, sp := range spans {
		total += sp.size
	}
	if total <= whole {
		return []text.Span{{Start: spans[0].Start, End: spans[len(spans)-1].End}}
	}
	// Equal pieces rather than full ones and a rest; each but the first repeats the overlap.
	pieces := (total - overlap + target - overlap - 1) / (target - overlap)
	goal := (total + (pieces-1)*overlap) / pieces
	var out []text.Span
	for from := 0; from < len(spans); {
		sum, to := 0, from
		for to < len(spans) && (to == from || sum+spans[to].size/2 <= goal) && (to == from || sum+spans[to].size <= whole) {
			sum += spans[to].size
			to++
		}
		if rest := sizeOf(spans[to:]); rest > 0 && rest < tiny && sum+rest <= whole {
			to = len(spans)
		}
		out = append(out, text.Span{Start: spans[from].Start, End: spans[to-1].End})
		if to == len(spans) {
			break
		}
		next := to
		for shared := 0; next-1 > from; next-- {
			if shared += spans[next-1].size; shared > overlap {
				break
			}
		}
		from = next
	}
	return out
}

func sizeOf(spans []span) int {
	total := 0
	for _, sp := range spans {
		if total += sp.size; total >= target {
			break // as much as anyone asks
		}
	}
	return total
}

// small cuts spans that alone exceed a chunk, at white space where there is some.
func small(canonical string, spans []span) []span {
	var out []span
	for i, sp := range spans {
		if sp.size <= target {
			if out != nil {
				out = append(out, sp)
			}
			continue
		}
		if out == nil {
			out = append(make([]span, 0, len(spans)+8), spans[:i]...)
		}
		for sp.size > target {
			at := breakAt(canonical[sp.Start:sp.End])
			head := span{Span: text.Span{Start: sp.Start, End: sp.Start + at}}
			head.size = size(canonical[head.Start:head.End])
			rest := strings.TrimLeftFunc(canonical[head.End:sp.End], unicode.IsSpace)
			sp.Start = sp.End - len(rest)
			sp.size -= head.size
			out = append(out, head)
		}
		if sp.Start < sp.End {
			out = append(out, sp)
		}
	}
	if out == nil {
		return spans
	}
	return out
}

// breakAt returns where to cut s, which is larger than a chunk: at the last white space or comma of its first two thirds of
// a chunk, else there.
func breakAt(s string) int {
	sum, space := 0, 0
	for i, r := range s {
		if sum >= target*2/3 {
			if space > 0 {
				return space
			}
			return i
		}
		sum += weight(r)
		if i > 0 && unicode.IsSpace(r) {
			space = i
		} else if r == '，' || r == '、' || r == ',' {
			space = i + utf8.RuneLen(r)
		}
	}
	return len(s)
}

// lines are the lines of code that are not blank.
func lines(s string) []text.Span {
	var out []text.Span
	at := 0
	for l := range strings.Lines(s) {
		if trimmed := strings.TrimRight(l, " \t\n"); trimmed != "" {
			out = append(out, text.Span{Start: at, End: at + len(trimmed)})
		}
		at += len(l)
	}
	return out
}

func size(s string) int {
	n := 0
	for _, r := range s {
		n += weight(r)
	}
	return n
}

func weight(r rune) int {
	if r >= 0x1100 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) || r >= 0x3000 && r <= 0x303f || r >= 0xff00 && r <= 0xffef) {
		return unitCJK
	}
	return unit
}

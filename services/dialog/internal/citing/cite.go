package citing

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/text"
)

// Bounds of a citation, in bytes. They keep the turn's record small; a longer sentence is cited by the part of it that
// fits.
const (
	MaxQuote = 1 << 10
	MaxClaim = 512
	// maxWindow is how far back from a marker its sentence is looked for.
	maxWindow = 2 << 10
	// maxSpread is how many neighbouring sentences a quote may take in.
	maxSpread = 3
	// minClaim is how many words a clause between two markers needs to stand for itself; a shorter one is read together
	// with the sentence before it.
	minClaim = 3
)

// Verify reads a claim once, to judge whether each of many quotes supports it, and how much of the claim it covers, 0 to 1.
type Verify func(claim string) Judge

// Judge judges a quote.
type Judge func(quote string) (evidence.Support, float64)

// Source is something an answer may cite.
type Source struct {
	// Number is the n of its markers.
	Number uint32
	// Text is what it says. Quotes are cut from it verbatim.
	Text string
}

// Citation is what a marker stands for.
type Citation struct {
	Marker
	// Claim is the sentence of the answer that the marker closes, without markers; at most MaxClaim bytes.
	Claim string
	// Quote is Text[QuoteStart:QuoteEnd] of the source; at most MaxQuote bytes.
	Quote                string
	QuoteStart, QuoteEnd int
	Support              evidence.Support
	// Score is the share of the claim that the quote covers.
	Score float64
}

// Citer finds the quote behind each marker. It is not safe for concurrent use.
type Citer struct {
	verify  Verify
	sources map[uint32]*source
}

type source struct {
	text      string
	read      bool
	sentences []text.Span // once read: most sources are never cited
}

// NewCiter returns a Citer over sources.
func NewCiter(sources []Source, verify Verify) *Citer {
	c := &Citer{verify: verify, sources: make(map[uint32]*source, len(sources))}
	for _, s := range sources {
		c.sources[s.Number] = &source{text: s.Text}
	}
	return c
}

// Cite says what the marker m in answer stands for. Only the answer up to the marker is read, so that it can be asked as
// soon as the marker has come by.
func (c *Citer) Cite(answer string, m Marker) Citation {
	out := Citation{Marker: m, Claim: Claim(answer[:m.Start]), Support: evidence.Unsupported}
	s, ok := c.sources[m.Number]
	if !ok {
		return out
	}
	if !s.read {
		s.sentences, s.read = pieces(s.text), true
	}
	if len(s.sentences) == 0 {
		return out
	}
	best := s.best(c.verify(out.Claim))
	out.QuoteStart, out.QuoteEnd = best.Start, best.End
	out.Quote = s.text[best.Start:best.End]
	out.Support, out.Score = best.support, best.score
	return out
}

type finding struct {
	text.Span
	support evidence.Support
	score   float64
}

func (f finding) better(than finding) bool {
	if f.support != than.support {
		return f.support > than.support
	}
	return f.score > than.score
}

// best returns the sentence that supports the claim most and, when it does not do so alone, the shortest run of neighbours
// around it that does.
func (s *source) best(judge Judge) finding {
	var best finding
	at := 0
	for i, span := range s.sentences {
		f := s.judge(span, judge)
		if i == 0 || f.better(best) {
			best, at = f, i
		}
		if best.support == evidence.Supported && best.score >= 1 {
			return best // nothing can be better; an extractive answer ends here
		}
	}
	if best.support != evidence.Unsupported {
		return best
	}
	for width := 2; width <= maxSpread; width++ {
		for first := max(0, at-width+1); first <= at && first+width <= len(s.sentences); first++ {
			span := text.Span{Start: s.sentences[first].Start, End: s.sentences[first+width-1].End}
			if span.End-span.Start > MaxQuote {
				continue
			}
			if f := s.judge(span, judge); f.support == evidence.Supported && f.better(best) {
				best = f
			}
		}
		if best.support == evidence.Supported {
			return best
		}
	}
	return best
}

func (s *source) judge(span text.Span, judge Judge) finding {
	support, score := judge(s.text[span.Start:span.End])
	return finding{Span: span, support: support, score: score}
}

// pieces returns the sentences of s, those longer than a quote may be cut at white space or between characters.
func pieces(s string) []text.Span {
	var out []text.Span
	for _, span := range text.Sentences(s) {
		span.Start += marked(s[:span.Start], s[span.Start:span.End])
		for span.End-span.Start > MaxQuote {
			end := cut(s, span.Start, span.Start+MaxQuote)
			out = append(out, text.Span{Start: span.Start, End: end})
			for end < span.End && s[end] == ' ' {
				end++
			}
			span.Start = end
		}
		if span.Start < span.End {
			out = append(out, span)
		}
	}
	return out
}

// listMarker is what a list item begins with: "- ", "1. ", "2、".
var listMarker = regexp.MustCompile(`^(?:[-*+·][ \t]+|•[ \t]*|\d{1,3}(?:[.)][ \t]+|、))`)

// marked returns how many bytes of sentence are a list's marker, which says nothing in a quote. It has to begin a line:
// elsewhere "12. " is part of what is said.
func marked(before, sentence string) int {
	if line := strings.TrimRight(before, " \t"); line != "" && !strings.HasSuffix(line, "\n") {
		return 0
	}
	return len(listMarker.FindString(sentence))
}

// cut returns where to end a piece of s[start:] so that it is at most end-start long.
func cut(s string, start, end int) int {
	if i := strings.LastIndexAny(s[start:end], " \n\t"); i > (end-start)/2 {
		return start + i
	}
	for back := end; back > start && back > end-utf8.UTFMax; back-- {
		if utf8.RuneStart(s[back]) {
			return back
		}
	}
	return end
}

// Claim returns the sentence that a marker at the end of before closes: the one that just ended, or the one that is still
// open. Between two markers in one sentence it is the clause between them, when that has words enough.
func Claim(before string) string {
	window := tail(before, maxWindow)
	window = trimMarkers(window)
	plain, lastMarker := stripMarkers(window)
	spans := text.Sentences(plain)
	if len(spans) == 0 {
		return ""
	}
	last := spans[len(spans)-1]
	claim := plain[last.Start:last.End]
	if lastMarker > last.Start && lastMarker < last.End {
		if clause := strings.TrimSpace(plain[lastMarker:last.End]); words(clause) >= minClaim {
			claim = clause
		}
	}
	claim = strings.TrimLeft(claim, " ,;:，；：、.。-–—*#>")
	return strings.TrimSpace(tail(claim, MaxClaim))
}

// words counts what carries content: words, numbers and pairs of Chinese characters.
func words(s string) int {
	n := 0
	for _, t := range text.Tokens(s) {
		if !t.Stop && t.Kind != text.Han {
			n++
		}
	}
	return n
}

// trimMarkers drops markers and white space from the end.
func trimMarkers(s string) string {
	for {
		s = strings.TrimRight(s, " \t")
		if !strings.HasSuffix(s, "]") {
			return s
		}
		open := strings.LastIndexByte(s, '[')
		if open < 0 || !isNumber(s[open+1:len(s)-1]) {
			return s
		}
		s = s[:open]
	}
}

// stripMarkers returns s without its markers, and where in it the last one stood.
func stripMarkers(s string) (string, int) {
	var b strings.Builder
	last := -1
	for len(s) > 0 {
		open := strings.IndexByte(s, '[')
		if open < 0 {
			break
		}
		end := strings.IndexByte(s[open:], ']')
		if end < 0 {
			break
		}
		end += open
		if !isNumber(s[open+1 : end]) {
			b.WriteString(s[:open+1])
			s = s[open+1:]
			continue
		}
		b.WriteString(strings.TrimRight(s[:open], " "))
		last = b.Len()
		s = s[end+1:]
	}
	b.WriteString(s)
	return b.String(), last
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 3
}

// tail returns at most the last n bytes of s, from the beginning of a character.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	for i := range min(utf8.UTFMax, len(s)) {
		if utf8.RuneStart(s[i]) {
			return s[i:]
		}
	}
	return s
}

// WithoutMarkers returns s without its markers, for places where their numbers mean nothing.
func WithoutMarkers(s string) string {
	out, _ := stripMarkers(s)
	return out
}

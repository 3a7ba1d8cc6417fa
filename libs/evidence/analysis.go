package evidence

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/text"
)

// maxSentences bounds the sentences looked at over all passages, and with them
// time and memory.
const maxSentences = 4000

// partial is the credit of a word that shares a long beginning with the
// question's ("presidential" for "president"), and of a Chinese pair whose
// characters both occur, but apart.
const (
	partial   = 0.7
	apart     = 0.4
	straddles = 0.9  // a pair between two that are mentioned: 默认保留 where both words stand apart
	mentioned = 0.35 // the least credit at which a unit counts as mentioned
)

// credits holds for each unit of the question how well something mentions it, 0..1.
type credits []float32

// sentence is a sentence of a passage, measured.
type sentence struct {
	passage    int
	span       text.Span // without list markers and heading signs
	ordinal    int       // in its passage
	back       bool      // points back: to be read, and quoted, with the sentence before
	list       bool      // introduces a list and includes it
	heading    bool
	code       bool
	own        credits
	adjacent   uint64 // pairs of neighbouring units that stand close together here
	candidates int    // tokens that could be the answer and are not in the question
	near       int    // least distance of one of them to a matched token; large if none
	news       int    // content tokens that are not in the question
	size       int    // content tokens
	clash      bool   // says the opposite of a word of the question
	negated    bool
	fits       bool // has the form asked for: says what the subject is or does, or names several things
	anchored   bool // a candidate stands beside the anchor of the question
}

// analysis is a question measured against passages.
type analysis struct {
	q         *question
	model     model
	sentences []sentence
	title     []credits // per passage: title and headings
	passage   []credits // per passage: everything in it
	all       credits   // over all passages
	first     []int     // per passage: its first sentence; one more at the end
	place     []int     // per passage: its rank, 0 for the best
	foreign   []bool    // per passage: in another language than the question
}

func analyse(q *question, passages []Passage, read func(string) *reading) *analysis {
	n := len(q.units)
	a := &analysis{q: q, model: englishModel(), all: make(credits, n), first: make([]int, 0, len(passages)+1)}
	if q.chinese {
		a.model = chineseModel()
	}
	m := newMatcher(q)
	for p := range passages {
		a.first = append(a.first, len(a.sentences))
		as := read(passages[p].Text)
		a.foreign = append(a.foreign, as.chinese != q.chinese)
		title := make(credits, n)
		m.match(passages[p].Title, title)
		for _, h := range passages[p].Headings {
			m.match(h, title)
		}
		q.bridge(title)
		a.title = append(a.title, title)
		whole := slices.Clone(title)
		a.addSentences(m, p, as, whole)
		a.passage = append(a.passage, whole)
		a.all.merge(whole, 1)
	}
	a.first = append(a.first, len(a.sentences))
	a.place = places(passages)
	return a
}

// places ranks passages by Score, keeping the given order between equals.
func places(passages []Passage) []int {
	order := make([]int, len(passages))
	for p := range order {
		order[p] = p
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(passages[y].Score, passages[x].Score) })
	place := make([]int, len(passages))
	for rank, p := range order {
		place[p] = rank
	}
	return place
}

// addSentences measures the sentences of one passage and merges their credits
// into whole.
func (a *analysis) addSentences(m *matcher, p int, as *reading, whole credits) {
	units := len(a.q.units)
	sentences := as.sentences[:min(len(as.sentences), maxSentences-len(a.sentences))]
	slab := make(credits, len(sentences)*units)
	for i, r := range sentences {
		st := sentence{
			passage: p, span: r.span, ordinal: r.ordinal, list: r.list, heading: r.heading, code: r.code, negated: r.negated,
			own: slab[i*units : (i+1)*units : (i+1)*units],
		}
		m.measure(&st, as.text, as.tokens[r.from:r.to])
		a.q.bridge(st.own)
		a.lookBack(&st, r.back)
		whole.merge(st.own, 1)
		a.sentences = append(a.sentences, st)
	}
}

// maxQuote bounds a quote that takes in the sentence before, in bytes.
const maxQuote = 600

// lookBack makes st one with the sentence before it when it points back there.
func (a *analysis) lookBack(st *sentence, back bool) {
	n := len(a.sentences)
	if !back || n == a.first[st.passage] {
		return
	}
	before := &a.sentences[n-1]
	if before.heading || before.code || before.span.End > st.span.Start || st.span.End-before.span.Start > maxQuote {
		return
	}
	st.back = true
}

// maxList bounds what an introduction ("The defaults are:") takes with it, in
// bytes.
const maxList = 600

// listEnd returns where the list ends that the first of spans introduces with a
// colon, or 0.
func listEnd(s string, spans []text.Span) int {
	intro := s[spans[0].Start:spans[0].End]
	if !strings.HasSuffix(intro, ":") && !strings.HasSuffix(intro, "：") {
		return 0
	}
	end := 0
	for i, sp := range spans[1:] {
		if sp.End-spans[0].Start > maxList {
			break
		}
		item, heading := trimMarkup(s, sp)
		if heading || i > 0 && item.Start == sp.Start {
			break
		}
		end = sp.End
	}
	return end
}

// merge raises each credit to the other's times weight.
func (c credits) merge(other credits, weight float32) {
	for i, v := range other {
		c[i] = max(c[i], v*weight)
	}
}

// coverage is the weighted share of the question's units that c mentions.
func (q *question) coverage(c credits) float64 {
	var sum float64
	for i, u := range q.units {
		sum += u.weight * float64(c[i])
	}
	return sum / q.total
}

// share is coverage over the units keep chooses, and whether there are any.
func (q *question) share(c credits, keep func(unit) bool) (float64, bool) {
	var sum, total float64
	for i, u := range q.units {
		if keep(u) {
			sum += u.weight * float64(c[i])
			total += u.weight
		}
	}
	if total == 0 {
		return 1, false
	}
	return sum / total, true
}

func isKey(u unit) bool    { return u.kind == name || u.kind == number }
func isNumber(u unit) bool { return u.kind == number }
func isPlain(u unit) bool  { return !isKey(u) }

// context is what a sentence's surroundings add to it: its own credits, and at a
// discount those of its neighbours, title and headings, and passage.
func (a *analysis) context(i int) credits {
	st := &a.sentences[i]
	c := slices.Clone(st.own)
	if i > a.first[st.passage] {
		if st.back {
			c.merge(a.sentences[i-1].own, 0.95)
		}
		c.merge(a.sentences[i-1].own, 0.75)
	}
	if i+1 < a.first[st.passage+1] {
		c.merge(a.sentences[i+1].own, 0.5)
	}
	c.merge(a.title[st.passage], 0.8)
	c.merge(a.passage[st.passage], 0.4)
	a.q.bridge(c)
	return c
}

// bridge credits pairs of characters that only straddle two words (认保 in
// 默认保留): fully when the pairs on both sides are mentioned, by half when one is.
func (q *question) bridge(c credits) {
	before := float32(0) // credit of the pair before, as measured
	for i := range q.units {
		u := &q.units[i]
		own := c[i]
		if u.kind == hanPair && own < straddles {
			after := float32(0)
			if i+1 < len(q.units) && q.units[i+1].kind == hanPair && q.units[i+1].start < u.end {
				after = c[i+1]
			}
			if i == 0 || q.units[i-1].kind != hanPair || q.units[i-1].end <= u.start {
				before = 0
			}
			c[i] = max(own, straddles*max(min(before, after), 0.55*max(before, after)))
		}
		before = own
	}
}

// trimMarkup takes list markers, quotation and heading signs off the start of a
// sentence and reports whether it was a heading.
func trimMarkup(s string, sp text.Span) (text.Span, bool) {
	line := s[sp.Start:sp.End]
	rest := strings.TrimLeft(line, "#")
	heading := len(rest) < len(line) && strings.HasPrefix(rest, " ")
	if !heading {
		rest = line
	}
	for {
		before := rest
		rest = strings.TrimLeft(rest, " \t\r\n>")
		for _, marker := range [...]string{"- ", "* ", "+ ", "• ", ": ", "："} {
			rest = strings.TrimPrefix(rest, marker)
		}
		if rest == before {
			break
		}
	}
	digits := 0
	for digits < len(rest) && digits < 3 && '0' <= rest[digits] && rest[digits] <= '9' {
		digits++
	}
	if digits > 0 {
		for _, end := range [...]string{". ", ") ", "、"} {
			if strings.HasPrefix(rest[digits:], end) && len(rest) > digits+len(end) {
				rest = strings.TrimLeft(rest[digits+len(end):], " ")
				break
			}
		}
	}
	return text.Span{Start: sp.End - len(rest), End: sp.End}, heading
}

package evidence

import (
	"strings"

	"github.com/ragmesh/ragmesh/libs/text"
)

// worth is the share of the best sentence's belief below which a sentence is not
// worth quoting.
const worth = 0.05

// choose picks the sentences worth quoting. A sentence inside one already chosen
// is left out.
func (a *analysis) choose(r ranking, passages []Passage) []Sentence {
	var out []Sentence
	for _, i := range r.order {
		st := &a.sentences[i]
		if len(out) == MaxSentences || r.belief[i] < worth*r.belief[r.order[0]] {
			break
		}
		if a.q.coverage(st.own) == 0 {
			continue
		}
		span := a.quoted(i, passages)
		if overlaps(out, st.passage, span) {
			continue
		}
		out = append(out, Sentence{
			Passage: st.passage, Start: span.Start, End: span.End,
			Text:  passages[st.passage].Text[span.Start:span.End],
			Score: r.belief[i],
		})
	}
	return out
}

func overlaps(chosen []Sentence, passage int, sp text.Span) bool {
	for _, c := range chosen {
		if c.Passage == passage && sp.Start < c.End && c.Start < sp.End {
			return true
		}
	}
	return false
}

// maxQuote bounds a quote that takes in the sentence before, in bytes.
const maxQuote = 600

// quoted is the range to quote for sentence i: with the sentence before it when
// it points back there.
func (a *analysis) quoted(i int, passages []Passage) text.Span {
	st := &a.sentences[i]
	sp := st.span
	if i == a.first[st.passage] || !pointsBack(passages[st.passage].Text[sp.Start:sp.End]) {
		return sp
	}
	before := &a.sentences[i-1]
	if before.heading || before.code || before.span.End > sp.Start || sp.End-before.span.Start > maxQuote {
		return sp
	}
	return text.Span{Start: before.span.Start, End: sp.End}
}

// pointsBack reports whether a sentence opens with a word for something said
// before.
func pointsBack(s string) bool {
	for _, w := range [...]string{"该", "它", "其", "此", "这", "他", "她", "前者", "后者", "默认值", "如果是这样"} {
		if strings.HasPrefix(s, w) {
			return true
		}
	}
	words := 0
	for _, t := range text.Tokens(clip(s, 48)) {
		if words++; t.Kind != text.Word || words > 2 {
			return false
		}
		switch strings.ToLower(s[t.Start:t.End]) {
		case "it", "they", "this", "these", "those", "he", "she", "his", "her", "its", "their", "such", "otherwise", "instead",
			"however", "therefore", "then":
			return true
		}
	}
	return false
}

// missing lists the question's own words that no passage mentions.
func (a *analysis) missing() []string {
	var out []string
	end := 0
	for i, u := range a.q.units {
		if a.all[i] >= supports || u.weight < commonPair || len(out) == MaxMissing {
			continue
		}
		if n := len(out); n > 0 && u.kind == hanPair && u.start < end {
			out[n-1] += a.q.text[end:u.end] // overlapping pairs grow one word
		} else {
			out = append(out, a.q.text[u.start:u.end])
		}
		end = u.end
	}
	return out
}

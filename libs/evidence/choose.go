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
		span := a.quoted(i)
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

// quoted is the range to quote for sentence i.
func (a *analysis) quoted(i int) text.Span {
	sp := a.sentences[i].span
	if a.sentences[i].back {
		sp.Start = a.sentences[i-1].span.Start
	}
	return sp
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
		if a.all[i] >= mentioned || u.weight < commonPair || len(out) == MaxMissing {
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

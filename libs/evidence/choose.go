package evidence

import (
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/text"
)

// worth is the share of the best sentence's belief below which a sentence is not
// worth quoting. The belief is sharp: at a fiftieth a sentence is still the one
// that answers now and then.
const worth = 0.02

// choose picks the sentences worth quoting. A sentence that repeats one already
// chosen is left out.
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
		span := a.quoted(a.narrow(i))
		quote := Sentence{
			Passage: st.passage, Start: span.Start, End: span.End,
			Text:  passages[st.passage].Text[span.Start:span.End],
			Score: r.belief[i],
		}
		if !slices.ContainsFunc(out, quote.repeats) {
			out = append(out, quote)
		}
	}
	return out
}

// narrow gives, for a list with its introduction, the one item that mentions as
// much of the question as the whole, or else i.
func (a *analysis) narrow(i int) int {
	st := &a.sentences[i]
	if !st.list {
		return i
	}
	all := a.q.coverage(st.own)
	for k := i + 1; k < a.first[st.passage+1] && a.sentences[k].span.End <= st.span.End; k++ {
		item := &a.sentences[k]
		if a.q.coverage(item.own) >= 0.95*all && (item.candidates > 0) == (st.candidates > 0) {
			return k
		}
	}
	return i
}

// repeats reports whether two quotes overlap, or are the same words from passages
// that do.
func (s Sentence) repeats(other Sentence) bool {
	return s.Text == other.Text || s.Passage == other.Passage && s.Start < other.End && other.Start < s.End
}

// quoted is the range to quote for sentence i.
func (a *analysis) quoted(i int) text.Span {
	sp := a.sentences[i].span
	if a.sentences[i].back {
		sp.Start = a.sentences[i-1].span.Start
	}
	return sp
}

// pointsBack reports whether a sentence s[tokens] opens with a word for something
// said before.
func pointsBack(s string, tokens []text.Token) bool {
	if tokens[0].Kind == text.Han {
		for _, w := range [...]string{"该", "它", "其", "此", "这", "他", "她", "前者", "后者", "默认值"} {
			if strings.HasPrefix(s[tokens[0].Start:], w) {
				return true
			}
		}
		return false
	}
	for i, t := range tokens {
		if i == 3 || t.Kind != text.Word {
			return false
		}
		switch t.Term {
		case "it", "they", "this", "these", "those", "he", "she", "his", "her", "them", "such":
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

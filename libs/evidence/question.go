package evidence

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/text"
)

// maxUnits bounds the units of a question, so that sets of them fit a word.
const maxUnits = 64

// question is a question taken apart.
type question struct {
	text    string
	chinese bool
	units   []unit
	index   map[string]int // canonical term -> unit
	terms   map[string]struct{}
	total   float64 // weight of all units
	expects answer  // what kind of thing is asked for
	anchor  int     // unit beside which a number or value is expected, -1 when none
	negated bool
}

// unit is something an answering sentence ought to share with the question: a
// word, a name, a number, or a pair of Chinese characters.
type unit struct {
	start, end int    // bytes in question.text
	term       string // canonical
	raw        string // folded to lower case, not stemmed
	kind       unitKind
	weight     float64
}

type unitKind uint8

const (
	plain unitKind = iota
	name
	number
	hanPair
	hanSingle
)

// Weights of units, before learning: what a question is about (names, numbers)
// has to be there, a word that goes with any subject less so, and the noun that
// only says what kind of answer is wanted ("what year") rarely is.
const (
	nameWeight    = 1.3
	numberWeight  = 1.3
	plainWeight   = 1.0
	commonWeight  = 0.6
	framingWeight = 0.3
	pairWeight    = 0.5
	commonPair    = 0.3
	loosePair     = 0.15 // a pair with a function character in it
)

// parse takes a question apart, or, when it is not asked, a claim.
func parse(s string, asked bool) question {
	tokens := text.Tokens(s)
	q := question{
		text:    s,
		chinese: inChinese(s),
		index:   make(map[string]int, len(tokens)),
		terms:   make(map[string]struct{}, len(tokens)),
	}
	q.expects = only(anything)
	if asked {
		q.expects = expectation(s, tokens, q.chinese)
	}
	q.negated = negated(s, tokens)
	q.anchor = -1
	var framed []text.Span
	if asked && q.chinese {
		framed = framing(s)
	}
	for i, t := range tokens {
		for len(framed) > 0 && framed[0].End <= t.Start {
			framed = framed[1:]
		}
		if len(framed) > 0 && framed[0].Start < t.End {
			continue
		}
		q.terms[canonical(t.Term)] = struct{}{}
		if u, ok := q.unit(t, tokens, i); ok {
			if at, seen := q.index[u.term]; seen {
				q.units[at].weight = max(q.units[at].weight, u.weight)
				continue
			}
			if len(q.units) == maxUnits {
				break
			}
			if q.anchors(u) {
				q.anchor = len(q.units)
			}
			q.index[u.term] = len(q.units)
			q.units = append(q.units, u)
		}
	}
	for _, u := range q.units {
		q.total += u.weight
	}
	return q
}

// anchors reports whether a number or value is expected beside u: "default" where
// the question has it, or else what it counts.
func (q *question) anchors(u unit) bool {
	switch q.expects.kind {
	case quantity, duration, setting:
		return u.term == "default" || u.term == "默认" || u.start == q.expects.counted && q.anchor < 0
	}
	return false
}

// inChinese reports whether a question is asked in Chinese, however many English
// terms are in it.
func inChinese(s string) bool {
	l := text.Language(s)
	return l == text.Chinese || l == text.Mixed
}

// unit makes a unit of token i, unless it carries no content.
func (q *question) unit(t text.Token, tokens []text.Token, i int) (unit, bool) {
	u := unit{start: t.Start, end: t.End, term: canonical(t.Term), raw: strings.ToLower(q.text[t.Start:t.End])}
	switch t.Kind {
	case text.Number:
		u.kind, u.weight = number, numberWeight
	case text.Word:
		if t.Stop || utf8.RuneCountInString(u.term) == 1 && !isUpper(q.text[t.Start:]) {
			return u, false
		}
		if i > 0 && strings.EqualFold(q.text[tokens[i-1].Start:tokens[i-1].End], "how") && (q.expects.kind == duration || q.expects.kind == quantity) {
			return u, false // "how long" asks for minutes, which no answer calls long
		}
		u.kind, u.weight = plain, plainWeight
		switch {
		case q.expects.head == t.Start, isFraming(u.term):
			u.weight = framingWeight
		case isCommon(u.term):
			u.weight = commonWeight
		case q.chinese || isUpper(q.text[t.Start:]) && i > 0:
			u.kind, u.weight = name, nameWeight
		}
	case text.HanPair:
		u.kind, u.weight = hanPair, pairWeight
		first, second := hanStops(tokens, i)
		switch {
		case t.Stop || first && second:
			return u, false
		case first || second:
			u.weight = loosePair
		case isCommon(u.term):
			u.weight = commonPair
		}
	case text.Han:
		// A lone character between others of no content: 谁写
		if t.Stop || i > 0 && tokens[i-1].Kind == text.HanPair && tokens[i-1].End == t.End || i+1 < len(tokens) && tokens[i+1].Kind == text.HanPair {
			return u, false
		}
		u.kind, u.weight = hanSingle, pairWeight
	}
	return u, true
}

// hanStops reports which characters of the pair at i are function characters.
// The pair follows its first character and precedes its second.
func hanStops(tokens []text.Token, i int) (first, second bool) {
	return i > 0 && tokens[i-1].Stop, i+1 < len(tokens) && tokens[i+1].Stop
}

func isUpper(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsUpper(r)
}

// negated reports whether a text denies something.
func negated(s string, tokens []text.Token) bool {
	for i := range tokens {
		if negates(s, tokens, i) {
			return true
		}
	}
	return false
}

// clip cuts s to at most n bytes without splitting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

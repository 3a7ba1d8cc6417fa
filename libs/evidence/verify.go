package evidence

import (
	"strings"

	"github.com/ragmesh/ragmesh/libs/text"
)

// Support is what a cited quote does for a claim.
type Support uint8

// The outcomes of Verify, the better one greater.
const (
	Unsupported Support = iota // the quote doesn't say it, or says the contrary
	Unverified                 // claim and quote are in different languages, or have no words to compare
	Supported                  // what the claim says is in the quote
)

// String is how an outcome is written for people and in metrics.
func (s Support) String() string {
	switch s {
	case Supported:
		return "supported"
	case Unverified:
		return "unverified"
	default:
		return "unsupported"
	}
}

// Least share of a claim's content that its quote must hold: a paraphrase by the
// same words in other order and form passes, a sentence about something else
// doesn't. Chinese is compared by pairs of characters, which paraphrasing breaks
// more easily.
const (
	minSupport        = 0.6
	minSupportChinese = 0.5
)

// maxVerify bounds what Verify reads of claim and quote, in bytes.
const maxVerify = 16 << 10

// Verify decides whether quote bears out claim, a sentence of an answer, and
// gives the share 0..1 of the claim's content that the quote holds (0 when
// Unverified). Words are compared by stem. Whatever the share, a number or two
// or more names that the quote lacks, a word that only one of them denies, and an
// antonym in the place of a word make the claim Unsupported. Citation markers
// such as [2] in the claim are ignored.
func Verify(claim, quote string) (Support, float64) { return NewClaim(claim).Verify(NewQuote(quote)) }

// Claim is a sentence of an answer that is read once and held against many
// quotes. It is safe for concurrent use.
type Claim struct {
	q        question
	m        *matcher
	language string
	denied   map[string]bool // as deniedTerms
}

// NewClaim reads a claim.
func NewClaim(claim string) *Claim {
	claim = withoutMarkers(clip(claim, maxVerify))
	c := &Claim{q: parse(claim, false), language: text.Language(claim), denied: deniedTerms(claim, text.Tokens(claim))}
	c.m = newMatcher(&c.q)
	return c
}

// Quote is a piece of a source that is read once and held against many claims. It
// is safe for concurrent use.
type Quote struct {
	text     string
	tokens   []text.Token
	language string
	denied   map[string]bool // as deniedTerms
}

// NewQuote reads a quote.
func NewQuote(quote string) *Quote {
	quote = clip(quote, maxVerify)
	tokens := text.Tokens(quote)
	return &Quote{text: quote, tokens: tokens, language: text.Language(quote), denied: deniedTerms(quote, tokens)}
}

// Verify is [Verify] of the claim and a quote.
func (c *Claim) Verify(quote *Quote) (Support, float64) {
	if len(c.q.units) == 0 || !shareWords(c.language, quote.language) {
		return Unverified, 0
	}
	got := make(credits, len(c.q.units))
	st := sentence{own: got}
	c.m.measure(&st, quote.text, quote.tokens)
	c.m.matchNumbers(quote.tokens, got)

	share := c.q.coverage(got)
	numbers, _ := c.q.share(got, isNumber)
	names, lacking := 0, 0
	for i, u := range c.q.units {
		if u.kind == name {
			names++
			if got[i] < mentioned {
				lacking++
			}
		}
	}
	least := minSupport
	if c.q.chinese {
		least = minSupportChinese
	}
	switch {
	case share < least, numbers < 1, lacking > 1, lacking == 1 && names == 1, st.clash, c.contradicted(quote):
		return Unsupported, share
	}
	return Supported, share
}

// shareWords reports whether texts in these two languages can be compared by their
// words.
func shareWords(a, b string) bool {
	return a == b || a == "" || b == "" || a == text.Mixed || b == text.Mixed
}

// withoutMarkers takes [1] and [1, 2] out of s.
func withoutMarkers(s string) string {
	if !strings.Contains(s, "[") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == '[' {
			end := i + 1
			for end < len(s) && strings.IndexByte("0123456789, ", s[end]) >= 0 {
				end++
			}
			if end > i+1 && end < len(s) && s[end] == ']' {
				i = end + 1
				continue
			}
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// matchNumbers credits numbers that are written differently: 3 and three, 三;
// 50 and 50th.
func (m *matcher) matchNumbers(tokens []text.Token, c credits) {
	for i, u := range m.q.units {
		if u.kind != number || c[i] == 1 {
			continue
		}
		want := numeral(u.term)
		for _, t := range tokens {
			if t.Kind != text.HanPair && numeral(t.Term) == want {
				c[i] = 1
				break
			}
		}
	}
}

// numeral gives the digits of a number without its unit, of a number word, or of
// a Chinese numeral; any other term is returned as it is.
func numeral(term string) string {
	n := 0
	for n < len(term) && ('0' <= term[n] && term[n] <= '9' || term[n] == '.') {
		n++
	}
	if n > 0 {
		switch rest := term[n:]; rest {
		case "", "st", "nd", "rd", "th", "s":
			return term[:n]
		}
		return term
	}
	for i, words := range [...][3]string{
		{"zero", "零", "〇"}, {"one", "一", "单"}, {"two", "二", "两"}, {"three", "三"}, {"four", "四"}, {"five", "五"}, {"six", "六"},
		{"seven", "七"}, {"eight", "八"}, {"nine", "九"}, {"ten", "十"}, {"eleven"}, {"twelv"},
	} {
		for _, w := range words {
			if w != "" && term == w {
				return [...]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}[i]
			}
		}
	}
	return term
}

// reach is how many positions after a negation the word it denies may stand.
const reach = 3

// contradicted reports whether the quote denies a word the claim affirms, or the
// other way round.
func (c *Claim) contradicted(quote *Quote) bool {
	if len(c.denied) == 0 && len(quote.denied) == 0 {
		return false
	}
	for _, t := range quote.tokens {
		term := canonical(t.Term)
		if _, claimed := c.q.index[term]; claimed && c.denied[term] != quote.denied[term] {
			return true
		}
	}
	return false
}

// deniedTerms are the terms right after a negation.
func deniedTerms(s string, tokens []text.Token) map[string]bool {
	var out map[string]bool
	until, end := -1, 0
	for i, t := range tokens {
		if end < t.Start && strings.TrimSpace(s[end:t.Start]) != "" {
			until = -1 // the clause has ended
		}
		end = max(end, t.End)
		if negates(s, tokens, i) {
			until = t.Position + reach
			continue
		}
		if t.Position <= until && !t.Stop {
			if out == nil {
				out = make(map[string]bool)
			}
			out[canonical(t.Term)] = true
			if t.Kind == text.Word {
				until = -1 // one word in English: "does not delete the pod"
			}
		}
	}
	return out
}

// negates reports whether token i denies what follows it.
func negates(s string, tokens []text.Token, i int) bool {
	t := tokens[i]
	raw := s[t.Start:t.End]
	switch t.Kind {
	case text.Word:
		switch w := strings.ToLower(raw); w {
		case "not", "no":
			next := ""
			if i+1 < len(tokens) {
				next = strings.ToLower(s[tokens[i+1].Start:tokens[i+1].End])
			}
			return next != "only" && next != "just" && next != "more" && next != "less"
		case "never", "without", "cannot", "neither", "none", "nobody", "nothing", "nor", "unable":
			return true
		default:
			return strings.HasSuffix(w, "n't") || strings.HasSuffix(w, "n’t")
		}
	case text.Han:
		switch raw {
		case "不", "没", "未", "勿", "莫", "無":
			for _, w := range [...]string{"不同", "不仅", "不过", "不断", "不少", "不久", "不论", "不管", "不但", "不止", "未来", "没落", "莫名"} {
				if strings.HasPrefix(s[t.Start:], w) {
					return false
				}
			}
			return true
		}
		return strings.HasPrefix(s[t.Start:], "无法") || strings.HasPrefix(s[t.Start:], "禁止")
	}
	return false
}

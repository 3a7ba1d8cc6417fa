package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kljensen/snowball/english"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// Kind says what a Token is made of.
type Kind uint8

// The kinds of token.
const (
	Word    Kind = iota // a run of letters, with digits and inner apostrophes: "Levi's", "x86"
	Number              // a run that starts with a digit, with its separators and unit: "1,000", "1.29", "50th", "512Mi"
	Han                 // a single CJK character
	HanPair             // two adjacent CJK characters; pairs overlap
)

// Token is one searchable unit of a text.
type Token struct {
	// Term is the folded form that equal tokens share: full-width forms made
	// half-width, compatibility forms resolved (NFKD), Latin diacritics dropped,
	// lower case, English words stemmed with Porter2, thousands separators
	// removed. CJK characters stay as they are.
	Term string
	// Start and End are the half-open byte range of the token in the input.
	Start, End int
	// Position counts words and single CJK characters from 0. Tokens at p and
	// p+1 are neighbours; a sentence end or a blank line between two tokens leaves
	// a gap. A HanPair has the position of its first character.
	Position int
	Kind     Kind
	// Stop marks words that carry no content: English function and question
	// words, Chinese function and question words.
	Stop bool
}

// maxStem bounds the words that are stemmed, in bytes; longer runs of letters
// are identifiers or noise. It also keeps Tokens linear.
const maxStem = 40

// maxTerm bounds a word or number in bytes; a longer run is cut into pieces, so
// that one blob of base64 can't become one huge term.
const maxTerm = 256

// Tokens splits s into words, numbers, single CJK characters and their
// overlapping pairs, in the order of Start, a character before its pair.
// Consumers that want only one CJK form filter by Kind.
func Tokens(s string) []Token {
	t := tokenizer{s: s, out: make([]Token, 0, expected(s))}
	t.run()
	return t.out
}

// expected is how many tokens s will have, roughly: a word for six ASCII bytes, a
// character and a pair for three others.
func expected(s string) int {
	wide := 0
	for i := range len(s) {
		if s[i] >= 0xE0 {
			wide++
		}
	}
	return 2*wide + (len(s)-3*wide)/6 + 4
}

type tokenizer struct {
	s   string
	out []Token
	pos int  // position of the next token
	gap bool // a sentence end was passed since the last token
}

func (t *tokenizer) run() {
	newlines := 0
	for i := 0; i < len(t.s); {
		r, size := t.rune(i)
		switch {
		case isCJK(r):
			i = t.han(i)
			newlines = 0
		case isWordRune(r):
			i = t.word(i, unicode.IsDigit(r))
			newlines = 0
		default:
			if r == '\n' {
				newlines++
			}
			if newlines > 1 || isHardStop(r) {
				t.gap = true
			}
			i += size
		}
	}
}

// rune decodes the rune at i and folds its width, so that "Ａ" reads as "A".
func (t *tokenizer) rune(i int) (rune, int) {
	if c := t.s[i]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	r, size := utf8.DecodeRuneInString(t.s[i:])
	if r >= 0xFF00 || r == 0x3000 {
		if f := width.LookupRune(r).Folded(); f != 0 {
			r = f
		}
	}
	return r, size
}

// word adds the word or number that starts at i and returns where it ends.
func (t *tokenizer) word(i int, number bool) int {
	start, ascii := i, true
	for i < len(t.s) && i-start < maxTerm {
		if c := rune(t.s[i]); isASCIILetter(c) || isASCIIDigit(c) { // nearly always
			i++
			continue
		}
		r, size := t.rune(i)
		if isWordRune(r) && !isCJK(r) {
			ascii = ascii && size == 1
			i += size
			continue
		}
		// A separator belongs to the token only between two of its characters:
		// the apostrophe of a word, the point or comma of a number.
		if i+size >= len(t.s) || !(number && (r == '.' || r == ',') || !number && isApostrophe(r)) {
			break
		}
		next, _ := t.rune(i + size)
		if number && !isASCIIDigit(next) || !number && (!unicode.IsLetter(next) || isCJK(next)) {
			break
		}
		ascii = ascii && size == 1
		i += size
	}
	raw := t.s[start:i]
	k := Token{Start: start, End: i, Kind: Word}
	switch {
	case number:
		k.Kind = Number
		k.Term, k.Stop = fold(raw, ascii, number)
	case ascii && len(raw) <= maxStem:
		k.Term, k.Stop = stems.fold(raw)
	default:
		k.Term, k.Stop = fold(raw, ascii, number)
	}
	if k.Term != "" {
		t.add(k)
	}
	return i
}

// han adds the run of CJK characters that starts at i, singles and pairs, and
// returns where it ends.
func (t *tokenizer) han(i int) int {
	prev, size := t.rune(i)
	end := i + size
	for {
		t.add(Token{Term: hanTerm(t.s[i:end], prev), Start: i, End: end, Kind: Han, Stop: stopHan(prev)})
		if end >= len(t.s) {
			return end
		}
		next, nextSize := t.rune(end)
		if !isCJK(next) {
			return end
		}
		t.out = append(t.out, Token{
			Term:  hanPairTerm(t.s[i:end+nextSize], prev, next),
			Start: i, End: end + nextSize,
			Position: t.pos - 1,
			Kind:     HanPair,
			Stop:     stopPair(t.s[i:end+nextSize], prev, next),
		})
		i, prev = end, next
		end += nextSize
	}
}

func (t *tokenizer) add(k Token) {
	if t.gap && len(t.out) > 0 {
		t.pos++
	}
	t.gap = false
	k.Position = t.pos
	t.pos++
	t.out = append(t.out, k)
}

// hanTerm is the term of one CJK character: its own bytes unless folding its
// width changed it.
func hanTerm(raw string, r rune) string {
	if len(raw) == utf8.RuneLen(r) && r < 0xF900 {
		return raw
	}
	return norm.NFKC.String(string(r))
}

func hanPairTerm(raw string, a, b rune) string {
	if a < 0xF900 && b < 0xF900 && len(raw) == utf8.RuneLen(a)+utf8.RuneLen(b) {
		return raw
	}
	return norm.NFKC.String(string([]rune{a, b}))
}

// fold turns a raw word or number into its term and tells whether it is a stop
// word ("us" is, "US" is not). The term is "" when nothing but marks was in it.
func fold(raw string, ascii, number bool) (term string, stop bool) {
	if ascii {
		term = strings.ToLower(raw)
	} else {
		term = foldUnicode(raw)
	}
	if number {
		if strings.IndexByte(term, ',') >= 0 {
			term = strings.ReplaceAll(term, ",", "")
		}
		return term, false
	}
	if raw != "US" && stopEnglish(term) {
		return term, true
	}
	if len(term) <= maxStem && isASCIIWord(term) {
		term = english.Stem(term, true)
	}
	return term, false
}

// foldUnicode lower-cases s, resolves compatibility forms, drops the combining
// diacritics of Latin, Greek and Cyrillic, and straightens apostrophes.
func foldUnicode(s string) string {
	decomposed := norm.NFKD.String(s)
	var b strings.Builder
	b.Grow(len(decomposed))
	for _, r := range decomposed {
		switch {
		case r >= 0x0300 && r <= 0x036F: // combining diacritical marks
		case isApostrophe(r):
			b.WriteByte('\'')
		case r == utf8.RuneError || unicode.IsControl(r):
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return norm.NFC.String(b.String())
}

func isASCIIWord(s string) bool {
	for i := range len(s) {
		if !isASCIILetter(rune(s[i])) && s[i] != '\'' {
			return false
		}
	}
	return true
}

func isWordRune(r rune) bool {
	if r < utf8.RuneSelf {
		return isASCIILetter(r) || isASCIIDigit(r)
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)
}

func isApostrophe(r rune) bool { return r == '\'' || r == '’' || r == 'ʼ' }

// isHardStop reports whether r ends a sentence or clause so firmly that the
// words around it are no neighbours.
func isHardStop(r rune) bool {
	switch r {
	case '.', '!', '?', ';', '。', '！', '？', '；', '…', '｡':
		return true
	}
	return false
}

package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// wrapWidth is the length in bytes from which a line is taken to have been
// wrapped by an editor, so that its end is no sentence end: a shorter line
// without a full stop is a title or a field.
const wrapWidth = 45

// Sentences splits s into sentences. The spans are in order, don't overlap, are
// never empty, and have the white space around them trimmed; what lies between
// them is white space only.
//
// A sentence ends
//   - after . ! ? (with closing quotes and brackets) before white space, unless
//     the point belongs to an abbreviation, an initial, an ellipsis that goes on
//     in lower case, or a number that opens a list item;
//   - after 。！？；… with their closing quotes;
//   - at a blank line, and at the end of a line that is a heading, a table row,
//     code, or too short to have been wrapped; and before a list item, heading,
//     table row or quotation.
func Sentences(s string) []Span {
	out := make([]Span, 0, len(s)/90+1)
	fenced := false
	start := 0 // of the paragraph: lines that were only wrapped
	for at := 0; at < len(s); {
		end := lineEnd(s, at)
		line := strings.TrimSpace(s[at:end])
		next := end + 1
		fence := isFence(line)
		switch {
		case fence || fenced || line == "":
			out = sentencesOf(s, start, at, out)
			out = appendTrimmed(s, at, end, out)
			start = next
			if fence {
				fenced = !fenced
			}
		case ownLine(line) || !wrapped(line, s, next):
			if startsBlock(line) {
				out = sentencesOf(s, start, at, out)
				start = at
			}
			if line[0] == '|' {
				out = appendTrimmed(s, start, end, out)
			} else {
				out = sentencesOf(s, start, end, out)
			}
			start = next
		case startsBlock(line):
			out = sentencesOf(s, start, at, out)
			start = at
		}
		at = next
	}
	return sentencesOf(s, start, len(s), out)
}

func lineEnd(s string, at int) int {
	if n := strings.IndexByte(s[at:], '\n'); n >= 0 {
		return at + n
	}
	return len(s)
}

func isFence(line string) bool {
	return strings.HasPrefix(line, "```") || strings.HasPrefix(line, "~~~")
}

// ownLine reports whether a trimmed line is a heading or table row, whose end
// always ends the sentence.
func ownLine(line string) bool {
	return line[0] == '|' || isHeading(line)
}

func isHeading(line string) bool {
	rest := strings.TrimLeft(line, "#")
	return len(rest) < len(line) && (rest == "" || rest[0] == ' ')
}

// startsBlock reports whether a trimmed line begins something of its own: a list
// item, heading, table row or quotation.
func startsBlock(line string) bool {
	switch line[0] {
	case '|', '>':
		return true
	case '#':
		return isHeading(line)
	case '-', '*', '+':
		return len(line) > 1 && (line[1] == ' ' || line[1] == '\t')
	}
	if strings.HasPrefix(line, "•") || strings.HasPrefix(line, "· ") {
		return true
	}
	return listNumber(line) > 0
}

// listNumber returns the length of a list number at the start of line ("1. ",
// "2) ", "3、"), or 0.
func listNumber(line string) int {
	n := 0
	for n < len(line) && n < 3 && isASCIIDigit(rune(line[n])) {
		n++
	}
	if n == 0 {
		return 0
	}
	rest := line[n:]
	switch {
	case strings.HasPrefix(rest, ". "), strings.HasPrefix(rest, ") "):
		return n + 2
	case strings.HasPrefix(rest, "、"):
		return n + len("、")
	}
	return 0
}

// wrapped reports whether the sentence on a trimmed line goes on in the line
// that starts at next.
func wrapped(line, s string, next int) bool {
	if next >= len(s) {
		return false
	}
	following := strings.TrimLeft(s[next:lineEnd(s, next)], " \t\r")
	if following == "" || startsBlock(following) || isFence(following) {
		return false
	}
	last, _ := utf8.DecodeLastRuneInString(line)
	if strings.ContainsRune(",，、(（-–—", last) {
		return true
	}
	first, _ := utf8.DecodeRuneInString(following)
	return unicode.IsLower(first) || len(line) >= wrapWidth
}

// sentencesOf splits the paragraph s[start:end] and appends its sentences.
func sentencesOf(s string, start, end int, out []Span) []Span {
	end = min(end, len(s))
	if start >= end {
		return out
	}
	from := end - len(strings.TrimLeftFunc(s[start:end], unicode.IsSpace))
	for i := from; i < end; {
		r, size := utf8.DecodeRuneInString(s[i:end])
		i += size
		if !isTerminator(r) {
			continue
		}
		closed := skipClosers(s, i, end)
		ends := false
		if r < utf8.RuneSelf {
			closed = skipFootnotes(s, closed, end)
			ends = narrowEnds(s, from, i, closed, end)
		} else {
			ends = wideEnds(s, r, closed, end)
		}
		i = closed
		if ends {
			out = appendTrimmed(s, from, i, out)
			for i < end && isSpace(s[i]) {
				i++
			}
			from = i
		}
	}
	return appendTrimmed(s, from, end, out)
}

func isTerminator(r rune) bool {
	switch r {
	case '.', '!', '?', '。', '！', '？', '；', '｡', '…':
		return true
	}
	return false
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// wideEnds reports whether the full-width terminator r, closed at j, ends a
// sentence. It does not inside a title 《谁？》, before a comma, or as an ellipsis
// in running text.
func wideEnds(s string, r rune, j, end int) bool {
	if j == end {
		return true
	}
	next, _ := utf8.DecodeRuneInString(s[j:end])
	if strings.ContainsRune("》〉，、,：", next) {
		return false
	}
	return r != '…' || isCJK(next) || unicode.IsSpace(next) || unicode.IsUpper(next)
}

// narrowEnds reports whether the ASCII terminator s[i-1], closed at j, ends the
// sentence that starts at from.
func narrowEnds(s string, from, i, j, end int) bool {
	if j == end {
		return true
	}
	mark := s[i-1]
	next, _ := utf8.DecodeRuneInString(s[j:end])
	if isCJK(next) {
		prev, _ := utf8.DecodeLastRuneInString(s[from : i-1])
		return isCJK(prev) || mark != '.'
	}
	if !unicode.IsSpace(next) {
		return false
	}
	k := j
	for k < end && isSpace(s[k]) {
		k++
	}
	next, _ = utf8.DecodeRuneInString(s[k:end])
	if mark != '.' || j > i && s[i] == '.' { // "Yahoo! is", "well ... perhaps"
		return !unicode.IsLower(next)
	}
	word := lastWord(s[from : i-1])
	return pointEnds(word, s[k:end], i-1-from == len(word))
}

// skipFootnotes skips the footnote marks at j, as in "in 1999.[12]".
func skipFootnotes(s string, j, end int) int {
	for j < end && s[j] == '[' {
		k := j + 1
		for k < end && k-j < 5 && isASCIIDigit(rune(s[k])) {
			k++
		}
		if k == j+1 || k >= end || s[k] != ']' {
			return j
		}
		j = k + 1
	}
	return j
}

// skipClosers skips the terminators, closing quotes and brackets at i.
func skipClosers(s string, i, end int) int {
	for i < end {
		r, size := utf8.DecodeRuneInString(s[i:end])
		if !strings.ContainsRune(".!?。！？…\"'”’」』)）]】*", r) {
			return i
		}
		i += size
	}
	return i
}

// maxAbbreviation is longer than any abbreviation looked up, in bytes.
const maxAbbreviation = 12

// lastWord returns the run of letters, digits and inner points that ends s, or
// its last bytes when it is longer than any abbreviation.
func lastWord(s string) string {
	i := len(s)
	for i > 0 && len(s)-i <= maxAbbreviation {
		c := s[i-1]
		if !isASCIILetter(rune(c)) && !isASCIIDigit(rune(c)) && c != '.' && c < utf8.RuneSelf {
			break
		}
		i--
	}
	return s[i:]
}

// pointEnds reports whether the point after word ends a sentence, given what
// follows it and whether the word is all of the sentence so far.
func pointEnds(word, following string, alone bool) bool {
	if word == "" {
		return true
	}
	if alone && len(word) <= 3 && isDigits(word) { // "1." opens a list item
		return false
	}
	next, _ := utf8.DecodeRuneInString(following)
	if len(word) == 1 && 'A' <= word[0] && word[0] <= 'Z' { // an initial
		return word == "I" && startsSentence(following)
	}
	switch abbreviation(word) {
	case never:
		return false
	case beforeNumber:
		return !unicode.IsDigit(next)
	case perhaps:
		return !unicode.IsLower(next) && !unicode.IsDigit(next) && (startsSentence(following) || !unicode.IsUpper(next))
	}
	return true
}

type ending uint8

const (
	always       ending = iota // an ordinary word
	never                      // a title or connective: something must follow
	beforeNumber               // "No. 5", "Fig. 2", "Jan. 3"
	perhaps                    // may close a sentence too: "etc.", "Inc.", "U.S."
)

func abbreviation(word string) ending {
	switch strings.ToLower(word) {
	case "mr", "mrs", "ms", "dr", "prof", "st", "gen", "col", "lt", "sgt", "capt", "cmdr", "adm", "rev", "hon", "gov", "sen", "rep",
		"pres", "mt", "ft", "vs", "cf", "e.g", "i.e", "eg", "ie", "viz", "approx", "ca", "resp", "messrs":
		return never
	case "no", "nos", "fig", "figs", "eq", "sec", "ch", "vol", "pp", "p", "art", "jan", "feb", "mar", "apr", "jun", "jul", "aug",
		"sep", "sept", "oct", "nov", "dec":
		return beforeNumber
	case "etc", "al", "inc", "ltd", "co", "corp", "bros", "jr", "sr", "est", "dept", "univ", "assn", "ave", "blvd", "esq", "a.m", "p.m":
		return perhaps
	}
	if strings.IndexByte(word, '.') > 0 && len(word) <= 8 && !strings.ContainsAny(word, "0123456789") { // U.S, Ph.D
		return perhaps
	}
	return always
}

// startsSentence reports whether following opens with a capitalised word that is
// rarely a name, as the first word of a sentence often is.
func startsSentence(following string) bool {
	n := 0
	for n < len(following) && n < 12 && isASCIILetter(rune(following[n])) {
		n++
	}
	switch following[:n] {
	case "The", "A", "An", "This", "That", "These", "Those", "It", "He", "She", "They", "We", "You", "In", "On", "At", "By", "For",
		"From", "To", "As", "If", "When", "While", "But", "And", "However", "Although", "After", "Before", "Its", "His", "Her",
		"Their", "There", "Since", "Some", "Many", "Most", "Both", "Each", "Other", "What", "Who", "Why", "How", "See":
		return true
	}
	return false
}

func isDigits(s string) bool {
	for i := range len(s) {
		if !isASCIIDigit(rune(s[i])) {
			return false
		}
	}
	return s != ""
}

// appendTrimmed appends s[start:end] without the white space around it, if
// anything is left.
func appendTrimmed(s string, start, end int, out []Span) []Span {
	end = min(end, len(s))
	if start >= end {
		return out
	}
	part := strings.TrimLeftFunc(s[start:end], unicode.IsSpace)
	start = end - len(part)
	part = strings.TrimRightFunc(part, unicode.IsSpace)
	if part == "" {
		return out
	}
	return append(out, Span{Start: start, End: start + len(part)})
}

// Package text is the language ground that search, evidence checking and the
// built-in extractive model share: tokens, sentences, language and size of a
// text, in English and Chinese alike.
//
// Every function is pure, safe for concurrent use, takes any bytes (invalid
// UTF-8 included) without panicking, and runs in time linear in its input.
// Ranges are half-open byte ranges into exactly the string that was passed in,
// so that a quote can be cut from the original.
package text

import (
	"unicode"
	"unicode/utf8"
)

// Span is a half-open range of bytes, s[Start:End], of the string it was
// computed from. A Span from this package never splits a valid UTF-8 sequence.
type Span struct {
	Start, End int
}

// Languages that Language tells apart.
const (
	Chinese = "zh"
	English = "en" // any text in a script with letters that is not Chinese, Japanese or Korean
	Mixed   = "mixed"
)

// cjkWeight is how many alphabetic letters carry as much text as one CJK
// character: an English word of about five letters translates into one to two
// characters.
const cjkWeight = 3

// Language tells which language s is written in: Chinese when at least half of
// its letters are CJK characters (one counting as much as three alphabetic
// letters), English when at most one fifth are, Mixed in between, and "" when s
// has no letters.
//
// The rule leans: a short Chinese question about "kube-proxy" is Chinese, and an
// English sentence quoting a Chinese name is English.
func Language(s string) string {
	var cjk, other int
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
			if isASCIILetter(r) {
				other++
			}
		case isCJK(r):
			cjk += cjkWeight
		case unicode.IsLetter(r):
			other++
		}
	}
	total := cjk + other
	switch {
	case total == 0:
		return ""
	case cjk*2 >= total:
		return Chinese
	case cjk*5 <= total:
		return English
	default:
		return Mixed
	}
}

// EstimateTokens estimates, on the high side, how many tokens an LLM's
// tokenizer makes of s, without knowing the tokenizer:
//
//	⌈ASCII bytes / 4 + other alphabetic bytes / 2⌉ + CJK characters + other symbols
//
// with one more token for every four digits or ASCII punctuation marks, which
// tokenizers split finer than prose. English prose comes to about four bytes per
// token and Chinese to one token per character; current tokenizers need some 5 %
// less for English and 30 % less for Chinese.
func EstimateTokens(s string) int {
	var quarters, whole int
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			quarters++
			if c > ' ' && !isASCIILetter(rune(c)) {
				quarters++
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if unicode.IsLetter(r) && !isCJK(r) {
			quarters += 2 * size
		} else {
			whole++
		}
		i += size
	}
	return whole + (quarters+3)/4
}

// isCJK reports whether r is written without spaces between words, so that
// single characters and pairs of them are the units of search: Han, Hiragana,
// Katakana and Hangul.
func isCJK(r rune) bool {
	switch {
	case r < 0x1100:
		return false
	case r >= 0x4E00 && r <= 0x9FFF, r >= 0x3400 && r <= 0x4DBF, r >= 0x20000 && r <= 0x323AF: // Han
		return true
	case r >= 0x3041 && r <= 0x30FF: // Hiragana, Katakana
		return r != 0x30FB && r != 0x30A0 // their middle dot and double hyphen are punctuation
	case r >= 0xAC00 && r <= 0xD7A3, r >= 0x1100 && r <= 0x11FF: // Hangul
		return true
	case r >= 0xF900 && r <= 0xFAFF: // compatibility ideographs
		return true
	case r >= 0xFF66 && r <= 0xFF9F, r >= 0x31F0 && r <= 0x31FF: // half-width and extended Katakana
		return true
	case r == '々', r == '〇', r == '〻':
		return true
	default:
		return false
	}
}

func isASCIILetter(r rune) bool {
	r |= 0x20
	return 'a' <= r && r <= 'z'
}

func isASCIIDigit(r rune) bool { return '0' <= r && r <= '9' }

package token

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// bertText is BERT's cleaning of a text, in its order.
func bertText(clean, chinese, accents, lower bool) []normalizer {
	var out []normalizer
	if clean {
		out = append(out, cleaned)
	}
	if chinese {
		out = append(out, spaced)
	}
	if accents {
		out = append(out, norm.NFD.String, withoutAccents)
	}
	if lower {
		out = append(out, lowered)
	}
	return out
}

// cleaned drops control characters and makes every white space a space.
func cleaned(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == 0 || r == unicode.ReplacementChar || other(r):
			return -1
		case space(r):
			return ' '
		default:
			return r
		}
	}, s)
}

// other says whether r is a control, format or private use character.
func other(r rune) bool {
	return r < ' ' || r > '~' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co)
}

// spaced puts spaces around every Chinese character.
func spaced(s string) string {
	if !strings.ContainsFunc(s, chinese) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) * 5 / 3)
	for _, r := range s {
		if chinese(r) {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// chinese has the ranges of BERT's tokenizer, gaps included.
func chinese(r rune) bool {
	switch {
	case r < 0x3400:
		return false
	case r <= 0x4DBF, r >= 0x4E00 && r <= 0x9FFF, r >= 0xF900 && r <= 0xFAFF,
		r >= 0x20000 && r <= 0x2A6DF, r >= 0x2A700 && r <= 0x2B73F, r >= 0x2B740 && r <= 0x2B81F, r >= 0x2B920 && r <= 0x2CEAF,
		r >= 0x2F800 && r <= 0x2FA1F:
		return true
	default:
		return false
	}
}

func withoutAccents(s string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII && unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, s)
}

// lowered makes each character lower case by itself, whatever stands around it.
func lowered(s string) string {
	if !strings.ContainsRune(s, 'İ') {
		return strings.Map(unicode.ToLower, s)
	}
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r == 'İ' {
			return r
		}
		return unicode.ToLower(r)
	}, s), "İ", "i̇")
}

// trimmed drops white space at the ends that are asked for.
func trimmed(left, right bool) normalizer {
	return func(s string) string {
		if left {
			s = strings.TrimLeftFunc(s, unicode.IsSpace)
		}
		if right {
			s = strings.TrimRightFunc(s, unicode.IsSpace)
		}
		return s
	}
}

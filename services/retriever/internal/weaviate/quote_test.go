package weaviate

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestQuote(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"pod":                   `"pod"`,
		`a"){meta{count}} x:B(`: `"a\"){meta{count}} x:B("`,
		`back\slash`:            `"back\\slash"`,
		"\x00\a\v\n\x7f":        `"\u0000\u0007\u000B\u000A\u007F"`,
		"节点":                    `"节点"`,
		"\xff\xfe":              `"\uFFFD\uFFFD"`,
		"𝒳\U000E0001":           "\"𝒳\U000E0001\"",
		"\u2028\u0085\ufeff":    `"\u2028\u0085\uFEFF"`,
	} {
		if got := quote(s); got != want {
			t.Errorf("quote(%q) = %s, want %s", s, got, want)
		}
	}
}

// FuzzQuote holds quote to the lexer of GraphQL's specification: one string, nothing after it, that says what was quoted.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "pod", `"`, `\`, `\"`, "\x00", "\xff", "节点", "\U000E0001", `"}}}{Get{`, "\u2028", `\u0041`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := unquote(quote(s))
		if want := clean(s); !ok || clean(got) != want {
			t.Errorf("quote(%q) = %s, which is %q (%t)", s, quote(s), got, ok)
		}
	})
}

// clean is s without what is not UTF-8, and without what stands for that.
func clean(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\uFFFD", "") }

// unquote reads a string as the specification says, and reports whether it is one.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || !utf8.ValidString(s) {
		return "", false
	}
	var out strings.Builder
	for i := 1; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"':
			return out.String(), i == len(s)-1
		case r < 0x20:
			return "", false
		case r != '\\':
			out.WriteRune(r)
			i += size
		case i+1 < len(s) && strings.IndexByte(`"\`, s[i+1]) >= 0:
			out.WriteByte(s[i+1])
			i += 2
		case i+5 < len(s) && s[i+1] == 'u':
			n, err := strconv.ParseUint(s[i+2:i+6], 16, 32)
			if err != nil {
				return "", false
			}
			out.WriteRune(rune(n))
			i += 6
		default:
			return "", false
		}
	}
	return "", false
}

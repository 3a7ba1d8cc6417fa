package token

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// bertWords cuts at white space, and around each punctuation mark.
func bertWords(pieces []string) []string {
	var out []string
	for _, p := range pieces {
		from := 0
		end := func(at int) {
			if at > from {
				out = append(out, p[from:at])
			}
		}
		for i, r := range p {
			switch {
			case space(r):
				end(i)
				from = i + utf8.RuneLen(r)
			case punctuation(r):
				end(i)
				from = i + utf8.RuneLen(r)
				out = append(out, p[i:from])
			}
		}
		end(len(p))
	}
	return out
}

// words cuts at white space.
func words(pieces []string) []string {
	var out []string
	for _, p := range pieces {
		out = append(out, strings.FieldsFunc(p, space)...)
	}
	return out
}

// punctuated cuts around each punctuation mark.
func punctuated(pieces []string) []string {
	var out []string
	for _, p := range pieces {
		from := 0
		for i, r := range p {
			if !punctuation(r) {
				continue
			}
			if i > from {
				out = append(out, p[from:i])
			}
			from = i + utf8.RuneLen(r)
			out = append(out, p[i:from])
		}
		if from < len(p) {
			out = append(out, p[from:])
		}
	}
	return out
}

// space is Unicode's White_Space.
func space(r rune) bool { return unicode.Is(unicode.White_Space, r) }

func punctuation(r rune) bool {
	if r <= unicode.MaxASCII {
		return r > ' ' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
	}
	return unicode.IsPunct(r)
}

// When a metaspace puts its mark before a text.
const (
	prependAlways = "always"
	prependFirst  = "first"
	prependNever  = "never"
)

// metaspace writes a mark for every space, one before a piece that has none, and cuts before each mark.
func metaspace(mark, prepend string, split bool) splitter {
	return func(pieces []string) []string {
		var out []string
		for i, p := range pieces {
			p = strings.ReplaceAll(p, " ", mark)
			if (prepend == prependAlways || prepend == prependFirst && i == 0) && p != "" && !strings.HasPrefix(p, mark) {
				p = mark + p
			}
			if !split {
				out = append(out, p)
				continue
			}
			for p != "" {
				_, first := utf8.DecodeRuneInString(p)
				if strings.HasPrefix(p, mark) {
					first = len(mark)
				}
				next := strings.Index(p[first:], mark)
				if next < 0 {
					out = append(out, p)
					break
				}
				out = append(out, p[:first+next])
				p = p[first+next:]
			}
		}
		return out
	}
}

package extractive

import (
	"regexp"
	"strings"
)

// What marks code in Markdown, and in text that lost its fences.
var (
	fence     = regexp.MustCompile("(?:^|\\s)(?:```|~~~)[\\w+-]*\\s*$")
	fenceLine = regexp.MustCompile("(?m)^[ \\t]*(?:```|~~~)")
	keyLine   = regexp.MustCompile(`^\s*(?:- )?["']?[\w./-]+["']?\s*[:=](?:\s|$)|[{};\\]$`)
)

// inCode says whether the byte at stands inside a fenced block of code.
func inCode(body string, at int) bool { return len(fenceLine.FindAllStringIndex(body[:at], -1))%2 == 1 }

// looksLikeCode finds code whose fences are in another passage: several lines, most of them keys with values or statements.
func looksLikeCode(s string) bool {
	lines, code := 0, 0
	for l := range strings.Lines(s) {
		if l = strings.TrimRight(l, " \t\r\n"); l == "" {
			continue
		}
		if lines++; keyLine.MatchString(l) {
			code++
		}
	}
	return lines >= 4 && code*2 > lines
}

// fenced makes a block of code of s, cut to the bound by whole lines. What would read as citations can't be told as it is.
func fenced(s string) string {
	var b strings.Builder
	b.WriteString("```\n")
	lines := 0
	for l := range strings.Lines(s) {
		if fenceLine.MatchString(l) {
			continue
		}
		if lines++; lines > maxCodeLines || b.Len()+len(l) > maxCodeBytes {
			b.WriteString("…\n")
			break
		}
		b.WriteString(withoutMarkers(strings.TrimRight(l, " \t\r\n")) + "\n")
	}
	b.WriteString("```")
	return b.String()
}

// withoutFence cuts the line that opens a block of code off the end of s.
func withoutFence(s string) string {
	if at := fence.FindStringIndex(s); at != nil {
		return s[:at[0]]
	}
	return s
}

// How much code is told.
const (
	maxCodeLines = 15
	maxCodeBytes = 800
)

// codeBelow returns the fenced block of code that begins behind at, where only blank lines lie between. A block that is long,
// or that has what would read as citations, is left out: it can't be cut or changed.
func codeBelow(body string, at int) (code string, end int, ok bool) {
	open := at + len(body[at:]) - len(strings.TrimLeft(body[at:], " \t\r\n"))
	mark := ""
	for _, m := range []string{"```", "~~~"} {
		if strings.HasPrefix(body[open:], m) {
			mark = m
		}
	}
	if mark == "" {
		return "", at, false
	}
	closing := strings.Index(body[open+len(mark):], "\n"+mark)
	if closing < 0 {
		return "", at, false
	}
	end = open + len(mark) + closing + 1 + len(mark)
	code = body[open:end]
	if len(code) > maxCodeBytes || strings.Count(code, "\n") > maxCodeLines || marker.MatchString(code) {
		return "", at, false
	}
	return code, end, true
}

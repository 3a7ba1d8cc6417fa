package extractive

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/text"
)

// What surrounds a sentence in Markdown and does not belong into an answer.
var (
	itemMark = regexp.MustCompile(`^\s*(?:[-*+•·]|\d{1,3}[.)、]|[（(]\d{1,3}[)）]|[a-z][.)])\s+`)
	cjkMark  = regexp.MustCompile(`^\s*\d{1,3}[.、）)]`)
	lineMark = regexp.MustCompile(`^\s*(?:#{1,6}\s+|>\s?)+`)
	heading  = regexp.MustCompile(`^\s*#{1,6}\s`)
	marker   = regexp.MustCompile(`\[(\d{1,3})\]`)
)

// isHeading says whether s is nothing but a heading.
func isHeading(s string) bool {
	return heading.MatchString(s) && !strings.Contains(strings.TrimSpace(s), "\n")
}

// under returns the first sentence, or the first item of a list, below a heading that ends at the given byte; an empty range
// when another heading or nothing follows.
func under(body string, at int) (start, end int) {
	spans := text.Sentences(body[at:])
	if len(spans) == 0 || isHeading(body[at+spans[0].Start:at+spans[0].End]) {
		return at, at
	}
	return at + spans[0].Start, at + spans[0].End
}

// isItem says whether s is an item of a list.
func isItem(s string) bool { return itemMark.MatchString(s) || cjkMark.MatchString(s) }

// opensList says whether s announces what follows it.
func opensList(s string) bool {
	s = strings.TrimRight(s, " \t\r\n*_")
	return strings.HasSuffix(s, ":") || strings.HasSuffix(s, "：")
}

// splitItems cuts s, which may be a list with what introduces it, before each item.
func splitItems(s string) []string {
	var parts []string
	start := 0
	for at := 0; at < len(s); {
		next := len(s)
		if i := strings.IndexByte(s[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		if at > start && isItem(s[at:next]) {
			parts, start = append(parts, s[start:at]), at
		}
		at = next
	}
	return append(parts, s[start:])
}

// unmark takes off the mark that makes s an item, a heading or a quotation, and the bars that make it a row of a table.
func unmark(s string) string {
	s = lineMark.ReplaceAllString(s, "")
	if row := strings.TrimSpace(s); len(row) > 2 && strings.HasPrefix(row, "| ") && strings.HasSuffix(row, " |") {
		separator := "; "
		if text.Language(row) == text.Chinese {
			separator = "；"
		}
		return strings.ReplaceAll(row[2:len(row)-2], " | ", separator)
	}
	if at := itemMark.FindString(s); at != "" {
		return s[len(at):]
	}
	return s[len(cjkMark.FindString(s)):]
}

// separators stand behind items and clauses, and before what follows them there.
const separators = "；;，,、 "

// oneLine makes one line of text that was wrapped, and keeps its numbers in brackets from reading as citations.
func oneLine(s string) string {
	var b strings.Builder
	for _, word := range strings.Fields(lineMark.ReplaceAllString(s, "")) {
		if b.Len() > 0 && !(endsWide(b.String()) && startsWide(word)) {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	return strings.TrimRight(withoutMarkers(b.String()), separators)
}

// endsWide and startsWide find the line breaks of Chinese text, which stand for no space.
func endsWide(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return wide(r)
}

func startsWide(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return wide(r)
}

func wide(r rune) bool {
	return unicode.Is(unicode.Han, r) || (r >= 0x3000 && r <= 0x30ff) || (r >= 0xff00 && r <= 0xffef)
}

// withoutMarkers drops footnote numbers behind punctuation and widens the brackets of other numbers ("a[1]"): both would
// count as citations of our own.
func withoutMarkers(s string) string {
	found := marker.FindAllStringSubmatchIndex(s, -1)
	if len(found) == 0 {
		return s
	}
	var b strings.Builder
	at := 0
	for _, m := range found {
		b.WriteString(s[at:m[0]])
		before, _ := utf8.DecodeLastRuneInString(s[:m[0]])
		if !unicode.IsPunct(before) {
			b.WriteString("［" + s[m[2]:m[3]] + "］")
		}
		at = m[1]
	}
	b.WriteString(s[at:])
	return b.String()
}

// introduction returns the line that announces the list with an item at start, if it stands right above the list.
func introduction(body string, start int) (string, bool) {
	above := strings.TrimRight(body[:lineStart(body, start)], "\n")
	for n := 0; n < maxItems; n++ {
		at := lineStart(above, len(above))
		l := above[at:]
		switch {
		case strings.TrimSpace(l) == "" && at == 0:
			return "", false
		case strings.TrimSpace(l) == "", isItem(l), strings.HasPrefix(l, "  "):
		case opensList(l):
			spans := text.Sentences(l)
			if len(spans) == 0 {
				return "", false
			}
			last := spans[len(spans)-1]
			return l[last.Start:last.End], true
		default:
			return "", false
		}
		above = strings.TrimRight(above[:at], "\n")
	}
	return "", false
}

// nextItem returns the list item that begins behind at, where only blank lines lie between, with the indented lines that
// belong to it.
func nextItem(body string, at int) (item string, end int, ok bool) {
	for at < len(body) {
		end = lineEnd(body, at)
		if l := body[at:end]; strings.TrimSpace(l) == "" {
			at = end + 1
			continue
		} else if !isItem(l) {
			return "", 0, false
		}
		for end < len(body) {
			until := lineEnd(body, end+1)
			if l := body[end+1 : until]; !strings.HasPrefix(l, "  ") || strings.TrimSpace(l) == "" || isItem(l) {
				break
			}
			end = until
		}
		return body[at:end], end, true
	}
	return "", 0, false
}

// lineEnd returns where the line that holds at ends, without its break.
func lineEnd(s string, at int) int {
	if i := strings.IndexByte(s[at:], '\n'); i >= 0 {
		return at + i
	}
	return len(s)
}

func lineStart(s string, at int) int { return strings.LastIndexByte(s[:at], '\n') + 1 }

// clip cuts s to at most limit bytes, between characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

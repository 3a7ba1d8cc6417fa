package export

import (
	"strings"
	"unicode"
)

// literal returns text on one line that Markdown shows letter for letter.
func literal(text string) string { return escape(strings.Join(strings.Fields(clean(text)), " ")) }

// escape takes the meaning from every character of a line that has one in Markdown or HTML.
func escape(line string) string {
	var b strings.Builder
	for _, r := range line {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune("\\`*_[]#|>~!", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	out := b.String()
	// Only at the start of a line: "1." begins a list, "-" a list or a heading, "=" a heading.
	rest := strings.TrimLeft(out, "0123456789")
	if len(rest) < len(out) && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, ")")) {
		return out[:len(out)-len(rest)] + "\\" + rest
	}
	if out != "" && strings.ContainsRune("-+=", rune(out[0])) {
		return "\\" + out
	}
	return out
}

// paragraphs returns the lines of a text, each letter for letter and on a line of its own.
func paragraphs(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(clean(text)), "\n") {
		lines = append(lines, escape(strings.TrimSpace(line)))
	}
	for i := range len(lines) - 1 {
		if lines[i] != "" && lines[i+1] != "" {
			lines[i] += "\\" // the line ends here
		}
	}
	return lines
}

// quoted returns lines as a quotation, which ends whatever they begin.
func quoted(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimRight("> "+line, " ") + "\n")
	}
	b.WriteByte('\n')
	return b.String()
}

// answerLines returns the lines of an answer with its Markdown, but without HTML, links, images and references, and with every
// block of code between fences of ours.
func answerLines(answer string) []string {
	var lines, block []string
	fence := ""
	end := func() {
		mark := strings.Repeat("`", max(3, longest(block)+1))
		lines = append(lines, mark)
		lines = append(append(lines, block...), mark)
		block, fence = nil, ""
	}
	for line := range strings.SplitSeq(clean(answer), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence == "" && (strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~")):
			fence = trimmed[:3]
			block = []string{}
		case fence != "" && strings.HasPrefix(trimmed, fence) && strings.Trim(trimmed, fence[:1]) == "":
			end()
		case fence != "":
			block = append(block, strings.TrimRightFunc(line, unicode.IsSpace))
		default:
			lines = append(lines, tame(line))
		}
	}
	if fence != "" {
		end()
	}
	return lines
}

// longest returns the longest run of backticks.
func longest(lines []string) int {
	most, run := 0, 0
	for _, r := range strings.Join(lines, "\n") {
		if run++; r != '`' {
			run = 0
		}
		most = max(most, run)
	}
	return most
}

// tame leaves emphasis, lists and code in a line. Code is what stands between equal runs of backticks on the line; a run that
// has no other is none.
func tame(line string) string {
	var b strings.Builder
	for line != "" {
		i := strings.IndexByte(line, '`')
		if i < 0 {
			break
		}
		b.WriteString(tameText(line[:i]))
		run := len(line[i:]) - len(strings.TrimLeft(line[i:], "`"))
		inner := line[i+run:]
		n := closes(inner, run)
		if n < 0 {
			b.WriteString(strings.Repeat("\\`", run))
			line = inner
			continue
		}
		b.WriteString(code(strings.TrimSpace(inner[:n])))
		line = inner[n+run:]
	}
	b.WriteString(tameText(line))
	return strings.TrimRightFunc(b.String(), unicode.IsSpace)
}

// closes finds the run of exactly n backticks.
func closes(s string, n int) int {
	for at := 0; at < len(s); {
		i := strings.IndexByte(s[at:], '`')
		if i < 0 {
			return -1
		}
		at += i
		run := len(s[at:]) - len(strings.TrimLeft(s[at:], "`"))
		if run == n {
			return at
		}
		at += run
	}
	return -1
}

var tamer = strings.NewReplacer("\\", "\\\\", "<", "&lt;", "&", "&amp;", "[", "\\[", "]", "\\]")

func tameText(s string) string { return tamer.Replace(s) }

// code returns text as code on one line.
func code(text string) string {
	text = strings.Join(strings.Fields(clean(text)), " ")
	if text == "" {
		return "-"
	}
	mark := strings.Repeat("`", longest([]string{text})+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return mark + text + mark
}

// clean drops what a terminal would obey and what turns the direction of writing; line ends become \n.
func clean(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n").Replace(strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		default:
			return r
		}
	}, text)
}

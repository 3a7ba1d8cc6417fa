package prompt

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// neutralise makes text unable to pose as the prompt around it. A bracket that opens something like our delimiters, or like
// the control tokens chat templates use (<|im_start|>, <｜User｜>, [INST], <<SYS>>), becomes another character that reads the
// same; characters nobody sees, which could hide one, are dropped. All other text stays as it is.
func neutralise(s string) string {
	kept := harmless(s)
	if kept == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:kept])
	s = s[kept:]
	for i, r := range s {
		switch {
		case invisible(r):
		case (r == '<' || r == '＜') && opensTag(follows(s[i:], r)):
			b.WriteRune('‹')
		case r == '[' && opensInstruction(follows(s[i:], r)):
			b.WriteRune('⟦')
		case r == unicode.ReplacementChar:
			b.WriteRune(r) // also what range makes of invalid bytes
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// harmless returns how much of the beginning of s is plain ASCII without a bracket, which stays as it is.
func harmless(s string) int {
	for i := range len(s) {
		if c := s[i]; c == '<' || c == '[' || (c < ' ' || c > '~') && c != '\n' && c != '\t' {
			return i
		}
	}
	return len(s)
}

// invisible says whether r has no shape and no meaning in plain text. Joiners stay: scripts and emoji need them.
func invisible(r rune) bool {
	switch {
	case r >= ' ' && r <= '~', r == '\n' || r == '\t' || r == '\u200c' || r == '\u200d':
		return false
	default:
		return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)
	}
}

// lookAhead is how far a delimiter is looked for behind a bracket, in bytes; it bounds the work per bracket.
const lookAhead = 64

// follows returns what comes after a bracket in lower case, leaving out spaces, slashes and what is invisible.
func follows(s string, bracket rune) string {
	s = s[utf8.RuneLen(bracket):]
	var b strings.Builder
	for _, r := range s[:min(len(s), lookAhead)] {
		if unicode.IsSpace(r) || r == '/' || r == '／' || invisible(r) {
			continue
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// opensTag looks at what follows an opening angle bracket.
func opensTag(rest string) bool {
	for _, p := range []string{"source", "instructions", "|", "｜", "<sys", "s>"} {
		if strings.HasPrefix(rest, p) {
			return true
		}
	}
	return false
}

// opensInstruction looks at what follows an opening square bracket.
func opensInstruction(rest string) bool { return strings.HasPrefix(rest, "inst]") }

// unquotable is what would end an attribute, or begin a delimiter, and what stands for it.
var unquotable = strings.NewReplacer(`"`, "'", "<", "‹", ">", "›", "＜", "‹", "＞", "›")

// maxAttribute bounds a title in a delimiter.
const maxAttribute = 200

// attribute makes s safe between quotes in a delimiter.
func attribute(s string) string {
	s = strings.Join(strings.Fields(neutralise(s)), " ")
	s = unquotable.Replace(s)
	if r := []rune(s); len(r) > maxAttribute {
		s = string(r[:maxAttribute])
	}
	return s
}

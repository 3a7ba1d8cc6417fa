// Package title makes a conversation's title from its first question: one line, without the greeting and the politeness before
// the question, short enough for a list, in English and Chinese.
package title

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

const (
	// columns is how wide a title is at most, where a Chinese character takes two.
	columns = 60
	// maxRead bounds what is looked at of a question, in bytes.
	maxRead = 2 << 10
)

// Of returns the title of a question, at most 200 bytes and 60 columns wide. What is nothing but a greeting is its own title.
func Of(question string) string {
	if len(question) > maxRead {
		question = question[:maxRead]
	}
	s := oneLine(question)
	bare := s
	for range 4 { // "Hi! Sorry to bother you, could you please tell me ..."
		next := opening.ReplaceAllString(bare, "")
		next = strings.TrimLeftFunc(next, func(r rune) bool {
			return unicode.IsSpace(r) || strings.ContainsRune(",.!;:~…-，。！；：～、—", r)
		})
		if next == bare {
			break
		}
		bare = next
	}
	bare = closing.ReplaceAllString(bare, "$1")
	if letters(bare) < 2 {
		bare = s
	}
	return cut(capital(bare))
}

// Given returns a title that somebody gave: one line of at most 200 bytes.
func Given(name string) string {
	name = oneLine(name)
	if len(name) <= maxBytes {
		return name
	}
	n := maxBytes - len("…")
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return strings.TrimSpace(name[:n]) + "…"
}

// opening is what people say before they ask. Words end where words end, so that "history" is no "hi".
var opening = regexp.MustCompile(`(?i)^(?:` + strings.Join([]string{
	`(?:hi|hello|hey|hiya|howdy|greetings|dear (?:all|team|assistant|sir or madam)|good (?:morning|afternoon|evening|day))(?: (?:there|all|everyone|team|assistant|ragmesh))?\b[,.!:;~ -]*`,
	`(?:excuse me|sorry to bother you|thanks in advance|quick question|one more question|i have a (?:quick )?question)\b[,.!:;~ -]*`,
	`(?:please,? )?(?:can|could|would|will) (?:you|u|someone|anybody|anyone)(?: please| kindly)? (?:please )?(?:tell|show|explain to|help)(?: me)?(?: to understand| understand)?\b(?: about)?[, ]*`,
	`(?:can|could|may) i (?:please )?(?:ask|know)(?: you)?\b[,: ]*`,
	`(?:please|kindly|pls)(?: tell me| explain| let me know)?\b(?: about)?[,: ]*`,
	`(?:i (?:just )?(?:want|wanted|need|would like|'d like)|i'd like) to (?:know|ask|find out)(?: about)?\b[,: ]*`,
	`(?:i am|i'm|i was) wondering\b(?: if you (?:can|could) tell me)?[,: ]*`,
	`(?:do you know|tell me)\b(?: about)?[,: ]*`,
	`(?:你好|您好|你们好|大家好|嗨|哈喽|哈罗|早上好|上午好|中午好|下午好|晚上好|打扰一下|打扰了|不好意思|抱歉|劳驾)[啊呀呢哈]?`,
	`(?:请问一下|请问|想请问一下|想请问|我想请问|请教一下|请教|我想请教一下|我想请教|想请教一下|我想问一下|我想问问|我想问|想问一下|想问问|想问|问一下|我想知道|我想了解一下|我想了解|想了解一下)`,
	`(?:麻烦(?:你|您)?|请(?:你|您)?|能不能|能否|可以|可不可以)(?:帮我|给我)?(?:告诉我|说一下|讲一下|解释一下|介绍一下|查一下|说说|讲讲)`,
}, "|") + `)`)

// closing is what people say after it.
var closing = regexp.MustCompile(`(?i)([?？.。!！])?[,，\s]*(?:thanks(?: in advance| a lot)?|thank you(?: very much| so much)?|thx|please|谢谢(?:你|您|啦|了)?|多谢|非常感谢|感谢)[.!。！~～\s]*$`)

func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r): // among them what turns the direction of writing
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}

func letters(s string) int {
	n := 0
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

// capital writes the first word as a sentence begins, unless it has its own way: "iPhone", "kubectl get".
func capital(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	word, _, _ := strings.Cut(s, " ")
	if !unicode.IsLower(first) || !starters[strings.TrimRight(word, ",?!.'s")] && !starters[word] {
		return s
	}
	return string(unicode.ToUpper(first)) + s[size:]
}

// starters are the words that questions begin with once what was before is gone.
var starters = map[string]bool{
	"what": true, "when": true, "where": true, "who": true, "whom": true, "whose": true, "which": true, "why": true, "how": true, "is": true, "are": true,
	"was": true, "were": true, "do": true, "does": true, "did": true, "can": true, "could": true, "will": true, "would": true, "should": true, "may": true,
	"must": true, "have": true, "has": true, "if": true, "whether": true, "the": true, "a": true, "an": true, "my": true, "our": true, "your": true, "about": true,
}

func columnsOf(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	if unicode.Is(unicode.Mn, r) {
		return 0
	}
	return 1
}

// cut shortens s to the width, after a whole word, and says so with "…". A word that alone is too long is cut anywhere.
func cut(s string) string {
	taken, fits, word := 0, 0, 0 // columns so far; bytes that fit beside the mark; bytes up to the last whole word of those
	var before rune
	for i, r := range s {
		if taken < columns { // room for the mark after what is before r
			fits = i
			if boundary(before, r) {
				word = i
			}
		}
		taken += columnsOf(r)
		before = r
	}
	if taken <= columns && len(s) <= maxBytes {
		return s
	}
	fits = min(fits, maxBytes-len("…"))
	for fits > 0 && !utf8.RuneStart(s[fits]) {
		fits--
	}
	if word > fits/2 && word <= fits {
		fits = word
	}
	return strings.TrimRightFunc(s[:fits], func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsPunct(r) && !strings.ContainsRune(")）]】」』”\"'", r)
	}) + "…"
}

// maxBytes is the contract's bound: characters of four bytes would else go above it.
const maxBytes = 200

// boundary says whether a text may be cut between two characters: not within a word or number of letters and digits, but between
// Chinese characters anywhere.
func boundary(a, b rune) bool {
	joined := func(r rune) bool {
		return (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r) || strings.ContainsRune("-_./'’", r)) && columnsOf(r) < 2
	}
	return !(joined(a) && joined(b)) && !strings.ContainsRune("，。、；：？！）」』”》,.;:?!)", b)
}

package extractive

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

// How much an answer tells.
const (
	maxSentences = 3
	maxBytes     = 1200
	maxItems     = 8
	// closeEnough is the share of the best sentence's belief that a further one needs. The answer is in the first sentence
	// three times in four and in the first two five times in six (libs/evidence, TestMeasure), so a second one is worth its place.
	closeEnough = 0.15
)

// answer is what is told: pieces that make the whole when put together.
type answer struct {
	sentences []string
	abstained bool
}

// compose answers r from tool results first, because they were called for this question, then from passages.
func compose(r ask.Request) answer {
	language := r.AnswerLanguage()
	var passages, results []ask.Source
	for _, s := range r.Sources {
		switch {
		case s.Tool == nil:
			passages = append(passages, s)
		default:
			results = append(results, s)
		}
	}
	var lines []line
	for _, s := range results {
		if s.Tool.Failure == "" && strings.TrimSpace(s.Text) != "" {
			lines = append(lines, result(r.Question, s))
		}
	}
	quotes, missing := quote(r.Question, language, passages)
	lines = append(lines, quotes...)
	if len(lines) == 0 {
		return answer{sentences: []string{abstain(language, missing, results)}, abstained: true}
	}
	return answer{sentences: write(lines, language)}
}

// line is one statement of an answer.
type line struct {
	text   string
	number int
	// list says that it is an item, or opens a list: it gets a line of its own.
	list bool
	// block says that it is a block of code, told as it stands.
	block bool
	// dangling says that it announces what could not be told.
	dangling bool
}

// maxResult bounds what is told of one tool result.
const maxResult = 600

// result states a tool's result. One that is long is cut to the sentences that answer, else to its beginning.
func result(question string, s ask.Source) line {
	whole := oneLine(s.Text)
	if len(whole) <= maxResult {
		return line{text: whole, number: s.Number}
	}
	v := evidence.Judge(question, []evidence.Passage{{Text: s.Text}})
	if len(v.Sentences) > 0 {
		if best := oneLine(v.Sentences[0].Text); len(best) <= maxResult {
			return line{text: best, number: s.Number}
		}
	}
	return line{text: clip(whole, maxResult) + " …", number: s.Number}
}

// quote chooses the passages' sentences that answer. Passages in the language of the answer come first; the others are asked
// when those have nothing.
func quote(question, language string, passages []ask.Source) (lines []line, missing []string) {
	var own []ask.Source
	for _, p := range passages {
		if speaks(p.Text, language) {
			own = append(own, p)
		}
	}
	groups := [][]ask.Source{own, passages}
	if len(own) == 0 || len(own) == len(passages) {
		groups = [][]ask.Source{passages}
	}
	for _, group := range groups {
		verdict := evidence.Judge(question, judged(group))
		missing = verdict.Missing
		if verdict.Answerable && len(verdict.Sentences) > 0 {
			return arrange(choose(verdict.Sentences, group, language), group), nil
		}
	}
	return nil, missing
}

func judged(sources []ask.Source) []evidence.Passage {
	out := make([]evidence.Passage, len(sources))
	for i, s := range sources {
		out[i] = evidence.Passage{Title: s.Title, Headings: s.Headings, Text: s.Text, Score: s.Score}
	}
	return out
}

// speaks says whether s can be part of an answer in language. Chinese text about English things is often mixed.
func speaks(s, language string) bool {
	l := text.Language(s)
	return l == language || l == "" || l == text.Mixed && language == ask.Chinese
}

// candidates are the sentences that can be told. A heading answers nothing itself: what stands under it takes its place.
// Sentences in another language than the answer's are for when there are none in it, and code, which seldom explains itself,
// for when there is no prose at all.
func candidates(ranked []evidence.Sentence, sources []ask.Source, language string) []evidence.Sentence {
	var own, foreign, code []evidence.Sentence
	for _, s := range ranked {
		body := sources[s.Passage].Text
		if isHeading(s.Text) {
			if s.Start, s.End = under(body, s.End); s.Start == s.End {
				continue
			}
			s.Text = body[s.Start:s.End]
		}
		switch {
		case inCode(body, s.Start) || looksLikeCode(s.Text):
			code = append(code, s)
		case speaks(s.Text, language):
			own = append(own, s)
		default:
			foreign = append(foreign, s)
		}
	}
	for _, group := range [][]evidence.Sentence{own, foreign} {
		if len(group) > 0 {
			return group
		}
	}
	return code
}

// choose keeps the best sentences, within the answer's bounds and without telling anything twice.
func choose(ranked []evidence.Sentence, sources []ask.Source, language string) []evidence.Sentence {
	var out []evidence.Sentence
	told := make(map[string]bool)
	used := 0
	for _, s := range candidates(ranked, sources, language) {
		key := strings.ToLower(oneLine(unmark(s.Text)))
		if len(out) > 0 && (s.Score < closeEnough*out[0].Score || used+len(s.Text) > maxBytes || told[key]) {
			continue
		}
		told[key], used = true, used+len(s.Text)
		if out = append(out, s); len(out) == maxSentences {
			break
		}
	}
	return out
}

// arrange puts sentences in the order of the best document first, and within a document as they stand there.
func arrange(chosen []evidence.Sentence, sources []ask.Source) []line {
	rank := make(map[string]int) // of each document, by its best sentence
	document := func(s evidence.Sentence) string {
		if d := sources[s.Passage].Document; d != "" {
			return d
		}
		return "#" + strconv.Itoa(s.Passage)
	}
	for i, s := range chosen {
		if _, ok := rank[document(s)]; !ok {
			rank[document(s)] = i
		}
	}
	slices.SortStableFunc(chosen, func(a, b evidence.Sentence) int {
		return cmp.Or(
			cmp.Compare(rank[document(a)], rank[document(b)]),
			cmp.Compare(sources[a.Passage].Offset+a.Start, sources[b.Passage].Offset+b.Start),
		)
	})
	var lines []line
	end := make(map[int]int) // per passage: how far it has been told
	for _, s := range chosen {
		if s.Start < end[s.Passage] {
			continue // told already, as an item of its list
		}
		told, until := unfold(sources[s.Passage], s)
		lines, end[s.Passage] = append(lines, told...), until
	}
	if whole := slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.dangling }); len(whole) > 0 {
		return whole
	}
	return lines
}

// unfold makes lines of a sentence: one that introduces a list or a block of code takes it along, an item its introduction.
func unfold(source ask.Source, s evidence.Sentence) (lines []line, end int) {
	body, end := source.Text, s.End
	add := func(part string, list bool) {
		if told := oneLine(unmark(part)); told != "" && len(lines) <= maxItems {
			lines = append(lines, line{text: told, number: source.Number, list: list})
		}
	}
	if inCode(body, s.Start) || looksLikeCode(s.Text) {
		return []line{{text: fenced(body[lineStart(body, s.Start):s.End]), number: source.Number, block: true}}, end
	}
	item := isItem(body[lineStart(body, s.Start):s.End])
	if intro, ok := introduction(body, s.Start); ok && item {
		add(intro, true)
	}
	parts := splitItems(withoutFence(s.Text))
	for i, p := range parts {
		add(p, item || isItem(p) || opensList(p) || i+1 < len(parts))
	}
	if !opensList(parts[len(parts)-1]) {
		return lines, end
	}
	if code, until, ok := codeBelow(body, s.Start+len(withoutFence(s.Text))); ok {
		return append(lines, line{text: code, number: source.Number, block: true}), until
	}
	announced := len(lines)
	for range maxItems {
		next, until, ok := nextItem(body, end)
		if !ok {
			break
		}
		add(next, true)
		end = until
	}
	if announced > 0 && len(lines) == announced {
		lines[announced-1].dangling = true
	}
	return lines, end
}

// write puts lines together: sentences run on, lists and code stand line by line.
func write(lines []line, language string) []string {
	out := make([]string, 0, len(lines))
	for i, l := range lines {
		var b strings.Builder
		if i > 0 {
			b.WriteString(between(lines[i-1], l, language))
		}
		b.WriteString(l.text)
		switch {
		case l.block:
			b.WriteByte('\n')
		case !endsWide(l.text):
			b.WriteByte(' ')
		}
		b.WriteString("[" + strconv.Itoa(l.number) + "]")
		out = append(out, b.String())
	}
	return out
}

// between is what stands between two lines.
func between(before, l line, language string) string {
	switch {
	case l.block || before.block:
		return "\n\n"
	case l.list && before.list && before.number == l.number && !opensList(l.text):
		return "\n- "
	case l.list || before.list:
		return "\n\n"
	case language == ask.Chinese && startsWide(l.text):
		return ""
	default:
		return " "
	}
}

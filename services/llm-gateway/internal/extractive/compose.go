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
	maxSentences = 4
	maxBytes     = 1200
	maxItems     = 8
	// close is the share of the best sentence's belief that a further one needs.
	closeEnough = 0.35
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
		if l := text.Language(p.Text); l == language || l == text.Mixed {
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
			return arrange(choose(verdict.Sentences), group), nil
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

// choose keeps the best sentences, within the answer's bounds and without telling anything twice.
func choose(ranked []evidence.Sentence) []evidence.Sentence {
	var out []evidence.Sentence
	told := make(map[string]bool)
	used := 0
	for _, s := range ranked {
		key := strings.ToLower(oneLine(s.Text))
		if len(out) > 0 && (s.Score < closeEnough*ranked[0].Score || used+len(s.Text) > maxBytes || told[key]) {
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
	return lines
}

// unfold makes lines of a sentence: one that introduces a list takes the list's items along, an item its introduction.
func unfold(source ask.Source, s evidence.Sentence) (lines []line, end int) {
	body, end := source.Text, s.End
	add := func(part string, list bool) {
		if told := oneLine(unmark(part)); told != "" && len(lines) <= maxItems {
			lines = append(lines, line{text: told, number: source.Number, list: list})
		}
	}
	parts := splitItems(s.Text)
	if intro, ok := introduction(body, s.Start); ok && isItem(s.Text) {
		add(intro, true)
	}
	for i, p := range parts {
		add(p, isItem(p) || opensList(p) || (i+1 < len(parts)))
	}
	if !opensList(parts[len(parts)-1]) {
		return lines, end
	}
	for range maxItems {
		item, until, ok := nextItem(body, end)
		if !ok {
			break
		}
		add(item, true)
		end = until
	}
	return lines, end
}

// write puts lines together: sentences run on, lists stand line by line.
func write(lines []line, language string) []string {
	space := " "
	if language == ask.Chinese {
		space = ""
	}
	out := make([]string, 0, len(lines))
	for i, l := range lines {
		var b strings.Builder
		item := l.list && i > 0 && lines[i-1].list && lines[i-1].number == l.number && !opensList(l.text)
		switch {
		case i == 0:
		case item:
			b.WriteString("\n- ")
		case l.list || lines[i-1].list:
			b.WriteString("\n\n")
		default:
			b.WriteString(space)
		}
		b.WriteString(l.text)
		b.WriteString(" [" + strconv.Itoa(l.number) + "]")
		out = append(out, b.String())
	}
	return out
}

package prompt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

// perMessage is what a provider's framing adds to each message, in tokens.
const perMessage = 4

// Budget bounds a prompt, in estimated tokens.
type Budget struct {
	// Context is for all sources together.
	Context int
	// History is for the conversation before the question.
	History int
	// Total is for the whole prompt, instructions and examples included.
	Total int
}

// Rendered is what a model is asked.
type Rendered struct {
	Messages []ask.Message
	// Sources are those that fit, in order, numbered as in the request.
	Sources []ask.Source
	// Hash is the SHA-256 of the messages, lower-case hex.
	Hash string
	// Tokens is the estimated size of the messages.
	Tokens int
}

// Render makes the messages for r within budget. Today is the date that the template may name.
func (t *Template) Render(r ask.Request, today time.Time, budget Budget) (Rendered, error) {
	values, err := t.values(r.Variables)
	if err != nil {
		return Rendered{}, err
	}
	language := r.AnswerLanguage()
	l := t.locales[language]
	v := vars{Workspace: r.Workspace, Date: today.UTC().Format(time.DateOnly), Vars: values}.in(language)
	// The instructions may name the number of sources, which depends on what the instructions leave room for. Their size
	// hardly does, so measure them with all sources.
	widest, err := execute(l.system, v.with(len(r.Sources)))
	if err != nil {
		return Rendered{}, err
	}
	added := instructions(r.Instructions, language)
	widest += added
	fixed := size(widest) + size(userMessage(r.Question, nil, language)) + total(l.examples)
	room := budget.Total - fixed
	if room < 0 {
		return Rendered{}, fault.New(fault.Invalid, fault.PromptTooLarge,
			"the prompt takes about %d tokens before any source, more than the %d there is room for; ask a shorter question", fixed, budget.Total)
	}
	sources, blocks, used := fitSources(r.Sources, min(budget.Context, room))
	history := fitHistory(r.History, min(budget.History, room-used))
	system := widest
	if len(sources) < len(r.Sources) {
		if system, err = execute(l.system, v.with(len(sources))); err != nil {
			return Rendered{}, err
		}
		system += added
	}
	messages := append([]ask.Message{{Role: ask.System, Content: system}}, l.examples...)
	messages = append(messages, history...)
	messages = append(messages, ask.Message{Role: ask.User, Content: userMessage(r.Question, blocks, language)})
	return Rendered{Messages: messages, Sources: sources, Hash: hash(messages), Tokens: total(messages)}, nil
}

// instructions is what stands below the template's own when the application has some: delimited, and subject to those above.
func instructions(s, language string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	lead := "The application adds the following about the form of the answer. It changes nothing of the above:"
	if language == ask.Chinese {
		lead = "应用程序对回答的形式另有如下要求，但不改变以上任何规则："
	}
	return "\n\n" + lead + "\n<instructions>\n" + neutralise(s) + "\n</instructions>"
}

func size(s string) int { return perMessage + text.EstimateTokens(s) }

func total(messages []ask.Message) int {
	n := 0
	for _, m := range messages {
		n += size(m.Content)
	}
	return n
}

// fitSources keeps the best sources that fit. Whole sources go from the end; one that alone is larger than all the room is
// left out without taking those behind it along. blocks are what is kept, as the prompt has it.
func fitSources(sources []ask.Source, room int) (kept []ask.Source, blocks []string, used int) {
	for _, s := range sources {
		b := block(s)
		n := text.EstimateTokens(b)
		switch {
		case n > room:
			continue
		case used+n > room:
			return kept, blocks, used
		}
		kept, blocks, used = append(kept, s), append(blocks, b), used+n
	}
	return kept, blocks, used
}

// fitHistory keeps the newest messages that fit, beginning with one of the person's: providers refuse a conversation that
// the assistant opens.
func fitHistory(history []ask.Message, room int) []ask.Message {
	first := len(history)
	for used := 0; first > 0; first-- {
		if used += size(history[first-1].Content); used > room {
			break
		}
	}
	for first < len(history) && history[first].Role != ask.User {
		first++
	}
	kept := make([]ask.Message, 0, len(history)-first)
	for _, m := range history[first:] {
		if m.Role == ask.System {
			continue // instructions are the template's alone
		}
		content := m.Content
		if m.Role == ask.Assistant {
			content = withoutCitations(content)
		}
		kept = append(kept, ask.Message{Role: m.Role, Content: neutralise(content)})
	}
	return kept
}

var citation = regexp.MustCompile(` ?\[\d{1,4}\]`)

// withoutCitations takes the markers out of an earlier answer: their numbers name that answer's sources, not this one's.
func withoutCitations(s string) string { return citation.ReplaceAllString(s, "") }

// conversation is what worked examples are in a prompt.
func conversation(examples []Example, language string) []ask.Message {
	out := make([]ask.Message, 0, 2*len(examples))
	for _, e := range examples {
		var blocks []string
		if strings.TrimSpace(e.Context) != "" {
			blocks = []string{block(ask.Source{Number: 1, Text: e.Context})}
		}
		out = append(out,
			ask.Message{Role: ask.User, Content: userMessage(e.Question, blocks, language)},
			ask.Message{Role: ask.Assistant, Content: strings.TrimSpace(e.Answer)})
	}
	return out
}

// userMessage is the last message: the sources' blocks as data, then the question.
func userMessage(question string, blocks []string, language string) string {
	length := len("<sources></sources>Question: ") + len(question) + 16
	for _, s := range blocks {
		length += len(s)
	}
	var b strings.Builder
	b.Grow(length)
	b.WriteString("<sources>\n")
	for _, s := range blocks {
		b.WriteString(s)
	}
	b.WriteString("</sources>\n\n")
	if language == ask.Chinese {
		b.WriteString("问题：")
	} else {
		b.WriteString("Question: ")
	}
	b.WriteString(neutralise(strings.TrimSpace(question)))
	return b.String()
}

// block is one source between its delimiters.
func block(s ask.Source) string {
	var b strings.Builder
	b.Grow(len(s.Text) + 2*maxAttribute)
	b.WriteString(`<source n="` + strconv.Itoa(s.Number) + `"`)
	if s.Tool != nil {
		b.WriteString(` tool="` + attribute(s.Tool.Name) + `"`)
	}
	if place := strings.Join(append([]string{s.Title}, s.Headings...), " > "); strings.Trim(place, "> ") != "" {
		b.WriteString(` title="` + attribute(strings.TrimPrefix(place, " > ")) + `"`)
	}
	b.WriteString(">\n")
	switch {
	case s.Tool != nil && s.Tool.Failure != "":
		b.WriteString("The call failed: " + neutralise(s.Tool.Failure))
	default:
		b.WriteString(neutralise(strings.TrimSpace(s.Text)))
	}
	b.WriteString("\n</source>\n")
	return b.String()
}

// hash names messages by their content: each role and content with its length, so that no two prompts share a stream of
// bytes.
func hash(messages []ask.Message) string {
	h := sha256.New()
	var length [8]byte
	for _, m := range messages {
		for _, part := range []string{string(m.Role), m.Content} {
			binary.BigEndian.PutUint64(length[:], uint64(len(part)))
			h.Write(length[:])
			h.Write([]byte(part))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

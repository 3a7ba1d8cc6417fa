package turn

import (
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
)

const (
	// perMessage is what the llm-gateway counts for a message beside its text.
	perMessage = 4
	// maxMessages is the most that it takes.
	maxMessages = 64
	// condensedTokens bounds what stays of an answer.
	condensedTokens = 80
)

// messages turns earlier turns into the conversation that a model is given, oldest first, of at most tokens as the llm-gateway
// counts them: the newest turns, up to whole of them, word for word, and of older ones the question and the first
// sentence of the answer that its sources support. Word for word takes at most two thirds while there are older ones, but for a
// last turn that is longer; of the older ones, the ones that the question speaks of come first, then the newest. Markers are dropped: their numbers meant other
// sources.
//
// Nothing is kept of it: it is made anew of the turns that are there, so it holds nothing of a turn that was deleted or
// replaced, or whose texts are withheld.
func messages(history []Turn, whole, tokens int, question string) []Message {
	var told []Turn
	for _, h := range history {
		if (h.Outcome == Answered || h.Outcome == Abstained) && !h.Withheld && strings.TrimSpace(h.Answer) != "" {
			told = append(told, h)
		}
	}
	first, left := wholeFrom(told, whole, tokens)
	if first > 0 { // not all fit: leave room for what the others said
		if first, left = wholeFrom(told, whole, tokens*2/3); first < len(told) {
			left += tokens - tokens*2/3
		} else { // the last one is what follow-ups are about
			first, left = wholeFrom(told, min(whole, 1), tokens)
		}
	}
	var out []Message
	kept := condensed(told[:first], left, maxMessages-2*(len(told)-first), question)
	for _, e := range kept {
		out = append(out, Message{Text: e.Question}, Message{Assistant: true, Text: e.Answer})
	}
	for _, h := range told[first:] {
		out = append(out, Message{Text: h.Question}, Message{Assistant: true, Text: citing.WithoutMarkers(h.Answer)})
	}
	return out
}

// wholeFrom returns from which turn on they fit word for word, at most so many, and what is left of the tokens.
func wholeFrom(told []Turn, most, tokens int) (first, left int) {
	first = len(told)
	for first > 0 && len(told)-first < min(most, maxMessages/2) {
		n := size(told[first-1].Question) + size(citing.WithoutMarkers(told[first-1].Answer))
		if n > tokens {
			break
		}
		first, tokens = first-1, tokens-n
	}
	return first, tokens
}

func size(s string) int { return perMessage + text.EstimateTokens(s) }

// condensed returns what is kept of turns that don't fit word for word, oldest first.
func condensed(told []Turn, tokens, most int, question string) []Exchange {
	asked := spoken(question)
	order := make([]int, len(told))
	shared := make([]int, len(told))
	short := make([]Exchange, len(told))
	for i, h := range told {
		order[i] = i
		if h.Outcome == Answered {
			short[i] = Exchange{Question: clipTokens(h.Standalone, condensedTokens), Answer: gist(h)}
			for term := range spoken(short[i].Question + " " + short[i].Answer) {
				if asked[term] {
					shared[i]++
				}
			}
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		if shared[a] != shared[b] {
			return shared[b] - shared[a]
		}
		return b - a
	})
	var picked []int
	for _, i := range order {
		if short[i].Answer == "" || 2*len(picked)+2 > most {
			continue
		}
		if n := size(short[i].Question) + size(short[i].Answer); n <= tokens {
			tokens -= n
			picked = append(picked, i)
		}
	}
	slices.Sort(picked)
	out := make([]Exchange, 0, len(picked))
	for _, i := range picked {
		out = append(out, short[i])
	}
	return out
}

// spoken returns what a text speaks of, as search has it.
func spoken(s string) map[string]bool {
	out := map[string]bool{}
	for _, t := range text.Tokens(s) {
		if !t.Stop && t.Kind != text.Han {
			out[t.Term] = true
		}
	}
	return out
}

// gist returns what an answer said first that its sources support, else its first sentence.
func gist(h Turn) string {
	for _, c := range h.Citations {
		if claim := strings.TrimSpace(citing.WithoutMarkers(c.Claim)); c.Support == evidence.Supported && claim != "" {
			return clipTokens(claim, condensedTokens)
		}
	}
	answer := citing.WithoutMarkers(h.Answer)
	if spans := text.Sentences(answer); len(spans) > 0 {
		answer = answer[spans[0].Start:spans[0].End]
	}
	return clipTokens(strings.TrimSpace(answer), condensedTokens)
}

// clipTokens returns the beginning of s that has at most so many tokens.
func clipTokens(s string, tokens int) string {
	s = strings.Join(strings.Fields(s), " ")
	for n := len(s); text.EstimateTokens(s) > tokens; {
		n = n * 3 / 4
		s = clip(s, n)
	}
	return s
}

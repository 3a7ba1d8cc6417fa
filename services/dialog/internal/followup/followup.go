// Package followup makes a follow-up question standalone, in English and Chinese, by rules and without a model: it puts the
// topic of the conversation where a pronoun stands ("is it free?", "它免费吗"), the act where one was asked about ("can I undo
// that?", "怎么撤销？"), completes what was left out ("and last year?", "那去年呢？") and what is compared ("which one is cheaper?"),
// and adds the topic to a question that has none of its own ("how much does that cost?", "怎么申请？").
// A question that stands on its own comes back untouched, also when it changes the topic. The package is pure.
//
// The rewritten question is for search and for the model; people see their own words. So the rules would rather leave a
// question alone than guess: a follow-up that was missed finds too little, a topic switch that was rewritten finds the
// wrong thing.
package followup

import (
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/text"
)

// Exchange is one earlier question of the session and what was answered.
type Exchange struct {
	// Question is what was asked, made standalone.
	Question string
	// Answer is what was said.
	Answer string
	// Titles are the titles of the documents that the answer cited, in order.
	Titles []string
}

// Result is a standalone question.
type Result struct {
	// Question is the question to search for.
	Question string
	// Rule names the rule that changed it; empty when it is unchanged.
	Rule string
	// Topic is what the follow-up was taken to be about; empty when it is unchanged.
	Topic string
}

// Rules.
const (
	RuleEllipsis = "ellipsis" // "what about X?", "X呢？": the last question again, about X
	RuleRepeat   = "repeat"   // "tell me more": the last question again
	RuleReason   = "reason"   // "why?": the last question, and why
	RulePronoun  = "pronoun"  // "is it free?", "undo that", "which one": what is meant instead of what points at it
	RuleTopic    = "topic"    // "what does it cost?" without it: the topic added
)

// maxQuestion bounds, in bytes, the questions that are looked at. A longer one stands on its own, and of a longer earlier
// one only the end is used.
const maxQuestion = 600

// Rewrite makes question standalone, given the session's earlier exchanges, oldest first.
func Rewrite(question string, history []Exchange) Result {
	same := Result{Question: question}
	q := strings.Join(strings.Fields(question), " ")
	if q == "" || len(q) > maxQuestion || len(history) == 0 {
		return same
	}
	prev, ok := lastTopical(history)
	if !ok {
		return same
	}
	var out Result
	if speaks(q, prev.Question) == text.Chinese {
		out = chinese(q, prev)
	} else {
		out = english(q, prev)
	}
	if out.Rule == "" || out.Question == q {
		return same
	}
	return out
}

// speaks tells which language's rules apply: the question's, or the earlier one's when the question has no letters of
// its own ("2023?").
func speaks(q, prev string) string {
	if text.Language(q) != "" {
		prev = q
	}
	if hasHan(prev) {
		return text.Chinese
	}
	return text.English
}

func hasHan(s string) bool {
	for _, t := range text.Tokens(s) {
		if t.Kind == text.Han || t.Kind == text.HanPair {
			return true
		}
	}
	return false
}

// lastTopical returns the newest exchange that was about something: thanks and greetings are passed over.
func lastTopical(history []Exchange) (Exchange, bool) {
	for i := len(history) - 1; i >= 0 && i >= len(history)-4; i-- {
		e := history[i]
		e.Question = lastSentence(strings.Join(strings.Fields(e.Question), " "))
		if !leaning(e.Question) && topicOf(e) != "" {
			return e, true
		}
	}
	return Exchange{}, false
}

// leaning reports whether an earlier question still is one that needs another: it was not understood then, and is about
// nothing by itself.
func leaning(q string) bool {
	q = trimQuestion(q)
	return reWhichOf.MatchString(q) && len(names(q)) == 0 && !strings.Contains(q, ",") && strings.HasPrefix(strings.ToLower(q), "which one") ||
		utf8.RuneCountInString(q) <= 12 && hasHan(q) && zhLeaning.MatchString(q)
}

// lastSentence returns s, or its last sentence that fits when s is long.
func lastSentence(s string) string {
	if len(s) <= maxQuestion {
		return s
	}
	spans := text.Sentences(s)
	if n := len(spans); n > 0 {
		s = s[spans[n-1].Start:spans[n-1].End]
	}
	for len(s) > maxQuestion {
		_, size := utf8.DecodeRuneInString(s)
		s = s[max(size, len(s)-maxQuestion):]
		for len(s) > 0 && !utf8.RuneStart(s[0]) {
			s = s[1:]
		}
	}
	return s
}

// topicOf returns what an exchange was about, from its question, else from the titles its answer cited.
func topicOf(e Exchange) string {
	topic := ""
	if hasHan(e.Question) {
		topic = chineseTopic(e.Question)
	} else {
		topic = englishTopic(e.Question)
	}
	if topic == "" && len(e.Titles) > 0 {
		topic = cut(strings.TrimSpace(e.Titles[0]), 120)
	}
	return topic
}

// trimQuestion drops the question mark and full stop at the end.
func trimQuestion(s string) string { return strings.TrimRight(s, " ?？!！.。,，;；…~～") }

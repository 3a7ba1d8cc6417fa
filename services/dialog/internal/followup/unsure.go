package followup

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/text"
)

// Unsure reports whether a model that read the conversation could do better than the rules did with a follow-up: it leans on
// the conversation in a way that they have no form for, or their form is a guess. A question that stands on its own is none.
func Unsure(question string, got Result, history []Exchange) bool {
	q := strings.Join(strings.Fields(question), " ")
	if q == "" || len(q) > maxQuestion || len(history) == 0 {
		return false
	}
	switch got.Rule {
	case RuleEllipsis, RuleRepeat, RuleReason:
		return false
	case RuleTopic:
		return true
	case RulePronoun: // the thing asked for is known from the answer only, or is a long description
		return len(strings.Fields(got.Topic)) > 4 || utf8.RuneCountInString(got.Topic) > 16 && hasHan(got.Topic)
	}
	if speaks(q, history[len(history)-1].Question) == text.Chinese {
		bare := zhNot.ReplaceAllString(q, "")
		return zhPronoun.MatchString(bare) && !zhAntecedent(q) || utf8.RuneCountInString(q) <= 8 && len(latinRun.FindString(q)) == 0
	}
	bare := reTemporal.ReplaceAllString(q, "")
	if reExpletive.MatchString(q) {
		return false
	}
	if at := rePersonal.FindStringIndex(bare); at != nil && !antecedent(bare[:at[0]]) {
		return true
	}
	return dependent(bare) && !antecedent(bare) || len(contentWords(q)) <= 2 && len(names(q)) == 0
}

// maxAdded bounds, in bytes, what a model may add to a question.
const maxAdded = 400

// Usable returns what a model made of a question as a question to search for, and why not where it can't be trusted: it must
// be one line, of bounded length, in the question's language, and have the names and numbers of the question and none
// that nobody named.
func Usable(question, said string, history []Exchange) (standalone, why string) {
	out := strings.TrimSpace(said)
	for _, lead := range []string{"Standalone question:", "Rewritten question:", "Question:", "改写后的问题：", "独立问题：", "问题："} {
		out = strings.TrimSpace(strings.TrimPrefix(out, lead))
	}
	for _, marks := range []string{`""`, "“”", "「」", "''", "``"} {
		left, size := utf8.DecodeRuneInString(marks)
		right, _ := utf8.DecodeLastRuneInString(marks)
		if len(out) > 2*size && strings.HasPrefix(out, string(left)) && strings.HasSuffix(out, string(right)) {
			out = strings.TrimSpace(out[len(string(left)) : len(out)-len(string(right))])
		}
	}
	switch {
	case out == "":
		return "", "empty"
	case strings.ContainsAny(out, "\n\r\x00") || !utf8.ValidString(out):
		return "", "not one line"
	case len(out) > len(question)+maxAdded:
		return "", "too long"
	case hasHan(question) != hasHan(out) && text.Language(out) != text.Mixed && text.Language(question) != text.Language(out):
		return "", "another language"
	}
	known := strings.ToLower(question)
	for _, e := range history[max(0, len(history)-8):] {
		known += "\n" + strings.ToLower(cut(e.Question, maxQuestion)) + "\n" + strings.ToLower(cut(e.Answer, 4*maxHeard)) + "\n" + strings.ToLower(strings.Join(e.Titles[:min(len(e.Titles), 16)], "\n"))
	}
	have := strings.ToLower(out)
	for _, name := range mentions(question) {
		if !strings.Contains(have, strings.ToLower(name)) {
			return "", "a name or number is missing"
		}
	}
	for _, name := range mentions(out) {
		if !strings.Contains(known, strings.ToLower(name)) {
			return "", "a name or number nobody mentioned"
		}
	}
	return out, ""
}

// mentions returns the names and numbers of a text: what a question may not lose or gain.
func mentions(s string) []string {
	var out []string
	if hasHan(s) {
		out = latinRun.FindAllString(s, 32)
	} else {
		for _, name := range names(lowerFirst(s)) {
			out = append(out, strings.Fields(name)...)
		}
	}
	for _, t := range text.Tokens(cut(s, 2*maxQuestion)) {
		if t.Kind == text.Number {
			out = append(out, s[t.Start:t.End])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

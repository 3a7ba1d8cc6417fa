package followup

import (
	"regexp"
	"strings"
)

// What a pronoun stands for may be an act rather than a thing: after "how do I close my account?", "can I undo that?" is
// about closing it. These are the places where only an act makes sense.
var (
	reUndo    = regexp.MustCompile(`(?i)\b(undo|reverse|revert|redo|take back|roll back) (it|that|this)\b|\b(roll|take|turn|switch) (it|that|this) back\b`)
	reDoThat  = regexp.MustCompile(`(?i)\b(do|doing) (that|this|it|so|the same)\b`)
	reHappens = regexp.MustCompile(`(?i)\b(that|this|it)( ever| usually| also)? (happens?|happened)\b`)
	reSubject = regexp.MustCompile(`(?i)\b(is|was|does|did|will|would|can|could|should|has) (that|this)\b`)
	reAfter   = regexp.MustCompile(`(?i)\b(before|after|without|instead of|by) (that|this|it)\b`)
	reWhen    = regexp.MustCompile(`(?i)\b(when|if|while|once) .+$`)
	reIfOnly  = regexp.MustCompile(`(?i)^(?:(?:and|but|so|what|what about|what happens)[ ,]+)*((?:when|if|once|while) (.+))$`)
	reTaking  = regexp.MustCompile(`(?i)^(safe|possible|allowed|recommended|necessary|required|needed|free|reversible|permanent|supported|automatic|logged|audited|take|work|cost|require|need|happen|affect|cause|delete|remove|interrupt|break|always|also|still|even|really|worth|a good idea|secure|dangerous|risky|legal|mandatory|optional|enough|mean)\b`)
)

// englishEvent resolves pronouns that stand for an act or a condition of the last question.
func englishEvent(q string, prev Exchange) (string, bool) {
	if reTemporal.MatchString(q) || reExpletive.MatchString(q) {
		return "", false
	}
	verb, rest, ok := actOf(prev.Question)
	if !ok {
		return englishCondition(q, prev)
	}
	act := gerund(verb) + rest
	replace := func(start, end int, with string) (string, bool) {
		if antecedent(q[:start]) {
			return "", false
		}
		return q[:start] + with + q[end:], true
	}
	if m := reUndo.FindStringSubmatchIndex(q); m != nil {
		if m[2] >= 0 {
			return replace(m[4], m[5], act)
		}
		return replace(m[0], m[1], "undo "+act)
	}
	if m := reDoThat.FindStringSubmatchIndex(q); m != nil {
		if strings.EqualFold(q[m[2]:m[3]], "doing") {
			return replace(m[0], m[1], act)
		}
		return replace(m[0], m[1], verb+rest)
	}
	if m := reHappens.FindStringSubmatchIndex(q); m != nil {
		return replace(m[2], m[3], act)
	}
	if m := reSubject.FindStringSubmatchIndex(q); m != nil && reTaking.MatchString(strings.TrimSpace(q[m[1]:])) {
		return replace(m[4], m[5], act)
	}
	if m := reAfter.FindStringSubmatchIndex(q); m != nil && !followsNoun(q[m[1]:]) {
		return q[:m[4]] + act + q[m[5]:], true
	}
	return "", false
}

// followsNoun reports whether a word stands right behind a demonstrative, which then only points: "before that date".
func followsNoun(after string) bool {
	return strings.HasPrefix(after, " ") && len(contentWords(after)) > 0 && !function(strings.ToLower(strings.Fields(after)[0]))
}

// englishCondition sets "and when it comes back?" in the place of the last question's condition, and adds that condition to
// "how long until that happens?".
func englishCondition(q string, prev Exchange) (string, bool) {
	old := reWhen.FindString(lastAsked(prev.Question))
	if old == "" || strings.HasPrefix(strings.ToLower(lastAsked(prev.Question)), strings.ToLower(old)) {
		return "", false
	}
	if reHappens.MatchString(q) {
		return q + " " + strings.ToLower(old[:1]) + old[1:], true
	}
	return "", false
}

// otherCondition answers "and when it comes back?": the last question with this condition.
func otherCondition(q string, prev Exchange) (string, bool) {
	m := reIfOnly.FindStringSubmatch(q)
	asked := lastAsked(prev.Question)
	old := reWhen.FindStringIndex(asked)
	if m == nil || old == nil || old[0] == 0 || reHelp.MatchString(m[2]) || strings.Contains(m[1], ",") || len(strings.Fields(m[1])) > 10 {
		return "", false
	}
	// Who comes back is who failed.
	clause, subject := m[1], ""
	if list := phrases(asked[old[0]:]); len(list) > 0 {
		subject = list[0].of(asked[old[0]:])
	} else if topic := englishTopic(prev.Question); topic != "" {
		subject = topic
	}
	if at := rePersonal.FindStringIndex(clause); at != nil && subject != "" {
		clause = clause[:at[0]] + subject + clause[at[1]:]
	}
	return strings.TrimSpace(asked[:old[0]]) + " " + clause, true
}

var (
	reOne     = regexp.MustCompile(`(?i)\b(which|the|a|an|this|that|another|any|each|every|new|old|first|second|last|next|other|same|[a-z]+er|[a-z]+est) (ones?)\b`)
	reWhichOf = regexp.MustCompile(`(?i)^which (ones?|of (them|these|those|the two)|is|are|do|does|should|can|will|has|have)\b ?(.*)$`)
	reOther   = regexp.MustCompile(`(?i)\bthe (other|latter|former|second|first)( one)?\b`)
)

// englishChoice resolves "which one is cheaper?", "the latter" and "a new one".
func englishChoice(q string, prev Exchange, topic string) (string, bool) {
	left, right, pair := pairOf(prev.Question)
	if m := reOther.FindStringSubmatchIndex(q); m != nil && pair && (m[4] >= 0 || strings.HasSuffix(strings.ToLower(q[m[2]:m[3]]), "tter") || strings.EqualFold(q[m[2]:m[3]], "former")) {
		x := right
		if w := strings.ToLower(q[m[2]:m[3]]); w == "former" || w == "first" {
			x = left
		}
		return q[:m[0]] + x + q[m[1]:], true
	}
	if m := reWhichOf.FindStringSubmatch(q); m != nil && len(names(q)) == 0 && !reJoint.MatchString(q) {
		switch whole := wholeTopic(prev.Question); {
		case pair:
			return q + ", " + left + " or " + right, true
		case !strings.HasPrefix(strings.ToLower(m[1]), "o"):
			return "", false // "which is ...": a question of its own unless two things were set side by side
		case whole != "":
			return "which of the " + whole + " " + m[3], true
		case plural(topic) && !isName(topic):
			return "which of the " + topic + " " + m[3], true
		default:
			return "", false
		}
	}
	if before, ok := strings.CutSuffix(q, " one"); ok && topic != "" && !antecedent(before) {
		if last := strings.ToLower(head(before)); !function(last) && !preposition(last) && sentence(before) && len(contentWords(before)) <= 2 && last != head(strings.ToLower(topic)) {
			return before + " " + indefinite(singularOf(topic)), true
		}
	}
	if m := reOne.FindStringSubmatchIndex(q); m != nil && topic != "" && !isName(topic) && !antecedent(q[:m[0]]) && !strings.EqualFold(q[m[2]:m[3]], "which") {
		noun := head(topic)
		if strings.HasSuffix(strings.ToLower(q[m[4]:m[5]]), "s") && !plural(noun) {
			noun += "s"
		}
		return q[:m[4]] + noun + q[m[5]:], true
	}
	return "", false
}

var (
	reVersus  = regexp.MustCompile(`(?i)^(?:and |but )?(?:compared (?:to|with)|versus|vs\.?|as opposed to|in contrast to|unlike)\s+(.{1,60})$`)
	reBetter  = regexp.MustCompile(`(?i)^(?:or )?((?:is|are|would|does|do|will) .+ (?:better|cheaper|faster|slower|safer|easier|simpler|larger|smaller|bigger|cheaper|higher|lower|longer|shorter|worse|(?:more|less) [a-z]+))$`)
	reDiffers = regexp.MustCompile(`(?i)^(?:what(?:'s| is) the difference|how (?:is|does) (?:it|this|that) differ(?:ent)?)(?: (?:to|from|with) (.{1,60}))?$`)
)

// likewise adds the noun to a bare adjective: "vertical" beside "horizontal scaling" is vertical scaling.
func likewise(x, referent string) string {
	if strings.Contains(x, " ") || strings.ToLower(x) != x || plural(x) || identifier(x) || len(contentWords(referent)) != 2 {
		return x
	}
	return x + " " + head(referent)
}

// englishComparison completes a comparison whose other side is what was talked about.
func englishComparison(q, referent string, prev Exchange) (string, bool) {
	if m := reVersus.FindStringSubmatch(q); m != nil && !sentence(m[1]) {
		return "what is the difference between " + referent + " and " + likewise(m[1], referent), true
	}
	if m := reDiffers.FindStringSubmatch(q); m != nil {
		if m[1] != "" {
			return "what is the difference between " + referent + " and " + m[1], true
		}
		if left, right, ok := pairOf(prev.Question); ok {
			return "what is the difference between " + left + " and " + right, true
		}
	}
	if m := reBetter.FindStringSubmatch(q); m != nil && !strings.Contains(strings.ToLower(q), " than ") && !dependent(q) && len(contentWords(q)) > 1 {
		return m[1] + " than " + referent, true
	}
	return "", false
}

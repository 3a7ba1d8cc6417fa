package followup

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// englishRules are compiled once per process; they are constants in all but syntax.
var (
	reMore     = regexp.MustCompile(`(?i)^(please )?(can you |could you )?(tell me more|more details?|more info(rmation)?|go on|continue|elaborate|explain( more| further)?|say more|give me more details?|details?|in more detail|expand on (that|this|it)|for example|such as|an example|examples?|like what)( please| about (it|that|this|them))?$`)
	reReason   = regexp.MustCompile(`(?i)^(and |but |so )?(why( not| so| is that)?|how( so| come)?|when|where|who|since when|how much|how many|how long|how often|which( one| ones)?|by whom|says who|really|are you sure)( is that| is it)?$`)
	reEllipsis = regexp.MustCompile(`(?i)^((and|but|so|ok|okay|then|or|also)[ ,]+)*(what about|how about|and|or|but|same for|the same for|what of|what if it'?s)\s+(.+)$`)
	reInstead  = regexp.MustCompile(`(?i)^(.{1,60}?) (instead|then|too|as well)$`)
	reLead     = regexp.MustCompile(`(?i)^((and|but|so|ok|okay|then|also|well|hmm|thanks|thank you|great|cool|alright|yes|no|right|sure|good)[ ,.!]+)+`)

	reExpletive = regexp.MustCompile(`(?i)\b(is|was|would|will|wouldn't|isn't|be|it's|it is|does|did)( it)? (it )?(possible|impossible|necessary|safe|true|ok|okay|legal|illegal|allowed|required|recommended|better|best|worth|mandatory|hard|easy|difficult|normal|advisable|common|matter|make sense|rain|raining|snow|mean that)\b.*\b(to|that|for|if|when|today|tomorrow|now)\b|\bwhat time is it\b|\bwhat (day|date) is it\b|\b(does|will|would|did) it take\b.{0,40}\b(to|for)\b`)

	// reAmount are acts done to a limit or a fee rather than to the thing that has it.
	reAmount = regexp.MustCompile(`(?i)\b(rais(e|ed|ing)|increas(e|ed|ing)|lower(ed|ing)?|reduc(e|ed|ing)|exceed(ed|ing)?|waiv(e|ed|ing)|adjust(ed|ing)?|extend(ed|ing)?|higher|reset|resets|calculated)\b`)

	// Pronouns in the places where they can only be pronouns; "that the", "that runs" are not among them.
	rePossessive = regexp.MustCompile(`(?i)\b(its|their|his)\b|\bher\b( [a-z])`)
	rePersonal   = regexp.MustCompile(`(?i)\b(it|they|them|he|him|she|these|those|(the )?latter|the same (thing|one)|the former)\b|\bher\b`)
	reThis       = regexp.MustCompile(`(?i)\b(this|that)\b( (is|was|does|do|did|can|could|will|would|should|work|works|worked|mean|means|cost|costs|happen|happens|apply|applies|take|takes|also|still|always|free|true|possible|needed|allowed|enabled|supported|available|mandatory|required|enough|necessary|for|in|on|to|with|and|or|by|at|from|too|again|later|automatically|manually|safely)\b|$|[?!.,;:])`)
	reDefinite   = regexp.MustCompile(`(?i)\b(this|that|these|those|such( an?)?|the said|the same) (one|ones|thing|things|feature|features|option|options|setting|settings|value|values|command|commands|service|services|product|products|account|accounts|card|cards|plan|plans|fee|fees|limit|limits|process|procedure|step|steps|method|approach|document|page|file|field|fields|object|objects|resource|resources|type|types|kind|case|cases|error|errors|problem|issue|policy|policies|rule|rules|version|tool|person|people|company|place|city|country|event|team|topic|component|components|mechanism|parameter|parameters|flag|flags)\b`)
	reTemporal   = regexp.MustCompile(`(?i)\b(this|that|these|those) (week|month|year|morning|evening|afternoon|quarter|time|day|days|weekend|summer|winter|spring|autumn)\b`)
	reYear       = regexp.MustCompile(`(?i)\b((in |for |during )?(last|this|next|the previous|the current|the following) (year|month|week|quarter|summer|winter)|(in |for |during )?(19|20)\d\d|yesterday|today|tomorrow|(in )?(january|february|march|april|may|june|july|august|september|october|november|december)|q[1-4])\b`)
	reClause     = regexp.MustCompile(`(?i)[,;.?!:]\s|\s(and|or|if|when|then|because|so that|while|before|after|but|that)\s`)
)

func english(q string, prev Exchange) Result {
	topic := topicOf(prev)
	bare := trimQuestion(q)
	if reMore.MatchString(bare) {
		return Result{Question: prev.Question, Rule: RuleRepeat, Topic: topic}
	}
	if m := reReason.FindStringSubmatch(bare); m != nil {
		return Result{Question: asQuestion(prev.Question) + " " + upperFirst(m[2]) + "?", Rule: RuleReason, Topic: topic}
	}
	if m := reEllipsis.FindStringSubmatch(bare); m != nil {
		if rest := m[4]; !sentence(rest) && len(strings.Fields(rest)) <= 8 && !dependent(rest) {
			return Result{Question: withSlot(prev.Question, rest), Rule: RuleEllipsis, Topic: topic}
		}
	}
	core := reLead.ReplaceAllString(bare, "")
	if core == "" {
		return Result{}
	}
	if m := reInstead.FindStringSubmatch(core); m != nil && !sentence(m[1]) && !dependent(m[1]) {
		return Result{Question: withSlot(prev.Question, m[1]), Rule: RuleEllipsis, Topic: topic}
	}
	if reYear.FindString(core) == core || fragmentOfTime(core) {
		return Result{Question: withSlot(prev.Question, core), Rule: RuleEllipsis, Topic: topic}
	}
	if out, ok := englishPronoun(core, topic, prev); ok {
		return Result{Question: upperFirst(out) + "?", Rule: RulePronoun, Topic: topic}
	}
	if attributeOnly(core) {
		return Result{Question: upperFirst(core) + " (" + topic + ")?", Rule: RuleTopic, Topic: topic}
	}
	return Result{}
}

// englishPronoun replaces the first pronoun that has nothing to refer to in its own question.
func englishPronoun(q, topic string, prev Exchange) (string, bool) {
	if reExpletive.MatchString(q) || strings.Contains(strings.ToLower(q), strings.ToLower(topic)) {
		return "", false
	}
	if whole := wholeTopic(prev.Question); whole != "" && reAmount.MatchString(q) {
		topic = whole
	}
	referent := topic
	if !isName(topic) && withArticle(prev.Question, topic) {
		referent = "the " + topic
	}
	masked := reTemporal.ReplaceAllStringFunc(q, func(s string) string { return strings.Repeat("\x00", len(s)) })
	type hit struct{ start, end int }
	find := func(re *regexp.Regexp, group int) (hit, bool) {
		m := re.FindStringSubmatchIndex(masked)
		if m == nil || m[2*group] < 0 {
			return hit{}, false
		}
		return hit{m[2*group], m[2*group+1]}, true
	}
	replace := func(h hit, with string) (string, bool) {
		if antecedent(q[:h.start]) {
			return "", false
		}
		return q[:h.start] + with + q[h.end:], true
	}
	if person := rePersonPronoun.FindString(masked); person != "" {
		if name := personOf(prev); name != "" {
			referent = name
		}
	}
	if h, ok := find(reDefinite, 0); ok {
		return replace(h, referent)
	}
	if m := rePossessive.FindStringSubmatchIndex(masked); m != nil {
		h := hit{m[0], m[1]}
		if m[4] >= 0 { // "her x": keep the letter
			h.end = m[4]
		}
		if s, ok := replace(h, possessive(referent)); ok {
			return s, true
		}
		return "", false
	}
	if h, ok := find(rePersonal, 0); ok {
		return replace(h, referent)
	}
	if h, ok := find(reThis, 1); ok {
		return replace(h, referent)
	}
	return "", false
}

var rePersonPronoun = regexp.MustCompile(`(?i)\b(he|him|his|she|her|hers)\b`)

// personOf returns the person an exchange was about: the first name in the answer to a question for a person, else the
// name in the question.
func personOf(e Exchange) string {
	question := strings.ToLower(e.Question)
	if strings.HasPrefix(question, "who") || strings.Contains(question, "whose") {
		for _, name := range names(e.Answer) {
			if !strings.Contains(question, strings.ToLower(name)) {
				return name
			}
		}
	}
	if list := names(e.Question); len(list) > 0 {
		return list[0]
	}
	return ""
}

// antecedent reports whether what stands before a pronoun holds a thing of its own in an earlier clause, which the pronoun
// then means: "what is a Pod and how does it work".
func antecedent(before string) bool {
	loc := reClause.FindAllStringIndex(before, -1)
	if len(loc) == 0 {
		return false
	}
	return len(contentWords(before[:loc[len(loc)-1][0]])) > 0
}

// dependent reports whether a phrase still needs the conversation: "its limits", "that one".
func dependent(s string) bool {
	return rePossessive.MatchString(s) || rePersonal.MatchString(s) || reThis.MatchString(s)
}

var reVerbFirst = regexp.MustCompile(`(?i)^(what|who|whom|whose|when|where|why|how|which|is|are|was|were|do|does|did|can|could|will|would|should|may|must|has|have|had|am|tell|show|explain|describe|list|give|find|compare|i|we|you)\b`)

// sentence reports whether s is a whole question rather than a part of one.
func sentence(s string) bool { return reVerbFirst.MatchString(s) }

// fragmentOfTime recognises "and in 2019", "for last year".
func fragmentOfTime(s string) bool {
	return len(strings.Fields(s)) <= 4 && !sentence(s) && reYear.MatchString(s) && len(contentWords(reYear.ReplaceAllString(s, ""))) == 0
}

// withSlot asks the last question about something else: x takes the place of what it resembles (a time, a name, a thing of
// the same kind), else it is added.
func withSlot(question, x string) string {
	q := trimQuestion(question)
	if reYear.MatchString(x) && len(contentWords(reYear.ReplaceAllString(x, ""))) == 0 {
		if loc := reYear.FindStringIndex(q); loc != nil {
			return q[:loc[0]] + bridge(q[loc[0]:loc[1]], x) + q[loc[1]:] + "?"
		}
		return q + " " + x + "?"
	}
	x = strings.TrimPrefix(strings.TrimPrefix(x, "for "), "with ")
	if start, end, ok := sameHead(q, x); ok {
		return q[:start] + keepArticle(q[start:end], x) + q[end:] + "?"
	}
	if isName(x) {
		if list := names(q); len(list) > 0 {
			at := strings.Index(q, list[0])
			return q[:at] + x + q[at+len(list[0]):] + "?"
		}
	}
	if topic := englishTopic(question); topic != "" && (isName(x) == isName(topic)) && len(attributes(x)) == 0 && !preposition(x) {
		if at := strings.Index(q, topic); at >= 0 {
			return q[:at] + keepArticle(q[at:at+len(topic)], x) + q[at+len(topic):] + "?"
		}
	}
	if len(attributes(x)) > 0 {
		return upperFirst(x) + " (" + englishTopic(question) + ")?"
	}
	return q + ", " + x + "?"
}

func preposition(s string) bool {
	first, _, _ := strings.Cut(s, " ")
	return slices.Contains([]string{"in", "on", "for", "with", "at", "from", "by", "during", "after", "before", "under", "without", "outside", "between", "via"}, strings.ToLower(first))
}

// bridge keeps the preposition of the time that is replaced when the new one has none and needs it.
func bridge(old, x string) string {
	first, _, found := strings.Cut(old, " ")
	if found && preposition(first) && !preposition(x) && unicode.IsDigit(rune(x[0])) {
		return first + " " + x
	}
	return x
}

// sameHead finds the phrase in q that ends in the same word as x: "the gold card" for "platinum card".
func sameHead(q, x string) (int, int, bool) {
	fields := strings.Fields(x)
	if len(fields) < 2 {
		return 0, 0, false
	}
	head := strings.ToLower(fields[len(fields)-1])
	lower := strings.ToLower(q)
	at := strings.LastIndex(lower, head)
	if at <= 0 || q[at-1] != ' ' {
		return 0, 0, false
	}
	end := at + len(head)
	if end < len(q) && q[end] != ' ' && q[end] != ',' {
		return 0, 0, false
	}
	start := at
	for n := 0; n < 3; n++ {
		word := strings.TrimRight(q[:start], " ")
		i := strings.LastIndexByte(word, ' ') + 1
		w := strings.ToLower(word[i:])
		if i == 0 || function(w) {
			break
		}
		start = i
	}
	return start, end, true
}

// keepArticle drops x's article when the old phrase stands behind one already, which stays.
func keepArticle(old, x string) string {
	if !reArticle.MatchString(old) {
		return reArticle.ReplaceAllString(x, "")
	}
	return x
}

var reArticle = regexp.MustCompile(`(?i)^(the|a|an|my|our|your) `)

func asQuestion(s string) string { return trimQuestion(s) + "?" }

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func possessive(s string) string {
	if strings.HasSuffix(s, "s") {
		return s + "'"
	}
	return s + "'s"
}

// withArticle reports whether the topic stood behind an article where it was asked about.
func withArticle(question, topic string) bool {
	before, _, ok := strings.Cut(question, topic)
	fields := strings.Fields(before)
	return ok && len(fields) > 0 && reArticle.MatchString(fields[len(fields)-1]+" ")
}

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
	// rePredicate is "is that different ...": what follows says something of the pronoun, so it is no thing it points at.
	rePredicate = regexp.MustCompile(`(?i)\b(?:is|are|was|were|be|isn't|aren't) (this|that|these|those) (?:[a-z]+(?:able|ible|ous|ful|less|[a-z]{2}ed)|safe|free|true|possible|necessary|different|similar|equal|equivalent|sufficient|permanent|consistent|persistent|transparent|efficient|dependent|relevant|important|normal|optional|legal|final|typical|automatic|dynamic|specific|generic|faster|slower|better|worse|cheaper|safer|expensive|secure|stable|new|old|common|still|also|only|really|a|an|the)\b`)
	reOwned     = regexp.MustCompile(`^ [a-zA-Z-]+`)
	reTemporal  = regexp.MustCompile(`(?i)\b(this|that|these|those) (week|month|year|morning|evening|afternoon|quarter|time|day|days|weekend|summer|winter|spring|autumn)\b`)
	reYear      = regexp.MustCompile(`(?i)\b((in |for |during )?(last|this|next|the previous|the current|the following) (year|month|week|quarter|summer|winter)|(in |for |during )?(19|20)\d\d|yesterday|today|tomorrow|the (year|month|week|quarter|day) (before|after)|(in )?(january|february|march|april|may|june|july|august|september|october|november|december)|q[1-4])\b`)
	reClause    = regexp.MustCompile(`(?i)[,;.?!:]\s|\s(and|or|if|when|then|because|so that|while|before|after|but|that)\s`)
)

func english(q string, prev Exchange) Result {
	topic := topicOf(prev)
	referent := referentOf(prev, topic)
	bare := trimQuestion(q)
	if reMore.MatchString(bare) {
		return Result{Question: prev.Question, Rule: RuleRepeat, Topic: topic}
	}
	if m := reReason.FindStringSubmatch(bare); m != nil {
		return Result{Question: asQuestion(prev.Question) + " " + upperFirst(m[2]) + "?", Rule: RuleReason, Topic: topic}
	}
	if out, ok := otherCondition(bare, prev); ok {
		return Result{Question: out + "?", Rule: RuleEllipsis, Topic: topic}
	}
	if m := reEllipsis.FindStringSubmatch(bare); m != nil {
		if rest := m[4]; !sentence(rest) && len(strings.Fields(rest)) <= 8 && (!dependent(rest) || rePossessed.MatchString(rest)) {
			return Result{Question: englishInstead(prev, rest, topic, referent), Rule: RuleEllipsis, Topic: topic}
		}
	}
	core := reLead.ReplaceAllString(bare, "")
	if core == "" {
		return Result{}
	}
	if m := reInstead.FindStringSubmatch(core); m != nil && !sentence(m[1]) && !dependent(m[1]) {
		return Result{Question: englishInstead(prev, m[1], topic, referent), Rule: RuleEllipsis, Topic: topic}
	}
	if reYear.FindString(core) == core || fragmentOfTime(core) || fragment(core, q) {
		return Result{Question: englishInstead(prev, core, topic, referent), Rule: RuleEllipsis, Topic: topic}
	}
	if preposition(core) && dependent(core) && len(strings.Fields(core)) <= 3 { // "below that?"
		return Result{Question: asQuestion(prev.Question) + " " + upperFirst(core) + "?", Rule: RuleReason, Topic: topic}
	}
	for _, rule := range []func() (string, bool){
		func() (string, bool) { return englishComparison(core, referent, prev) },
		func() (string, bool) { return englishChoice(core, prev, topic) },
		func() (string, bool) { return englishEvent(core, prev) },
		func() (string, bool) { return englishPronoun(core, topic, referent, prev) },
	} {
		if out, ok := rule(); ok {
			return Result{Question: upperFirst(out) + "?", Rule: RulePronoun, Topic: topic}
		}
	}
	switch {
	case rePartial.MatchString(core):
		return Result{Question: asQuestion(prev.Question) + " " + upperFirst(core) + "?", Rule: RuleReason, Topic: topic}
	case attributeOnly(core):
		return Result{Question: upperFirst(core) + " for " + referent + "?", Rule: RuleTopic, Topic: topic}
	case pointing(core) && !strings.Contains(strings.ToLower(core), strings.ToLower(topic)):
		return Result{Question: "About " + referent + ": " + lowerFirst(core) + "?", Rule: RuleTopic, Topic: topic}
	}
	return Result{}
}

var (
	// rePossessed is "its limits" as a fragment.
	rePossessed = regexp.MustCompile(`(?i)^((?:for|with|of|about|to|in|on) )?(?:its|their|his|her) ([a-z][a-z -]{1,40})$`)
	// rePartial asks for a part of what was said without naming it: "since which version?".
	rePartial = regexp.MustCompile(`(?i)^(since|from|until|in|on|at|by|with|under|for|to) (which|what) [a-z]+( [a-z]+)?$`)
	// rePointing are demonstratives in places where no conjunction can stand.
	rePointing = regexp.MustCompile(`(?i)\b(?:(?:is|are|was|were|does|did|can|will|of|for|in|to|with|from|by|on) (?:this|that)|these|those) ([a-z-]+)\b`)
)

// pointing reports whether q points at something said before: "is that eviction limited?".
func pointing(q string) bool {
	if reTemporal.MatchString(q) || reExpletive.MatchString(q) {
		return false
	}
	m := rePointing.FindStringSubmatchIndex(q)
	return m != nil && !antecedent(q[:m[0]]) && !function(strings.ToLower(q[m[2]:m[3]]))
}

// fragment recognises a question of a few words without verb or question word: "on Windows?", "the scheduler?", "weekends?".
// Without its question mark it may as well be a search for something else.
func fragment(core, asked string) bool {
	n := len(strings.Fields(core))
	if sentence(core) || dependent(core) || n > 5 {
		return false
	}
	if preposition(core) && n > 1 {
		return !sentence(strings.Join(strings.Fields(core)[1:], " "))
	}
	return strings.HasSuffix(strings.TrimSpace(asked), "?") && (n <= 2 || n <= 4 && reArticle.MatchString(core)) && len(attributes(core)) == 0 && len(contentWords(core)) > 0
}

// referentOf returns the topic as it can stand in another sentence: behind the article it had, the definite one for a thing
// that is known by now.
func referentOf(prev Exchange, topic string) string {
	if who, ok := subjectOf(prev); ok {
		return who
	}
	before, _, ok := strings.Cut(lastAsked(prev.Question), topic)
	fields := strings.Fields(before)
	if !ok || topic == "" || len(fields) == 0 {
		return topic
	}
	switch w := strings.ToLower(fields[len(fields)-1]); w {
	case "a", "an":
		if isName(topic) {
			return w + " " + topic
		}
		return "the " + topic
	case "the", "my", "our", "your":
		return w + " " + topic
	default:
		return topic
	}
}

// englishPronoun replaces the first pronoun that has nothing to refer to in its own question.
func englishPronoun(q, topic, referent string, prev Exchange) (string, bool) {
	if reExpletive.MatchString(q) || strings.Contains(strings.ToLower(q), strings.ToLower(topic)) {
		return "", false
	}
	if whole := wholeTopic(prev.Question); whole != "" && reAmount.MatchString(q) {
		referent = "the " + whole
	}
	referent = agreeing(q, referent, prev)
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
		if antecedent(q[:h.start]) || ownThing(q, h.start, h.end) {
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
		if rest := q[h.end:]; len(strings.Fields(referent)) > 4 { // "the modes of the component that ..."
			if m := reOwned.FindString(rest); m != "" {
				return replace(hit{h.start, h.end + len(m)}, "the"+m+" of "+referent)
			}
		}
		return replace(h, possessive(referent))
	}
	if h, ok := find(rePersonal, 0); ok && !determines(q, h.start, h.end) {
		return replace(h, referent)
	}
	if h, ok := find(reThis, 1); ok && !relative(q, h.start, h.end) {
		return replace(h, referent)
	}
	if m := rePredicate.FindStringSubmatchIndex(masked); m != nil {
		return replace(hit{m[2], m[3]}, referent)
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

// englishInstead asks the last question about x, in whichever language it was asked.
func englishInstead(prev Exchange, x, topic, referent string) string {
	if hasHan(prev.Question) {
		return zhInstead(prev, x, topic)
	}
	return withSlot(prev.Question, x, referent)
}

// withSlot asks the last question about something else: x takes the place of what it resembles (a time, a name, a thing of
// the same kind, what stands behind the same preposition), else it is added.
func withSlot(question, x, referent string) string {
	q := trimQuestion(question)
	if reYear.MatchString(x) && len(contentWords(reYear.ReplaceAllString(x, ""))) == 0 {
		if loc := reYear.FindStringIndex(q); loc != nil {
			return q[:loc[0]] + bridge(q[loc[0]:loc[1]], x) + q[loc[1]:] + "?"
		}
		return q + " " + x + "?"
	}
	if m := rePossessed.FindStringSubmatch(x); m != nil { // "and its limits?": another property of the same
		if loc := reProperty.FindStringSubmatchIndex(q); loc != nil {
			return q[:loc[2]] + m[2] + q[loc[3]:] + "?"
		}
		return "What about the " + m[2] + " of " + referent + "?"
	}
	prep := ""
	if first, rest, ok := strings.Cut(x, " "); ok && preposition(first) {
		prep = strings.ToLower(first)
		if at, ok := behind(q, prep); ok && !sentence(rest) {
			return place(q, at, rest) + "?"
		}
		if prep == "for" || prep == "with" || prep == "of" {
			x, prep = rest, ""
		}
	}
	if prep != "" {
		return q + " " + x + "?"
	}
	if start, end, ok := sameHead(q, x); ok {
		return place(q, span{start, end}, x) + "?"
	}
	list, as := phrases(q), kindOf(x)
	for _, w := range words(q) {
		if k := kindOf(w.of(q)); as == k && (k == timed || k == counted) {
			return place(q, w, x) + "?"
		}
	}
	if as == named {
		if known := names(q); len(known) > 0 {
			at := strings.Index(q, known[0])
			return place(q, span{at, at + len(known[0])}, x) + "?"
		}
	}
	if len(attributes(x)) > 0 {
		return "What about " + x + " for " + referent + "?"
	}
	topic := englishTopic(question)
	if at := strings.Index(q, topic); topic != "" && at >= 0 && as == kindOf(topic) {
		return place(q, span{at, at + len(topic)}, x) + "?"
	}
	for i := len(list) - 1; i >= 0; i-- {
		if kindOf(list[i].of(q)) == as {
			return place(q, list[i], x) + "?"
		}
	}
	if as == common && topic != "" { // "how do CronJobs handle time zones": what is acted on
		if _, after, ok := strings.Cut(q, topic+" "); ok {
			verb, object, ok := strings.Cut(after, " ")
			if n := len(strings.Fields(object)); ok && !function(verb) && !preposition(verb) && n <= 3 && len(contentWords(object)) == n {
				return strings.TrimSuffix(q, object) + x + "?"
			}
		}
	}
	if as == named && topic != "" {
		if at := strings.Index(q, topic); at >= 0 {
			return place(q, span{at, at + len(topic)}, x) + "?"
		}
	}
	return q + ", " + x + "?"
}

func preposition(s string) bool {
	first, _, _ := strings.Cut(s, " ")
	return slices.Contains([]string{"in", "on", "of", "to", "for", "with", "at", "from", "by", "during", "after", "before", "under", "without", "outside", "inside",
		"between", "via", "into", "onto", "through", "above", "below", "over", "against", "within", "across", "per", "like", "about"}, strings.ToLower(first))
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
	at, end, ok := lastWord(q, fields[len(fields)-1])
	if !ok {
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

// lastWord finds a word's last place in q but the first, in either case: what is in lower case may be longer or shorter.
func lastWord(q, word string) (start, end int, ok bool) {
	for end = len(q); ; end = start - 1 {
		if start = strings.LastIndexByte(q[:end], ' ') + 1; start == 0 {
			return 0, 0, false
		}
		if found, _, _ := strings.Cut(q[start:end], ","); strings.EqualFold(found, word) {
			return start, start + len(found), true
		}
	}
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

package followup

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	reFrame = regexp.MustCompile(`(?i)^(please )?((can|could|would) you (please )?)?(tell me|explain|describe|show me|list|i (want|need|would like|'d like) to (know|understand|learn)|do you know|compare|define|give me)( about| how| what| when| why| where| who| all)?( (is|are|does|do|to))?\b ?`)
	// reWh takes the question words with the helping verb; what is left begins with the thing or, after "how do I", with a
	// verb.
	reWh   = regexp.MustCompile(`(?i)^(what|which|who|whom|where|when|why|how)('s|'re)?( (much|many|long|often|far|big|large|old|fast|high|soon|kind of|kinds of|type of|types of|sort of))?( (is|are|was|were|does|do|did|can|could|will|would|should|has|have|had|must))?( not)?\b ?`)
	reHelp = regexp.MustCompile(`(?i)^(is|are|was|were|does|do|did|can|could|will|would|should|has|have|had|must|may)( there)?\b ?`)
	// rePreposition and reWhNoun open questions such as "within how many days must ...", "which documents does ...".
	rePreposition = regexp.MustCompile(`(?i)^(within|in|on|at|by|for|from|until|after|before|to|with|under|up to|during|since)\s+(how|what|which|whom|whose)\b`)
	reWhNoun      = regexp.MustCompile(`(?i)^(how (many|much)|what|which) ([a-z-]+ ){1,2}(is|are|was|were|does|do|did|can|could|will|would|should|must|may|has|have|had)\b `)
	// reActs is a thing that does something to another one: the verb before the second article ends the thing.
	reActs = regexp.MustCompile(`(?i)^(?:the|a|an) (.+?) (\S+) (?:the|a|an|my|our|your) .+$`)
	// reThere asks what there is of a thing: "which QoS classes are there?".
	reThere  = regexp.MustCompile(`(?i)^(?:which|what|how many) ((?:[a-z0-9-]+ ){0,3}[a-z0-9-]+s) (?:are|is|were) there\b`)
	reTakes  = regexp.MustCompile(`(?i)\bit (take|cost)|^is it `)
	rePerson = regexp.MustCompile(`(?i)^(i|we|you|one|people|someone|a user|users|customers?|to)\b ?`)
	reCut    = regexp.MustCompile(`(?i)\s(in|on|with|from|when|if|using|by|to|after|before|during|at|and|or|that|which|who|under|via|into|through|without|while|because|between|is|are|was|were|does|do|can|will|should|has|have|had|be|get|been|per|as)\s.*$`)
	reDoes   = regexp.MustCompile(`(?i)\b(?:does|do|did) ((?:the |a |an |my |our )?[a-z-]+(?: [a-z-]+)?) ([a-z]+)$`)
	reOf     = regexp.MustCompile(`(?i)^.*\s(of|for|about)\s+(.+)$`)
	reTail   = regexp.MustCompile(`(?i)\s(work|works|do|mean|means|cost|costs|happen|happens|take|takes|look like|different|used|called|open|close|start|end|expire|expires|born|located|founded|built|made|located|available|supported|needed|required|allowed|enabled|free|need|needs|have|offer|offers|include|includes|support|supports|require|requires)$`)
	reDet    = regexp.MustCompile(`(?i)\b(the|a|an|my|our|your|this|that|these|those)\s+`)
)

// englishTopic returns the thing that a question asks about, without its article: "gold card" for "what is the annual fee
// of the gold card?".
func englishTopic(question string) string {
	q := trimQuestion(question)
	q = reLead.ReplaceAllString(q, "")
	// "the fee (gold card)": what an earlier rewriting added.
	if open := strings.LastIndexByte(q, '('); open > 0 && strings.HasSuffix(q, ")") {
		return q[open+1 : len(q)-1]
	}
	// The last sentence is the question; what stands before it is its setting.
	for _, sep := range []string{"? ", "! "} {
		if i := strings.LastIndex(q, sep); i > 0 {
			if t := englishTopic(q[i+2:]); t != "" {
				return t
			}
			q = q[:i]
		}
	}
	if m := reThere.FindStringSubmatch(q); m != nil {
		return m[1]
	}
	if m := reSetting.FindStringSubmatch(q); m != nil { // "what happens when a node fails?", "I lost my card, what now?"
		setting := m[1] + m[2]
		if list := phrases(setting); len(list) > 0 {
			if thing := reArticle.ReplaceAllString(list[0].of(setting), ""); len(contentWords(thing)) > 0 {
				return thing
			}
		}
	}
	if verb, object, ok := actOf(q); ok && reTakes.MatchString(q) { // "how long does it take to open an account?"
		return englishTopic("how do I " + verb + object)
	}
	if m := rePreposition.FindStringSubmatch(q); m != nil {
		q = q[len(m[0])-len(m[2]):]
	}
	rest := reFrame.ReplaceAllString(q, "")
	action := false
	if m := reWhNoun.FindString(rest); m != "" && len(contentWords(rest[len(m):])) > len(attributes(rest[len(m):])) {
		rest = rest[len(m):]
	} else if m := reWh.FindString(rest); m != "" {
		rest = rest[len(m):]
	} else if m := reHelp.FindString(rest); m != "" {
		rest = rest[len(m):]
	}
	if m := rePerson.FindString(rest); m != "" {
		rest, action = rest[len(m):], true
	}
	named := rest
	if rest == q { // its capital is the sentence's
		named = lowerFirst(rest)
	}
	if list := names(named); len(list) > 0 {
		return wholeName(q, list[0])
	}
	rest = strings.TrimSpace(rest)
	if m := reActs.FindStringSubmatch(rest); m != nil && !action && !function(m[2]) && !preposition(m[2]) && !strings.Contains(m[1], " of ") && !strings.Contains(m[1], " for ") {
		rest = m[1]
	}
	if m := reOf.FindStringSubmatch(rest); m != nil && !action {
		rest = m[2]
	}
	rest = reCut.ReplaceAllString(rest, "")
	if action {
		if loc := reDet.FindStringIndex(rest); loc != nil {
			rest = rest[loc[1]:]
		} else if _, after, ok := strings.Cut(rest, " "); ok {
			rest = after
		}
		if m := reOf.FindStringSubmatch(rest); m != nil {
			rest = m[2]
		}
	}
	if m := reDoes.FindStringSubmatch(trimQuestion(question)); m != nil && !reTail.MatchString(rest) && strings.EqualFold(strings.TrimSpace(rest), m[1]+" "+m[2]) {
		rest = m[1] // "which ports does the kubelet use?": the last word is the verb
	}
	for {
		shorter := reTail.ReplaceAllString(rest, "")
		if shorter == rest {
			break
		}
		rest = shorter
	}
	rest = strings.TrimSpace(reArticle.ReplaceAllString(strings.TrimSpace(rest), ""))
	rest = reDet.ReplaceAllString(rest, "")
	for last := head(rest); rest != last && preposition(last); last = head(rest) { // "what is a Pod for"
		rest = strings.TrimSpace(strings.TrimSuffix(rest, last))
	}
	if len(contentWords(rest)) == 0 || len(attributes(rest)) == len(contentWords(rest)) || reSmall.MatchString(rest) {
		return ""
	}
	return rest
}

// wholeName returns a name with the nouns that belong to it, where an article says that they do: "Gold card" for "Gold" in
// "the Gold card".
func wholeName(q, name string) string {
	for _, p := range phrases(q) {
		whole := p.of(q)
		bare := reArticle.ReplaceAllString(whole, "")
		if bare != whole && strings.HasPrefix(bare, name+" ") {
			return bare
		}
	}
	return name
}

// wholeTopic returns the property together with the thing that has it, without article: "daily limit for online transfers".
func wholeTopic(question string) string {
	rest := reWh.ReplaceAllString(reLead.ReplaceAllString(trimQuestion(question), ""), "")
	rest = strings.TrimSpace(reArticle.ReplaceAllString(strings.TrimSpace(rest), ""))
	before, _, ok := strings.Cut(rest, " of ")
	if !ok {
		before, _, ok = strings.Cut(rest, " for ")
	}
	if !ok || len(strings.Fields(before)) > 3 || len(attributes(before)) == 0 || len(strings.Fields(rest)) > 9 {
		return ""
	}
	return rest
}

// lowerFirst takes the capital from a word that begins with one and has no other.
func lowerFirst(s string) string {
	first, rest, _ := strings.Cut(s, " ")
	if identifier(first) || strings.ToUpper(first) == first {
		return s
	}
	return strings.TrimSpace(strings.ToLower(first) + " " + rest)
}

var reSmall = regexp.MustCompile(`(?i)^(hi|hello|hey|thanks?|thank you|bye|goodbye|ok|okay|good (morning|evening|afternoon))\b`)

// names returns the runs of capitalised words in s but for the first word, and identifiers anywhere: "Acme Corp",
// "kube-proxy", "StatefulSet".
func names(s string) []string {
	var out []string
	var run []string
	flush := func() {
		if len(run) > 0 {
			out = append(out, strings.Join(run, " "))
		}
		run = nil
	}
	begin := true
	for _, field := range strings.Fields(s) {
		word := strings.Trim(field, `,.;:!?"'()[]*_`+"`")
		word = strings.TrimSuffix(word, "'s")
		switch {
		case identifier(word):
			flush()
			out = append(out, word)
		case capital(word) && !function(strings.ToLower(word)) && !(begin && len(run) == 0 && sentence(word)):
			run = append(run, word)
		default:
			flush()
		}
		if strings.ContainsAny(field[len(field)-1:], ",.;:!?)") {
			flush()
		}
		begin = strings.ContainsAny(field[len(field)-1:], ".!?")
	}
	flush()
	return out
}

func isName(s string) bool {
	list := names(s)
	return len(list) == 1 && strings.EqualFold(list[0], reArticle.ReplaceAllString(s, ""))
}

func capital(w string) bool {
	r, _ := utf8.DecodeRuneInString(w)
	return unicode.IsUpper(r)
}

// identifier recognises what no dictionary holds: inner capitals, digits, dashes, dots and slashes among letters.
func identifier(w string) bool {
	letters, marks := 0, 0
	for i, r := range w {
		switch {
		case unicode.IsLetter(r):
			letters++
			if i > 0 && unicode.IsUpper(r) && strings.ToUpper(w) != w {
				marks++
			}
		case i > 0 && i < len(w)-1 && strings.ContainsRune("-._/", r):
			marks++
		case unicode.IsDigit(r):
		default:
			return false
		}
	}
	if strings.Contains(w, "-") && !strings.ContainsAny(w, "._/") && strings.ToLower(w) == w && !strings.HasPrefix(w, "kube") {
		return false // "read-only" is a word
	}
	return letters > 1 && marks > 0
}

// contentWords returns the words of s that are no function words, in lower case.
func contentWords(s string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '\''
	}) {
		if w = strings.Trim(w, "'-"); w != "" && !function(w) {
			out = append(out, w)
		}
	}
	return out
}

// attributes returns the words of s that name a property or an act that any topic may have; a question of nothing else has
// no topic of its own.
func attributes(s string) []string {
	var out []string
	for _, w := range contentWords(s) {
		if attribute(w) {
			out = append(out, w)
		}
	}
	return out
}

// attributeOnly reports whether a question asks for a property without saying of what: "how much does it cost" without the
// it, "what are the requirements?".
func attributeOnly(q string) bool {
	words := contentWords(q)
	return len(words) > 0 && len(words) <= 4 && len(attributes(q)) == len(words) && !reTemporal.MatchString(q)
}

func function(w string) bool {
	switch w {
	case "a", "an", "the", "this", "that", "these", "those", "there", "here", "i", "me", "my", "we", "us", "our", "you", "your",
		"he", "him", "his", "she", "her", "it", "its", "they", "them", "their", "one", "ones", "same", "am", "is", "are", "was", "were",
		"be", "been", "being", "do", "does", "did", "done", "has", "have", "had", "having", "can", "could", "will", "would", "shall",
		"should", "may", "might", "must", "and", "or", "but", "nor", "not", "no", "so", "if", "then", "than", "as", "because", "of", "at",
		"by", "for", "with", "about", "into", "to", "from", "in", "on", "what", "which", "who", "whom", "whose", "when", "where", "why",
		"how", "many", "much", "long", "often", "also", "still", "too", "please", "just", "really", "exactly", "actually", "usually",
		"always", "ever", "any", "some", "all", "more", "most", "other", "else", "only", "both", "each", "it's", "that's", "what's",
		"don't", "doesn't", "isn't", "can't", "ok", "okay", "thanks", "first", "next", "again", "now", "up", "out", "over", "get", "got", "go", "i'm", "since", "until":
		return true
	}
	return false
}

func attribute(w string) bool {
	switch strings.TrimSuffix(w, "s") {
	case "default", "limit", "cost", "fee", "price", "requirement", "deadline", "step", "example", "difference", "purpose", "syntax",
		"version", "size", "command", "advantage", "disadvantage", "alternative", "risk", "benefit", "detail", "reason", "result",
		"option", "setting", "value", "condition", "exception", "restriction", "limitation", "drawback", "use", "usage", "maximum",
		"minimum", "max", "min", "duration", "date", "address", "name", "owner", "author", "procedure", "documentation", "document",
		"rule", "procedures", "work", "enable", "disable", "configure", "set", "change", "install", "apply", "mean", "happen",
		"need", "take", "start", "stop", "delete", "remove", "create", "update", "cancel", "expire", "enabled", "disabled", "configured",
		"changed", "installed", "applied", "required", "needed", "used", "deleted", "removed", "created", "updated", "cancelled",
		"canceled", "mandatory", "optional", "free", "safe", "possible", "available", "supported", "charge", "charged", "pay", "qualify",
		"eligible", "upgrade", "check", "verify", "test", "fix", "avoid", "prevent", "monitor", "debug", "troubleshoot":
		return true
	}
	return w == "process" || w == "prerequisites" || w == "pros" || w == "cons" || w == "series"
}

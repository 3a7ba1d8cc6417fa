package followup

import (
	"regexp"
	"slices"
	"strings"
)

// span is a part of a question: q[start:end].
type span struct{ start, end int }

var (
	reWord = regexp.MustCompile(`[\pL\pN][\pL\pN'’._/-]*`)
	reDay  = regexp.MustCompile(`(?i)^((public |bank )?holidays?|weekdays?|weekends?|(mon|tues|wednes|thurs|fri|satur|sun)days?|mornings?|evenings?|afternoons?|nights?|working days|business days)$`)
	reUnit = regexp.MustCompile(`(?i)^\d[\d.,]*( ?[a-zµ%€$]{1,10})?$`)
)

// words returns where the words of s stand, but for full stops and dashes at their ends.
func words(s string) []span {
	var out []span
	for _, m := range reWord.FindAllStringIndex(s, -1) {
		out = append(out, span{m[0], m[0] + len(strings.TrimRight(s[m[0]:m[1]], ".-_/'’"))})
	}
	return out
}

func (p span) of(s string) string { return s[p.start:p.end] }

// determiner reports whether a word only says which one is meant: "the", "my".
func determiner(w string) bool {
	return slices.Contains([]string{"the", "a", "an", "my", "our", "your", "this", "that", "these", "those", "some", "any", "each", "every"}, strings.ToLower(w))
}

// ends reports whether no noun phrase goes on over what stands between two of its words, or over the word itself.
func ends(gap, word string) bool {
	w := strings.ToLower(word)
	return strings.Trim(gap, " ") != "" || function(w) || preposition(w) || slices.Contains([]string{"versus", "vs", "per", "via", "while"}, w)
}

// phrases returns the noun phrases of q that can be told without a dictionary, in order: what stands behind a determiner or
// a preposition. The determiner is part of the phrase, the preposition is not.
func phrases(q string) []span {
	list := words(q)
	var out []span
	for i := 0; i < len(list); i++ {
		w := list[i].of(q)
		var first int
		switch {
		case determiner(w):
			first = i + 1
		case preposition(w) && i+1 < len(list) && !determiner(list[i+1].of(q)):
			first = i + 1
			i++
		default:
			continue
		}
		end := first
		for end < len(list) && end-first < 5 {
			gap := " "
			if end > first {
				gap = q[list[end-1].end:list[end].start]
			}
			if ends(gap, list[end].of(q)) || end > first && single(w) && plural(list[end].of(q)) { // "a node fails"
				break
			}
			end++
		}
		if end > first {
			out = append(out, span{list[i].start, list[end-1].end})
			i = end - 1
		}
	}
	return out
}

func single(article string) bool {
	return strings.EqualFold(article, "a") || strings.EqualFold(article, "an")
}

// behind returns the noun phrase in q behind a preposition, the last one when there are several.
func behind(q, prep string) (span, bool) {
	list := phrases(q)
	for i := len(list) - 1; i >= 0; i-- {
		before := strings.Fields(strings.ToLower(q[:list[i].start]))
		if n := len(before); n > 0 && before[n-1] == prep {
			return list[i], true
		}
	}
	return span{}, false
}

// kind is what a noun phrase is made of, as far as it can be seen: a phrase takes the place of one of its own kind.
type kind uint8

const (
	common kind = iota
	named
	timed
	counted
)

func kindOf(phrase string) kind {
	bare := reArticle.ReplaceAllString(phrase, "")
	switch {
	case reDay.MatchString(bare), reYear.FindString(bare) == bare && bare != "":
		return timed
	case reUnit.MatchString(bare):
		return counted
	case isName(phrase):
		return named
	default:
		return common
	}
}

// place puts x where a noun phrase stands in q, with one article: its own where it has one, else the old one as far as it
// goes with x.
func place(q string, at span, x string) string {
	if reArticle.MatchString(x) {
		if before := strings.Fields(q[:at.start]); len(before) > 0 && determiner(before[len(before)-1]) {
			at.start = strings.LastIndex(q[:at.start], before[len(before)-1])
		}
		return q[:at.start] + x + q[at.end:]
	}
	if old := reArticle.FindString(at.of(q)); old != "" && !plural(x) && (kindOf(x) != named || single(strings.TrimSpace(old))) && (kindOf(at.of(q)) == kindOf(x)) {
		x = agree(old) + x
		if strings.EqualFold(strings.TrimSpace(old), "an") || strings.EqualFold(strings.TrimSpace(old), "a") {
			x = indefinite(reArticle.ReplaceAllString(x, ""))
		}
		return q[:at.start] + x + q[at.end:]
	}
	before := q[:at.start]
	if fields := strings.Fields(before); len(fields) > 0 {
		if last := fields[len(fields)-1]; strings.EqualFold(last, "a") || strings.EqualFold(last, "an") {
			cut := strings.LastIndex(before, last)
			if plural(x) {
				return before[:cut] + x + q[at.end:]
			}
			return before[:cut] + indefinite(x) + q[at.end:]
		}
	}
	return before + x + q[at.end:]
}

func agree(article string) string { return strings.ToLower(strings.TrimSpace(article)) + " " }

// indefinite puts "a" or "an" before x, by its first letter.
func indefinite(x string) string {
	if x != "" && strings.ContainsRune("aeiouAEIOU", rune(x[0])) {
		return "an " + x
	}
	return "a " + x
}

// plural reports whether a phrase looks like more than one thing.
func plural(x string) bool {
	w := strings.ToLower(x[strings.LastIndexByte(x, ' ')+1:])
	return len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us") && !strings.HasSuffix(w, "is") && !identifier(x)
}

// head is the last word of a phrase, which says what kind of thing it is: "card" of "gold card".
func head(phrase string) string { return phrase[strings.LastIndexByte(phrase, ' ')+1:] }

var reJoint = regexp.MustCompile(`(?i) (and|or|vs\.?|versus|different from|differs? from|compared (?:to|with)|(?:better|cheaper|faster|safer) than) `)

// pairOf returns the two things that a question sets side by side, with their articles: "a Pod", "a Job".
func pairOf(question string) (left, right string, ok bool) {
	q := trimQuestion(question)
	loc := reJoint.FindStringIndex(q)
	if loc == nil {
		return "", "", false
	}
	before, after := words(q[:loc[0]]), words(q[loc[1]:])
	start := len(before)
	for start > 0 && len(before)-start < 3 {
		w := before[start-1].of(q)
		if function(strings.ToLower(w)) || preposition(w) || sentence(w) || start < len(before) && ends(q[before[start-1].end:before[start].start], w) {
			break
		}
		start--
	}
	if start == len(before) {
		return "", "", false
	}
	if start > 0 && reArticle.MatchString(before[start-1].of(q)+" ") {
		start--
	} else if len(before)-start > 1 && start > 0 && function(strings.ToLower(before[start-1].of(q))) && pronounSubject(before[start-1].of(q)) {
		start++ // "should I use X or Y": the verb is none of the two
	}
	left = q[before[start].start:loc[0]]
	rest := q[loc[1]:]
	end := 0
	for end < len(after) && end < 4 {
		w := after[end].of(rest)
		if end > 0 && ends(rest[after[end-1].end:after[end].start], w) || end == 0 && !determiner(w) && function(strings.ToLower(w)) {
			break
		}
		end++
	}
	if end == 0 || end == 1 && determiner(after[0].of(rest)) {
		return "", "", false
	}
	return left, rest[after[0].start:after[end-1].end], true
}

func pronounSubject(w string) bool {
	return slices.Contains([]string{"i", "we", "you", "one", "they"}, strings.ToLower(w))
}

var (
	reAct   = regexp.MustCompile(`(?i)^(?:(?:and|so|then|please)[ ,]+)*(?:(?:how|where|when|why) (?:do|can|could|should|would|must|may) (?:i|we|you|one)|how to|(?:can|could|may|should|do|must) (?:i|we|you)|what (?:do|should) (?:i|we|you) (?:need|have) to|(?:how long|what|how much) (?:does|would|will) it (?:take|cost)(?: me| us)? to|is it (?:[a-z]+ )?to|do (?:i|we|you) (?:need|have) to)\s+([a-z]+)\b(.*)$`)
	reNoAct = regexp.MustCompile(`(?i)^(be|have|do|need|know|want|see)$`)
)

// actOf returns what a question asks how, whether or when to do: "close" and " my account" of "how do I close my account?".
func actOf(question string) (verb, rest string, ok bool) {
	m := reAct.FindStringSubmatch(lastAsked(question))
	if m == nil || reNoAct.MatchString(m[1]) || len(strings.Fields(m[2])) > 12 {
		return "", "", false
	}
	return strings.ToLower(m[1]), m[2], true
}

// lastAsked returns the last sentence of a question without its mark.
func lastAsked(question string) string {
	q := trimQuestion(question)
	for _, sep := range []string{"? ", "! ", ". "} {
		if i := strings.LastIndex(q, sep); i > 0 {
			q = q[i+2:]
		}
	}
	return q
}

// gerund returns the -ing form of a verb.
func gerund(verb string) string {
	n := len(verb)
	vowel := func(i int) bool { return i >= 0 && strings.IndexByte("aeiou", verb[i]) >= 0 }
	switch {
	case n < 2:
		return verb + "ing"
	case strings.HasSuffix(verb, "ie"):
		return verb[:n-2] + "ying"
	case verb[n-1] == 'e' && !strings.HasSuffix(verb, "ee") && !strings.HasSuffix(verb, "oe") && !strings.HasSuffix(verb, "ye"):
		return verb[:n-1] + "ing"
	case n >= 3 && !vowel(n-1) && strings.IndexByte("wxy", verb[n-1]) < 0 && vowel(n-2) && !vowel(n-3) && (syllables(verb) == 1 || strings.HasSuffix(verb, "mit") || strings.HasSuffix(verb, "fer")):
		return verb + verb[n-1:] + "ing"
	default:
		return verb + "ing"
	}
}

func syllables(w string) int {
	n, before := 0, false
	for i := range len(w) {
		is := strings.IndexByte("aeiouy", w[i]) >= 0
		if is && !before {
			n++
		}
		before = is
	}
	return n
}

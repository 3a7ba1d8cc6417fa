package followup

import (
	"regexp"
	"strings"
)

var (
	// reWhichDoes asks for a thing by what it does: "which plugin filters nodes?".
	reWhichDoes = regexp.MustCompile(`(?i)^(?:which|what) ((?:[a-z][a-z-]* ){0,3}[a-z-]*[a-rt-z]) ([a-z]+s|can|may|must|will) (.{3,80})$`)
	reWhoDoes   = regexp.MustCompile(`(?i)^(who|what) ([a-z]+(?:s|ed)) (.{3,80})$`)
	reKindOf    = regexp.MustCompile(`(?i)^(?:kind|type|sort|class) of `)
	reThey      = regexp.MustCompile(`(?i)\b(they|them|their|both|these|those)\b`)
	reSetting   = regexp.MustCompile(`(?i)^(?:what (?:happens|should (?:i|we) do|do (?:i|we) do|can (?:i|we) do|to do|now)|how do (?:i|we) know)\b.{0,20}?\b(?:when|if|once|after) (.+)$|^((?:i|we|my|our|the|somebody|someone) .+?)[,.;] (?:and )?(?:what|how|is|can|do) .+$`)
)

// maxHeard bounds how much of an answer is looked at, in bytes: who is meant stands at its beginning.
const maxHeard = 1200

// subjectOf returns what a question asked for, where it asked for a thing by what it does ("which plugin filters nodes?"):
// the thing that the answer and the title it cites agree on, else what was said of it ("the plugin that filters nodes").
func subjectOf(e Exchange) (string, bool) {
	q := lastAsked(e.Question)
	said := ""
	if m := reWhichDoes.FindStringSubmatch(q); m != nil && len(contentWords(m[1])) == len(strings.Fields(m[1])) && !reHelp.MatchString(m[2]+" ") || m != nil && reKindOf.MatchString(m[1]) {
		said = "the " + m[1] + " that " + m[2] + " " + m[3]
	} else if m := reWhoDoes.FindStringSubmatch(q); m != nil && !function(strings.ToLower(m[2])) && !reHelp.MatchString(m[3]) && !strings.EqualFold(m[2], "happens") && !attribute(strings.ToLower(m[2])) {
		said = "the one that " + m[2] + " " + m[3]
		if strings.EqualFold(m[1], "who") {
			said = "the one who " + m[2] + " " + m[3]
		}
	}
	if said == "" {
		return "", false
	}
	if name, ok := agreed(e); ok {
		return name, true
	}
	return said, true
}

// agreed returns the first cited title that the answer's beginning has word for word and the question has not.
func agreed(e Exchange) (string, bool) {
	answer := strings.ToLower(cut(e.Answer, maxHeard))
	asked := strings.ToLower(e.Question)
	for _, title := range e.Titles[:min(len(e.Titles), 8)] {
		title = strings.TrimSpace(title)
		bare := strings.ToLower(title)
		for _, form := range []string{bare, strings.TrimSuffix(bare, "s")} {
			if len(form) < 4 || len(form) > 60 || strings.Contains(asked, form) || !strings.Contains(answer, form) {
				continue
			}
			if hasHan(title) || identifier(title) {
				return title, true
			}
			if plural(bare) {
				return bare, true
			}
			return "the " + bare, true
		}
	}
	return "", false
}

// cut returns at most n bytes of s, whole characters.
func cut(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// agreeing returns what a pronoun of q means: the referent, unless another thing in the last question fits its number and the
// referent doesn't.
func agreeing(q, referent string, prev Exchange) string {
	if reThey.MatchString(q) {
		if left, right, ok := pairOf(prev.Question); ok && !strings.Contains(referent, " and ") {
			return left + " and " + right
		}
		if plural(referent) {
			return referent
		}
		asked := lastAsked(prev.Question)
		for _, p := range phrases(asked) {
			if x := p.of(asked); plural(x) && kindOf(x) == common {
				return x
			}
		}
		if reThing.MatchString(q) && kindOf(referent) == common && !strings.HasPrefix(referent, "the one ") && len(strings.Fields(referent)) <= 4 {
			return pluralOf(reArticle.ReplaceAllString(referent, ""))
		}
	}
	return referent
}

// reThing are the forms of "they" that speak of a kind rather than of several of one.
var reThing = regexp.MustCompile(`(?i)\b(they|them|these|those)\b`)

// singularOf returns one of what a phrase names.
func singularOf(s string) string {
	switch {
	case strings.HasSuffix(s, "ies"):
		return strings.TrimSuffix(s, "ies") + "y"
	case plural(s) || len(s) > 3 && identifier(s) && strings.HasSuffix(s, "s") && !strings.HasSuffix(s, "ss"):
		return strings.TrimSuffix(s, "s")
	default:
		return s
	}
}

func pluralOf(s string) string {
	switch {
	case s == "" || plural(s):
		return s
	case strings.HasSuffix(s, "y") && len(s) > 1 && !strings.ContainsRune("aeiou", rune(s[len(s)-2])):
		return s[:len(s)-1] + "ies"
	case strings.HasSuffix(s, "s"), strings.HasSuffix(s, "x"), strings.HasSuffix(s, "ch"), strings.HasSuffix(s, "sh"):
		return s + "es"
	default:
		return s + "s"
	}
}

// ownThing reports whether a possessive, or a person's pronoun, means what its own sentence names before it: "what did the
// bank say in its letter", "when did Smith say that he left". What is asked for ("which modes are its ...") is not named.
func ownThing(q string, start, end int) bool {
	word := strings.ToLower(strings.TrimSpace(q[start:end]))
	before := reWhNoun.ReplaceAllString(q[:start], "")
	if before == q[:start] {
		before = reWhThing.ReplaceAllString(before, "")
	}
	switch {
	case rePossessive.MatchString(word + " x"):
		return len(names(lowerFirst(before))) > 0 || definite(before)
	case rePersonPronoun.MatchString(word):
		return len(names(lowerFirst(before))) > 0
	default:
		return false
	}
}

var (
	reWhThing  = regexp.MustCompile(`(?i)^(what|which|whose) [a-z-]+`)
	reDefNoun  = regexp.MustCompile(`(?i)\b(the|a|an|each|every|this|that) ([a-z0-9-]+)`)
	reProperty = regexp.MustCompile(`(?i)\bthe ([a-z-]+(?: [a-z-]+)?) of \S`)
)

// definite reports whether s names a thing behind an article, other than a mere property of one.
func definite(s string) bool {
	for _, m := range reDefNoun.FindAllStringSubmatch(s, 4) {
		if noun := strings.ToLower(m[2]); !attribute(noun) && !function(noun) {
			return true
		}
	}
	return false
}

// determines reports whether "these" or "those" stands before the things that it speaks of: "these donations".
func determines(q string, start, end int) bool {
	rest := strings.Fields(q[end:])
	return len(rest) > 0 && reTheseThose.MatchString(q[start:end]) && plural(strings.Trim(rest[0], ".,;:!?"))
}

// relative reports whether "that" belongs to the noun before it: "a festival that is held in winter".
func relative(q string, start, end int) bool {
	before, after := strings.Fields(q[:start]), strings.Fields(q[end:])
	if !strings.EqualFold(q[start:end], "that") || len(before) == 0 || len(after) == 0 {
		return false
	}
	last := strings.ToLower(before[len(before)-1])
	return !function(last) && !preposition(last)
}

var (
	reWhenAsk    = regexp.MustCompile(`(?i)^when (is|are|was|were|do|does|did|can|could|will|would|should|must|may|has|have|had)\b`)
	reTheseThose = regexp.MustCompile(`(?i)^(these|those)$`)
	reCondition  = regexp.MustCompile(`(?i)^(when|if|before|after|while|once|because|since|although|unless|whenever) (the |a |an |my |our )?[a-z]`)
)

// antecedent reports whether what stands before a pronoun holds a thing of its own in an earlier clause, which the pronoun
// then means: "what is a Pod and how does it work".
func antecedent(before string) bool {
	if reCondition.MatchString(before) && !reWhenAsk.MatchString(before) && len(contentWords(before)) > 1 {
		return true
	}
	loc := reClause.FindAllStringIndex(before, -1)
	if len(loc) == 0 {
		return false
	}
	return len(contentWords(before[:loc[len(loc)-1][0]])) > 0
}

package evidence

import (
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/text"
)

// answerKind is the kind of thing a question asks for.
type answerKind uint8

const (
	anything answerKind = iota
	person
	place
	moment   // a date, year, time of day
	quantity // a number, with or without a unit
	duration // how long, how often
	reason
	manner     // how to
	definition // what is X, what does X do
	listing    // which ones there are
	yesNo
	occasion // when something happens each time, rather than on which date
	setting  // the value something is set to, often by default
)

// isValue reports whether an answer of kind k is recognised reliably, so that a
// text without one hardly answers.
func (k answerKind) isValue() bool {
	return k == quantity || k == duration || k == moment || k == setting
}

// isName reports whether an answer of kind k is mostly a name.
func (k answerKind) isName() bool { return k == person || k == place }

// answer is what a question expects.
type answer struct {
	kind answerKind
	// head is the byte offset of the noun that only names the kind ("year" in
	// "what year"), counted that of what is counted ("pods" in "how many pods");
	// -1 when there is none.
	head, counted int
}

// expectation reads off the question word, and the noun beside it, what kind of
// answer s asks for.
func expectation(s string, tokens []text.Token, chinese bool) answer {
	if chinese {
		a := only(expectChinese(s))
		if a.kind == quantity || a.kind == duration {
			a.counted = chineseCounted(s)
		}
		if strings.Contains(s, "默认") && !asksKind(s) && (a.kind == anything || a.kind == definition || a.kind == quantity && strings.Contains(s, "值")) {
			a.kind = setting
		}
		return a
	}
	a := expectEnglish(s, tokens)
	if (a.kind == anything || a.kind == definition || a.kind == yesNo) && strings.Contains(s, "default") && !asksKind(s) {
		a.kind = setting
	}
	return a
}

// asksKind reports whether a question asks which of several kinds ("which type of", 哪种): the answer is a plain word, not a
// value as a setting has.
func asksKind(s string) bool {
	s = strings.ToLower(s)
	for _, w := range [...]string{"kind of", "type of", "sort of", "form of", "which mode", "which method", "which strategy", "which policy", "哪种", "哪一种", "何种", "什么样的"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func expectEnglish(s string, tokens []text.Token) answer {
	words := make([]string, 0, len(tokens))
	for _, t := range tokens {
		words = append(words, strings.ToLower(s[t.Start:t.End]))
	}
	for i, w := range words {
		next := at(words, i+1)
		switch w {
		case "who", "whom", "whose", "who's":
			return only(person)
		case "when", "when's":
			if i == 0 || i == len(words)-1 || i > 0 && isPreposition(words[i-1]) {
				switch next {
				case "do", "does", "is", "are", "can", "should", "will", "must", "i":
					return only(occasion)
				}
				return only(moment)
			}
		case "where":
			if i == 0 || i == len(words)-1 {
				return only(place)
			}
		case "why":
			return only(reason)
		case "how":
			a := expectHow(i, next)
			if a.kind == quantity && i+2 < len(words) && (next == "many" || next == "much") {
				a.counted = tokens[i+2].Start
			}
			return a
		case "what", "which", "what's":
			for k := i + 1; k < len(words) && k <= i+4; k++ {
				if kind, repeated := headNoun(words[k]); kind != anything {
					a := only(kind)
					if !repeated {
						a.head = tokens[k].Start
					}
					return a
				}
				if k > i+1 && tokens[k].Stop && words[k] != "of" && words[k] != "the" {
					break
				}
			}
			return expectWhat(words, i)
		}
	}
	switch at(words, 0) {
	case "is", "are", "was", "were", "do", "does", "did", "can", "could", "will", "would", "should", "has", "have", "may", "must":
		return only(yesNo)
	}
	return only(anything)
}

// expectWhat tells what "what" or "which" asks for when no noun beside it does.
func expectWhat(words []string, i int) answer {
	next, last := at(words, i+1), words[len(words)-1]
	switch {
	case next == "are" && (i == 0 || i == 1):
		return only(listing)
	case (next == "does" || next == "do") && last == "do", next == "is" && last == "for":
		return only(definition)
	case i == 0 && (words[i] == "what's" || next == "is") && len(words) <= i+6:
		return only(definition)
	}
	return only(anything)
}

func only(k answerKind) answer { return answer{kind: k, head: -1, counted: -1} }

func expectHow(i int, next string) answer {
	switch next {
	case "long":
		return only(duration)
	case "often", "frequently":
		return only(duration)
	case "many", "much", "far", "tall", "big", "old", "large", "high", "deep", "fast", "wide", "heavy", "hot", "cold":
		return only(quantity)
	case "to", "do", "can", "should":
		if i == 0 || next == "to" {
			return only(manner)
		}
	}
	return only(anything)
}

func isPreposition(w string) bool {
	switch w {
	case "since", "until", "by", "from", "in", "on":
		return true
	}
	return false
}

// headNoun tells what kind of answer a noun after "what" or "which" asks for, and
// whether the answering sentence is likely to repeat the noun.
func headNoun(w string) (kind answerKind, repeated bool) {
	switch w {
	case "year", "years", "date", "day", "month", "century", "decade", "season", "period", "era":
		return moment, false
	case "city", "country", "countries", "cities", "state", "town", "place", "location", "county", "region", "continent", "nation",
		"street", "river", "area", "district", "province", "village", "island", "building":
		return place, false
	case "percent", "percentage", "number", "amount", "proportion", "fraction":
		return quantity, false
	case "population", "size", "temperature", "length", "height", "distance", "cost", "price", "limit", "maximum", "minimum", "rate",
		"age", "weight", "speed", "fee", "ratio", "depth", "port":
		return quantity, true
	case "kinds", "types", "classes", "modes", "options", "phases", "states", "categories", "components", "fields", "values":
		return listing, true
	case "purpose", "role", "function":
		return definition, false
	case "timeout", "interval", "duration", "deadline":
		return duration, true
	case "person", "president", "king", "queen", "author", "singer", "man", "woman", "actor", "actress", "emperor", "scientist",
		"scholar", "player", "leader", "minister", "director", "general", "doctor", "writer", "artist", "people":
		return person, false
	}
	return anything, false
}

// questionWords are the Chinese question words of one kind.
type questionWords struct {
	kind  answerKind
	words []string
}

// chineseQuestions are the question words of Chinese, the more specific kinds
// first.
func chineseQuestions() []questionWords {
	return []questionWords{
		{duration, []string{"多久", "多长时间", "几天", "几年", "几小时", "几分钟", "几个月", "多少天", "多少年", "多少小时", "多少分钟", "多少秒", "几秒"}},
		{occasion, []string{"什么时候", "什么情况下", "何种情况"}},
		{moment, []string{"何时", "什么时间", "哪一年", "哪年", "哪一天", "哪天", "几月", "几点", "哪个月", "什么年代", "何年", "哪个世纪", "哪个时期", "什么时期"}},
		{quantity, []string{"多少", "几", "多大", "多高", "多长", "多远", "多深", "多重", "多宽"}},
		{place, []string{"哪里", "哪儿", "何处", "什么地方", "何地", "哪个国家", "哪个城市", "哪座城市", "哪个省", "哪国", "哪个地区", "什么位置", "哪个地方", "哪个县", "哪个市"}},
		{person, []string{"谁", "何人", "哪位", "什么人", "哪个人"}},
		{reason, []string{"为什么", "为何", "什么原因", "原因"}},
		{manner, []string{"如何", "怎么样", "怎么", "怎样"}},
		{definition, purposes()},
		{definition, []string{"是什么", "什么是", "指什么", "是指", "何谓"}},
		{listing, []string{"有哪些", "哪些", "哪几种", "哪几类", "哪几个", "哪几"}},
		{yesNo, []string{"吗", "是否", "能否", "可否", "能不能", "可不可以", "是不是", "会不会"}},
		{anything, []string{"什么", "哪种", "哪个", "哪一个", "哪一", "何种", "请问", "有何"}},
	}
}

// purposes are the Chinese ways to ask what something is for.
func purposes() []string {
	return []string{"有什么作用", "有何作用", "起什么作用", "的作用是什么", "有什么用途", "有什么用", "的用途是什么", "是做什么的", "是干什么的", "做什么用", "有什么功能"}
}

func expectChinese(s string) answerKind {
	for _, q := range chineseQuestions() {
		for _, w := range q.words {
			if strings.Contains(s, w) && (q.kind != definition || strings.HasPrefix(s, "什么是") || strings.HasPrefix(s, "何谓") || isShort(s) || slices.Contains(purposes(), w)) {
				return q.kind
			}
		}
	}
	return anything
}

// chineseCounted is the byte offset of what a Chinese question counts: the word
// after 多少个, or -1.
func chineseCounted(s string) int {
	for _, sp := range framing(s) {
		if sp.End < len(s) && !strings.HasPrefix(s[sp.End:], "？") && !strings.HasPrefix(s[sp.End:], "?") {
			return sp.End
		}
	}
	return -1
}

// isShort reports whether a Chinese question can be no more than "X是什么？".
func isShort(s string) bool {
	return strings.Count(s, "的") == 0 && len(text.Tokens(s)) <= 16
}

// framing finds the question words in a Chinese question, in order: characters
// that belong to no word an answer shares.
func framing(s string) []text.Span {
	var out []text.Span
	questions := chineseQuestions()
	for i := 0; i < len(s); {
		longest := 0
		for _, q := range questions {
			for _, w := range q.words {
				if q.kind != reason || w != "原因" {
					if len(w) > longest && strings.HasPrefix(s[i:], w) {
						longest = len(w)
					}
				}
			}
		}
		if longest == 0 {
			i++
			continue
		}
		end := i + longest
		if strings.HasPrefix(s[end:], "个") {
			end += len("个")
		}
		out = append(out, text.Span{Start: i, End: end})
		i = end
	}
	return out
}

func at(words []string, i int) string {
	if i < 0 || i >= len(words) {
		return ""
	}
	return words[i]
}

package evidence

import (
	"strings"
	"unicode"

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
	definition // what is X
	yesNo
)

// answer is what a question expects.
type answer struct {
	kind answerKind
	head int // byte offset of the noun that names the kind ("year" in "what year"); -1 when none
}

// expectation reads off the question word, and the noun beside it, what kind of
// answer s asks for.
func expectation(s string, tokens []text.Token, chinese bool) answer {
	if chinese {
		return answer{kind: expectChinese(s), head: -1}
	}
	words := make([]string, 0, len(tokens))
	for _, t := range tokens {
		words = append(words, strings.ToLower(s[t.Start:t.End]))
	}
	for i, w := range words {
		next, after := at(words, i+1), at(words, i+2)
		switch w {
		case "who", "whom", "whose", "who's":
			return answer{person, -1}
		case "when", "when's":
			if i == 0 || i == len(words)-1 || i > 0 && isPreposition(words[i-1]) {
				return answer{moment, -1}
			}
		case "where":
			if i == 0 || i == len(words)-1 {
				return answer{place, -1}
			}
		case "why":
			return answer{reason, -1}
		case "how":
			return expectHow(i, next, after)
		case "what", "which", "what's":
			for k := i + 1; k < len(words) && k <= i+4; k++ {
				if kind := headNoun(words[k]); kind != anything {
					return answer{kind, tokens[k].Start}
				}
				if k > i+1 && tokens[k].Stop && words[k] != "of" && words[k] != "the" {
					break
				}
			}
			if i == 0 && (w == "what's" || next == "is" || next == "are") && len(words) <= i+6 {
				return answer{definition, -1}
			}
			return answer{anything, -1}
		}
	}
	switch at(words, 0) {
	case "is", "are", "was", "were", "do", "does", "did", "can", "could", "will", "would", "should", "has", "have", "may", "must":
		return answer{yesNo, -1}
	}
	return answer{anything, -1}
}

func expectHow(i int, next, after string) answer {
	switch next {
	case "long":
		return answer{duration, -1}
	case "often", "frequently":
		return answer{duration, -1}
	case "many", "much", "far", "tall", "big", "old", "large", "high", "deep", "fast", "wide", "heavy", "hot", "cold":
		return answer{quantity, -1}
	case "to", "do", "can", "should":
		if i == 0 || next == "to" {
			return answer{manner, -1}
		}
	}
	_ = after
	return answer{anything, -1}
}

func isPreposition(w string) bool {
	switch w {
	case "since", "until", "by", "from", "in", "on":
		return true
	}
	return false
}

// headNoun tells what kind of answer a noun after "what" or "which" asks for.
func headNoun(w string) answerKind {
	switch w {
	case "year", "years", "date", "day", "month", "century", "decade", "season", "period", "era":
		return moment
	case "city", "country", "countries", "cities", "state", "town", "place", "location", "county", "region", "continent", "nation",
		"street", "river", "area", "district", "province", "village", "island", "building":
		return place
	case "percent", "percentage", "number", "amount", "population", "size", "temperature", "length", "height", "distance", "cost",
		"price", "limit", "maximum", "minimum", "rate", "age", "weight", "speed", "proportion", "fraction", "fee", "ratio", "depth":
		return quantity
	case "person", "president", "king", "queen", "author", "singer", "man", "woman", "actor", "actress", "emperor", "scientist",
		"scholar", "player", "leader", "minister", "director", "general", "doctor", "writer", "artist", "people":
		return person
	}
	return anything
}

// expectChinese looks for the question words of Chinese, the more specific ones
// first.
func expectChinese(s string) answerKind {
	for _, q := range [...]struct {
		kind  answerKind
		words []string
	}{
		{duration, []string{"多久", "多长时间", "几天", "几年", "几小时", "几分钟", "几个月", "多少天", "多少年", "多少小时", "多少分钟", "多少秒", "几秒", "多长周期"}},
		{moment, []string{"何时", "什么时候", "什么时间", "哪年", "哪一年", "哪天", "哪一天", "几月", "几点", "哪个月", "什么年代", "何年", "哪个世纪", "时间是", "哪个时期", "什么时期"}},
		{quantity, []string{"多少", "几", "多大", "多高", "多长", "多远", "多深", "多重", "多宽", "比例", "人口", "上限", "面积", "默认值"}},
		{place, []string{"哪里", "哪儿", "何处", "什么地方", "何地", "哪个国家", "哪个城市", "哪座城市", "哪个省", "哪国", "哪个地区", "什么位置", "哪个地方", "哪个县", "哪个市"}},
		{person, []string{"谁", "何人", "哪位", "什么人", "哪个人"}},
		{reason, []string{"为什么", "为何", "原因", "因为什么", "缘故"}},
		{manner, []string{"如何", "怎么", "怎样"}},
		{definition, []string{"是什么？", "是什么?", "什么是", "指什么", "是指", "含义", "定义"}},
		{yesNo, []string{"吗", "是否", "能否", "可否", "能不能", "可不可以", "是不是", "会不会"}},
	} {
		for _, w := range q.words {
			if strings.Contains(s, w) {
				return q.kind
			}
		}
	}
	return anything
}

// candidate reports whether a token of a sentence could be, or be part of, an
// answer of kind k. first tells that the token opens the sentence, where a
// capital letter means nothing.
func candidate(k answerKind, s string, t text.Token, first bool) bool {
	raw := s[t.Start:t.End]
	switch k {
	case quantity, duration:
		return isQuantity(t, raw)
	case moment:
		return isMoment(t, raw, s[t.End:])
	case person, place:
		switch t.Kind {
		case text.Word:
			return !first && isUpper(raw) && !t.Stop
		case text.Han:
			return k == place && strings.Contains("市省县国区州镇村路街山岛城京洲湾港河湖江海寺院馆站", raw) || k == person && isSurname(raw)
		}
	}
	return false
}

func isQuantity(t text.Token, raw string) bool {
	switch t.Kind {
	case text.Number:
		return true
	case text.Word:
		return numberWord(strings.ToLower(raw))
	case text.Han:
		return strings.Contains("一二三四五六七八九十百千万亿两零半双", raw)
	}
	return false
}

func isMoment(t text.Token, raw, after string) bool {
	switch t.Kind {
	case text.Number:
		digits := 0
		for digits < len(raw) && '0' <= raw[digits] && raw[digits] <= '9' {
			digits++
		}
		if digits == 4 && (raw[0] == '1' || raw[0] == '2') {
			return true
		}
		for _, unit := range [...]string{"年", "月", "日", "世纪", "时", "点", "th century", " BC", " AD", ":", "st century", " am", " pm"} {
			if strings.HasPrefix(after, unit) {
				return true
			}
		}
		return strings.HasSuffix(raw, "th") || strings.HasSuffix(raw, "st") || strings.HasSuffix(raw, "0s")
	case text.Word:
		return timeWord(raw)
	case text.Han:
		return strings.Contains("年月日朝晨晚春夏秋冬", raw)
	}
	return false
}

func timeWord(raw string) bool {
	switch strings.ToLower(raw) {
	case "january", "february", "april", "june", "july", "august", "september", "october", "november", "december",
		"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
		"century", "centuries", "decade", "midnight", "noon", "spring", "summer", "autumn", "winter", "today", "yesterday", "ago":
		return true
	}
	return raw == "March" || raw == "May"
}

func numberWord(w string) bool {
	switch w {
	case "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
		"fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty", "forty", "fifty", "sixty",
		"seventy", "eighty", "ninety", "hundred", "thousand", "million", "billion", "trillion", "half", "third", "quarter", "dozen",
		"twice", "once", "double", "single", "several", "unlimited", "percent":
		return true
	}
	return false
}

// isSurname reports whether a character is one of the commonest Chinese family
// names or of those that write foreign names.
func isSurname(raw string) bool {
	return strings.Contains("王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任姚卢傅钟姜崔谭廖范汪陆金石戴贾韦夏邱方侯邹熊孟秦白江阎薛尹段雷黎史龙陶贺顾毛郝龚邵万钱严赖覃洪武莫孔·斯尔德克特拉伯", raw)
}

func at(words []string, i int) string {
	if i < 0 || i >= len(words) {
		return ""
	}
	return words[i]
}

// isCode reports whether a line is markup or code rather than prose: mostly
// signs, or nothing that reads as words.
func isCode(s string) bool {
	letters, signs := 0, 0
	for _, r := range s {
		switch {
		case unicode.IsLetter(r):
			letters++
		case r == ' ' || unicode.IsDigit(r):
		default:
			signs++
		}
	}
	return letters == 0 || signs*3 > letters
}

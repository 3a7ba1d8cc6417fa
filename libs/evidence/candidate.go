package evidence

import (
	"strings"
	"unicode"

	"github.com/ragmesh/ragmesh/libs/text"
)

// candidate reports whether a token of a sentence could be, or be part of, an
// answer of kind k. first tells that the token opens the sentence, where a
// capital letter means nothing.
func candidate(k answerKind, s string, t text.Token, first bool) bool {
	raw := s[t.Start:t.End]
	switch k {
	case quantity:
		return isQuantity(t, raw, s[:t.Start])
	case duration:
		return isDuration(t, raw, s[t.End:])
	case moment:
		return isMoment(t, raw, s[t.End:])
	case occasion:
		return isOccasion(t, raw) || isMoment(t, raw, s[t.End:])
	case setting:
		return isSetting(t, raw, s, first)
	case person, place:
		switch t.Kind {
		case text.Word:
			return !t.Stop && (!first && isUpper(raw) || k == place && isPlace(s[:t.Start]))
		case text.Han:
			return k == place && strings.Contains("市省县国区州镇村路街山岛城京洲湾港河湖江海寺院馆站", raw) || k == person && isSurname(raw)
		}
	}
	return false
}

// isPlace reports whether the word after before is in the position of a place: "at
// a branch", "in /etc".
func isPlace(before string) bool {
	for _, w := range [...]string{"at a ", "at the ", "at your ", "in the ", "in a ", "under ", "/"} {
		if strings.HasSuffix(before, w) {
			return true
		}
	}
	return false
}

func isQuantity(t text.Token, raw, before string) bool {
	switch t.Kind {
	case text.Number:
		return true
	case text.Word:
		return numberWord(strings.ToLower(raw))
	case text.Han:
		// 一 alone is an article more often than a number.
		return strings.Contains("二三四五六七八九十百千万亿两零半双", raw) || raw == "一" && strings.HasSuffix(before, "第")
	}
	return false
}

// isDuration reports whether a token is a number with a unit of time (or, as "how
// long" asks for it too, of length, be it in characters) or a word for a period or frequency.
func isDuration(t text.Token, raw, after string) bool {
	switch t.Kind {
	case text.Number:
		digits := 0
		for digits < len(raw) && (raw[digits] >= '0' && raw[digits] <= '9' || raw[digits] == '.' || raw[digits] == ',') {
			digits++
		}
		switch raw[digits:] {
		case "s", "m", "h", "d", "ms", "min", "km", "cm", "mm", "ft":
			return true
		}
		return hasUnit(strings.TrimLeft(after, " -‑`个多余"))
	case text.Word:
		w := strings.ToLower(raw)
		switch w {
		case "daily", "weekly", "monthly", "yearly", "annually", "hourly", "forever", "permanently", "indefinitely":
			return true
		}
		return numberWord(w) && hasUnit(strings.TrimLeft(after, " -"))
	case text.Han:
		return strings.Contains("一二三四五六七八九十百千两半", raw) && hasUnit(strings.TrimLeft(after, "个多余"))
	}
	return false
}

// hasUnit reports whether s starts with a unit of time or length.
func hasUnit(s string) bool {
	for _, u := range [...]string{"second", "minute", "hour", "day", "week", "month", "year", "decade", "centur", "millisecond", "time",
		"character", "byte", "letter", "word", "mile", "kilomet", "met", "feet", "foot", "inch", "km", "m ", "s ", "ms ", "hundred", "thousand", "million",
		"字符", "字节", "个字", "秒", "分", "小时", "天", "日", "周", "星期", "月", "年", "世纪", "毫秒", "公里", "千米", "米", "公尺", "厘米", "次", "十", "百", "千", "万"} {
		if strings.HasPrefix(s, u) {
			return true
		}
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

func isOccasion(t text.Token, raw string) bool {
	switch t.Kind {
	case text.Word:
		switch strings.ToLower(raw) {
		case "before", "after", "when", "whenever", "until", "once", "immediately", "during", "upon", "while", "every", "as":
			return true
		}
	case text.HanPair:
		switch t.Term {
		case "之前", "之后", "以前", "以后", "期间", "立即", "每当", "每次", "直到", "一旦":
			return true
		}
	case text.Han:
		return raw == "时" || raw == "后" || raw == "前" || raw == "当"
	}
	return false
}

// isSetting reports whether a token is a value as documentation writes one: a
// number, a literal in quotes or code marks, a constant with a capital.
func isSetting(t text.Token, raw, s string, first bool) bool {
	switch t.Kind {
	case text.Number:
		return true
	case text.Word:
		switch strings.ToLower(raw) {
		case "true", "false", "none", "unlimited", "empty", "null", "enabled", "disabled":
			return true
		}
		if t.Start > 0 && strings.IndexByte("`\"'", s[t.Start-1]) >= 0 {
			return true
		}
		return !first && !t.Stop && isUpper(raw) || numberWord(strings.ToLower(raw))
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

// isCode reports whether a line is markup or code rather than prose: mostly signs,
// or a word or two with the signs of a language in them.
func isCode(s string) bool {
	letters, signs, wide := 0, 0, false
	for _, r := range s {
		switch {
		case unicode.IsLetter(r):
			letters++
			wide = wide || r > unicode.MaxLatin1
		case r == ' ' || unicode.IsDigit(r):
		default:
			signs++
		}
	}
	return letters == 0 || signs*3 > letters || !wide && strings.Count(s, " ") < 3 && strings.ContainsAny(s, "{}$=<>;|\\")
}

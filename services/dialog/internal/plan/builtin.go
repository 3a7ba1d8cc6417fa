package plan

import (
	"regexp"
	"strings"
)

// The tools behind the built-in intents, and their arguments, as the tools service names them.
const (
	calculator         = "calculator"
	calculatorArgument = "expression"
	currentTime        = "current_time"
	timeArgument       = "timezone"
)

func builtin() []rule {
	return []rule{
		{name: "calculate", tool: calculator, match: arithmetic},
		{name: "current_time", tool: currentTime, match: timeOfDay},
		{name: "small_talk", match: smallTalk},
	}
}

var (
	mathLead = regexp.MustCompile(`^(?:(?:please|could you|can you|请|请问|帮我|麻烦) ?)*(what is|what's|whats|how much is|how much are|calculate|compute|evaluate|work out|solve|计算一下|计算|算一下|算算|算|求)? ?[:：]? ?`)
	mathTail = regexp.MustCompile(` ?(equals?(?: what)?|=|等于多少|等于几|等于|是多少|是几|得多少|得几|多少)?$`)
	mathWord = strings.NewReplacer("multiplied by", "*", "divided by", "/", "to the power of", "^", "squared", "^2", "plus", "+", "minus", "-",
		"times", "*", "over", "/", "percent of", "% of", "square root of", "sqrt ", "加上", "+", "加", "+", "减去", "-", "减", "-",
		"乘以", "*", "乘", "*", "除以", "/", "的平方", "^2", "次方", "", "×", "*", "÷", "/", "−", "-", "x", "*", "·", "*")
	mathForm = regexp.MustCompile(`^[-+(]*(?:sqrt|abs|round|floor|ceil|min|max|ln|log10|sum|avg|pi|\d[\d,.]*[%万亿]?|[-+*/^()%, ]|of|的|mod)+$`)
	mathOper = regexp.MustCompile(`\d[%万亿]?\)* ?(?:[-+*/^]|of|的|mod) ?[-(]*(?:\d|sqrt|abs|round|pi|ln)|(?:sqrt|abs|round|floor|ceil|min|max|ln|log10|sum|avg) ?\(? ?\d`)
	mathDate = regexp.MustCompile(`^\d{2,4}[-/]\d{1,2}([-/]\d{1,4})?$|^\d+(-\d+)+$`)
)

// arithmetic recognises a question that is nothing but a calculation: "what is 12*7", "计算 3.5% of 1200".
func arithmetic(q question) (match, bool) {
	s := q.folded
	lead := mathLead.FindString(s)
	asked := strings.TrimSpace(lead) != ""
	s = s[len(lead):]
	if tail := mathTail.FindString(s); tail != "" {
		asked = asked || strings.TrimSpace(tail) != ""
		s = strings.TrimSuffix(s, tail)
	}
	s = strings.TrimSpace(mathWord.Replace(s))
	s = strings.ReplaceAll(strings.Join(strings.Fields(s), " "), " %", "%")
	if !mathForm.MatchString(s) || !mathOper.MatchString(s) || !asked && mathDate.MatchString(s) {
		return match{}, false
	}
	return match{arguments: map[string]string{calculatorArgument: s}}, true
}

var (
	timeEnglish = regexp.MustCompile(`^(?:(?:please|hey|hi|ok|so)[, ]+)?(?:(?:can|could) you )?(?:tell me |do you know )?(?:what(?:'s| is)? (?:the )?(?:current |local )?(?:time|date|day)(?: and (?:time|date))?(?: is it| is it now| is it today| it is| today| now| right now)?|current (?:time|date)|what day is (?:it|today)|what(?:'s| is) today's date|today's date|time(?: now)?)(?: (?:right )?now| today| currently)?(?: (?:in|for|at) (.+?))?(?: (?:right )?now| today)?$`)
	timeChinese = regexp.MustCompile(`^(?:请问|请告诉我|告诉我|你知道)?(?:现在|目前|当前|此刻)?(?:在)?(\p{Han}{2,8}?)?(?:的)?(?:现在|目前|当前|此刻|今天)?(?:是)?(?:几点(?:钟)?|什么时间|什么时候了|的?时间(?:是多少|是几点)?|几月几[号日]|几[号日]|星期几|周几|礼拜几|什么日子|日期(?:是多少)?)(?:了|啦|呢|呀)?$`)
	timeNow     = regexp.MustCompile(`现在|目前|当前|此刻|今天|几点`)
)

// timeOfDay recognises a question for the time or the date, here or in a place it knows.
func timeOfDay(q question) (match, bool) {
	place := ""
	if m := timeEnglish.FindStringSubmatch(q.folded); m != nil {
		place = m[1]
	} else if m := timeChinese.FindStringSubmatch(q.folded); m != nil && timeNow.MatchString(q.folded) {
		place = m[1]
		for _, w := range []string{"现在", "目前", "当前", "此刻", "今天", "请问"} {
			place = strings.TrimPrefix(strings.TrimSuffix(place, w), w)
		}
		place = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(place, "在"), "的"), "时间")
	} else {
		return match{}, false
	}
	if place == "" {
		return match{arguments: map[string]string{}}, true
	}
	zone, ok := zoneOf(place)
	if !ok {
		return match{}, false
	}
	return match{arguments: map[string]string{timeArgument: zone}}, true
}

var (
	greeting = regexp.MustCompile(`^(?:hi|hello|hey|hi there|hello there|good (?:morning|afternoon|evening)|你好呀?|您好|嗨|哈喽|早上好|下午好|晚上好|早安|在吗|你好[,，]? ?在吗)(?:[,! ]+(?:hi|hello|there|everyone|ragmesh|大家))*$`)
	thanks   = regexp.MustCompile(`^(?:(?:ok(?:ay)?|great|perfect|cool|nice|好的|好|太好了|明白了)[,，.! ]*)?(?:thanks?|thank you|thx|many thanks|thanks a lot|thank you very much|thank you so much|cheers|谢谢|谢谢你|谢谢您|多谢|感谢|非常感谢|谢了)(?:[,! ]+.{0,12})?$`)
	farewell = regexp.MustCompile(`^(?:bye|goodbye|bye bye|see you|see you later|good night|再见|拜拜|回头见|晚安)$`)
	identity = regexp.MustCompile(`^(?:who are you|what are you|what can you do|how can you help(?: me)?|你是谁|你能做什么|你会什么|你可以做什么|你有什么功能)$`)
)

// smallTalk recognises words that need no documents.
func smallTalk(q question) (match, bool) {
	for _, r := range []struct {
		re     *regexp.Regexp
		en, zh string
	}{
		{greeting, "Hello! Ask me anything about the documents in this workspace; I answer with the passages it stands on.", "你好！请提问，我会根据本工作区的文档回答，并标明出处。"},
		{thanks, "You're welcome. Is there anything else you want to know?", "不客气。还有什么想了解的吗？"},
		{farewell, "Goodbye!", "再见！"},
		{identity, "I answer questions from the documents and tools of this workspace, and cite the passage for everything I say. When they do not hold the answer, I say so.", "我根据本工作区的文档和工具回答问题，每句话都标明出处；资料中没有答案时，我会如实说明。"},
	} {
		if r.re.MatchString(q.folded) {
			return match{reply: map[string]string{"en": r.en, "zh": r.zh}}, true
		}
	}
	return match{}, false
}

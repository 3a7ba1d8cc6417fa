package followup

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Chinese leaves out what is known: a question without subject or object is about what was talked of. These are the forms in
// which that can be told from the form alone.
var (
	zhAct     = regexp.MustCompile(`^(?:请问)?(?:我|我们)?(?:要|想)?(?:怎么样|怎么|怎样|如何|能不能|能否|可不可以|可以|是否可以|什么时候)(?:才能|能|可以|去|来)?(.{2,40})$`)
	zhLeaning = regexp.MustCompile(`^(哪一?(个|种|类)(最|更|比较)|(它|这个|那个|其)|(怎么|如何)(撤销|取消|解除|恢复)$|最(多|少|快|长|短|早|晚))`)
	zhMost    = regexp.MustCompile(`^(最多|最少|至少|最快|最慢|最长|最短|最早|最晚|默认|一般|通常)`)
	zhUndo    = regexp.MustCompile(`^(?:之后|然后|以后|那)?(怎么|如何|怎样|能不能|能否|可以|可不可以|能)(撤销|撤回|撤消|还原|反悔|取消|恢复|解除|回退|停止|中止)(吗)?$`)
	zhSuch    = regexp.MustCompile(`(这样|那样|这么)做?`)
	zhBefore  = regexp.MustCompile(`^(在?这?之前|在?这?之后|事前|事后|此前|此后|在此之前|在此之后)`)
	zhCopula  = regexp.MustCompile(`^(和|跟|与|同|比起?|相比于?|相对于)(.{1,30}?)(有?(什么|何|啥|哪些)?的?(区别|不同|差别|差异|关系|联系)|是(什么|啥)关系|相比|比|哪个|谁)`)
	zhWhich   = regexp.MustCompile(`^(其中)?(哪一?(个|种|类|款|项|些|张|家)|谁)(.*)$`)
	zhWhichIs = regexp.MustCompile(`^ ?(是|最|更|比较|会|能|可以|应该|需要|先|后|不|比|适合|好|快|慢|贵|便宜|安全|默认|有|没有)|(更|最).{1,4}$`)
	zhTheRest = regexp.MustCompile(`(另外?一?|其他|别的|其余)(种|个|类|款|项|些)`)
	zhLatter  = regexp.MustCompile(`后者|前者`)
	zhPair    = regexp.MustCompile(`^(.{1,24}?) ?(?:和|与|跟|还是|或者?|以及) ?(.{1,24}?)(?: ?(?:有|的|之间|哪|谁|应该|该|怎|是|分别|相比|$))`)
	zhFromIt  = regexp.MustCompile(`从中|其中|对此|由此|为此|基于此|据此`)
	zhWay     = regexp.MustCompile(`^((?:在|用|通过|从).{1,10}|在线|网上|线上|线下|离线|手机上|柜台|周末|晚上|生产环境|批量|手动|自动)(可以|行|能行|推荐|建议|允许|安全|支持|合适)(吗|么|不)$`)
	zhModal   = regexp.MustCompile(`^(最多|最少|至少|最快|最慢|最长|最短|最早|最晚|默认|一般|通常|必须|能不能|可不可以|会不会|需不需要|要不要|有没有|能|可以|会|要|需要|多久|多长时间|什么时候|何时|在哪里?)`)
	zhDoes    = regexp.MustCompile(`^(?:哪个|哪一个|哪种|哪一种|哪些|哪类|什么)(.{1,12}?)((?:专门)?(?:负责|用于|用来|可以|能够?|会|支持|提供|控制|管理|处理|替代|取代|包含|保存|存储|决定|实现|运行|保证|确保|的).{2,40})$`)
	zhWho     = regexp.MustCompile(`^(?:由)?谁(?:来)?(负责|审批|管理|决定|批准|处理|维护|创建|发明|创立|签发)(.{1,40})$`)
)

// zhActOf returns what a question asks how or whether to do: 升级集群 for 怎么升级集群？
func zhActOf(question string) (string, bool) {
	m := zhAct.FindStringSubmatch(trimQuestion(question))
	if m == nil {
		return "", false
	}
	act := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(m[1]), "吗"), "呢")
	how := strings.Contains(question, "怎么") || strings.Contains(question, "如何") || strings.Contains(question, "怎样")
	return act, (how || zhVerb.MatchString(act)) && utf8.RuneCountInString(act) >= 3
}

// zhEvent resolves what stands for an act or a condition of the last question: 这样做, 之前, 怎么撤销.
func zhEvent(q string, prev Exchange) (string, bool) {
	act, ok := zhActOf(prev.Question)
	if !ok {
		return "", false
	}
	if zhUndo.MatchString(q) {
		return act + "之后" + strings.TrimPrefix(strings.TrimPrefix(q, "之后"), "然后"), true
	}
	if loc := zhSuch.FindStringIndex(q); loc != nil && loc[0] == 0 {
		return act + join(act, q[loc[1]:]) + q[loc[1]:], true
	}
	if loc := zhBefore.FindStringIndex(q); loc != nil {
		when := "之前"
		if strings.HasSuffix(q[:loc[1]], "后") {
			when = "之后"
		}
		return act + when + q[loc[1]:], true
	}
	if m := zhWay.FindStringSubmatch(q); m != nil {
		return m[1] + join(m[1], act) + act + join(act, m[2]) + m[2] + m[3], true
	}
	return "", false
}

// zhChoice resolves 哪个更便宜, 后者, 另一种 and 和…有什么区别.
func zhChoice(q string, prev Exchange) (string, bool) {
	last := trimQuestion(prev.Question)
	topic := topicOf(prev)
	pair := zhPair.FindStringSubmatch(zhFrame.ReplaceAllString(last, ""))
	if loc := zhLatter.FindStringIndex(q); loc != nil && pair != nil {
		x := pair[2]
		if q[loc[0]:loc[1]] == "前者" {
			x = pair[1]
		}
		return zhJoined(q[:loc[0]], strings.TrimSpace(x), q[loc[1]:]), true
	}
	if loc := zhTheRest.FindStringSubmatchIndex(q); loc != nil {
		if noun := zhKind(last); noun != "" && !strings.HasPrefix(q[loc[1]:], noun) {
			return zhJoined(q[:loc[1]], noun, q[loc[1]:]), true
		}
	}
	if m := zhWhich.FindStringSubmatch(q); m != nil && (m[1] != "" || zhWhichIs.MatchString(m[4])) {
		if pair != nil {
			return zhJoined(strings.TrimSpace(pair[1])+"和", strings.TrimSpace(pair[2]), q), true
		}
		if whole := zhWholeOf(last); whole != "" {
			return zhJoined(whole, "中", strings.TrimPrefix(q, "其中")), true
		}
	}
	if topic == "" || strings.Contains(q, topic) {
		return "", false
	}
	if zhCopula.MatchString(q) {
		return topic + join(topic, q) + q, true
	}
	if loc := zhFromIt.FindStringIndex(q); loc != nil && !zhAntecedent(q[:loc[0]]) && zhNamed(q[:loc[0]]) < 2 {
		word, after := q[loc[0]:loc[1]], ""
		prefix := strings.TrimSuffix(strings.TrimSuffix(word, "此"), "中")
		switch {
		case word == "其中":
			prefix, after = "", "中"
		case strings.HasSuffix(word, "中"):
			after = "中"
		}
		return zhJoined(zhJoined(q[:loc[0]], prefix, topic), after, q[loc[1]:]), true
	}
	return "", false
}

// zhKind returns the noun of which one was asked for: 级联删除 for 默认使用哪种级联删除.
func zhKind(last string) string {
	for _, lead := range []string{"哪一种", "哪种", "哪一个", "哪个", "哪类", "哪一类", "哪款", "哪项"} {
		if _, after, ok := strings.Cut(last, lead); ok {
			after = strings.TrimSpace(after)
			if n := utf8.RuneCountInString(after); n >= 2 && n <= 10 && !zhQuestion.MatchString(after) {
				return after
			}
		}
	}
	return ""
}

// zhWholeOf returns the things of which a question asked for a list: Pod 的 QoS 类 for Pod 的 QoS 类有哪些.
func zhWholeOf(last string) string {
	for _, tail := range []string{"有哪些", "有哪几种", "有哪几类", "有几种", "分为哪", "分哪"} {
		if before, _, ok := strings.Cut(last, tail); ok && utf8.RuneCountInString(before) <= 24 {
			return strings.TrimSpace(zhFrame.ReplaceAllString(zhLead.ReplaceAllString(before, ""), ""))
		}
	}
	return ""
}

// zhOpen reports whether a short question has a verb and neither subject nor object: 最多能建几个, 补办要多久, 怎么解除.
func zhOpen(q string) bool {
	if utf8.RuneCountInString(q) > 14 || latinRun.MatchString(q) || zhTime.MatchString(q) {
		return false
	}
	rest := q
	begun := false
	most := 1
	if zhMost.MatchString(rest) { // the amount of what?
		most = 2
	}
	for range 3 {
		if loc := zhModal.FindStringIndex(rest); loc != nil {
			rest, begun = rest[loc[1]:], true
		}
	}
	for _, how := range []string{"怎么", "如何", "怎样", "为什么", "为何"} {
		if after, ok := strings.CutPrefix(rest, how); ok {
			rest, begun = after, true
			break
		}
	}
	if loc := zhVerb.FindStringIndex(rest); loc != nil {
		rest, begun = rest[loc[1]:], true
	}
	left := zhFunction.ReplaceAllString(zhQuestion.ReplaceAllString(zhAttribute.ReplaceAllString(rest, ""), ""), "")
	return begun && utf8.RuneCountInString(left) <= most
}

// zhSubjectOf is subjectOf for questions such as 哪个组件负责调度？
func zhSubjectOf(e Exchange) (string, bool) {
	last := trimQuestion(e.Question)
	said := ""
	if m := zhDoes.FindStringSubmatch(last); m != nil {
		did := strings.TrimPrefix(strings.TrimSuffix(strings.TrimSpace(m[2]), "的"), "的") // 哪种卷的生命周期与 Pod 相同
		said = did + join(did, "的") + "的" + strings.TrimSpace(m[1])
	} else if m := zhWho.FindStringSubmatch(last); m != nil {
		said = m[1] + m[2] + "的人"
	}
	if said == "" {
		return "", false
	}
	if name, ok := agreed(e); ok {
		return name, true
	}
	return said, true
}

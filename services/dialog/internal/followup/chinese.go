package followup

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

var (
	zhMore     = regexp.MustCompile(`^(请|能|能不能|可以|麻烦)?(再)?(详细|具体)?(地)?(继续|接着说|展开说说|说说|讲讲|介绍一下|说明一下|解释一下|详细说说|详细一点|详细点|具体一点|具体点|具体说说|说详细点|举个例子|举例说明|比如|例如|还有吗|还有呢|还有别的吗|然后呢|更多)(吗|呢|吧)?$`)
	zhReason   = regexp.MustCompile(`^(那|那么|但是|可是)?(这是|那是)?(为什么|为何|怎么会|怎么说|真的|真的吗|确定吗|什么时候|什么原因|谁|多少|多久|哪里|怎么做|怎么办|如何做|怎么弄)(呢|吗|呀|啊)?$`)
	zhEllipsis = regexp.MustCompile(`^(那么|那|还有|而|如果是|换成|要是|至于|和)?[，, ]*(.{1,40}?)(呢|怎么样|又如何|又怎样|也一样吗|也是吗|也行吗|也可以吗)$`)
	zhLead     = regexp.MustCompile(`^((好的|谢谢|明白了|嗯|哦|对了|另外|还有|那么|所以|但是|可是|然后|请问|再问一下)[，,。！! ]*)+`)
	zhTime     = regexp.MustCompile(`(去年|今年|明年|前年|后年|上个?月|这个?月|本月|下个?月|上个?季度|本季度|下个?季度|上周|本周|这周|下周|昨天|今天|明天|(19|20)\d\d ?年(\d{1,2} ?月)?|[一二三四1-4]季度|周[一二三四五六日末]|节假日|\d{1,2} ?月(份)?)`)
	zhPronoun  = regexp.MustCompile(`它们|他们|她们|它|他|她|这(个|些|种|项|类|款|样)?(功能|服务|产品|业务|卡|账户|方法|方式|命令|参数|选项|设置|对象|资源|组件|问题|错误|政策|规定|流程|文件|文档|公司|人|东西|字段|机制|费用|额度)|那(个|些|种|项|类|款)(功能|服务|产品|业务|卡|账户|方法|方式|命令|参数|选项|设置|对象|资源|组件|问题|错误|政策|规定|流程|文件|文档|公司|人|东西|字段|机制|费用|额度)?|这(个|些|种|项|类|款|两者|两个|两种)|该(功能|服务|产品|业务|卡|账户|方法|命令|参数|选项|对象|资源|组件|政策|规定|流程|文件|文档|公司|字段)?|上述(的)?(内容|情况|功能|服务|方法|问题)?|后者|前者|此(功能|服务|业务|项)|其`)
	zhMeasure  = regexp.MustCompile(`^[个些种项类款样里边时是会要需能可有]`) // after 那: it points at something
	zhNot      = regexp.MustCompile(`其他|其它|其实|其中|其余|尤其|极其|应该|活该|该不该|该怎么|该如何|该去|我该|该选|该用|这个?月|这周|这里|那里|这么|那么|那边|这边|这次|那时|其次|吉他|他人|与其`)
	zhThis     = regexp.MustCompile(`^(这|那)(是|会|要|需要|能|可以|有|怎么|如何|该|算|和|跟|与|对)`)
	zhQuestion = regexp.MustCompile(`(怎么样|怎么|怎样|如何|是什么|什么是|是多少|多少钱|多少|多久|多长时间|多长|多大|有哪些|哪些|哪个|哪里|哪儿|哪家|为什么|为何|什么时候|何时|什么|谁|几[个天次年月点]|能不能|可不可以|是不是|有没有|需不需要|要不要|是否|可以|可|能否|能|需要|要|会|有|是|在|应该|应|该|属于|支持|包括|包含|吗|呢|吧|么)`)
	zhFrame    = regexp.MustCompile(`^(请问|请|我想(知道|了解|问一下|问|要)?|想(知道|了解|问一下)|帮我|麻烦|告诉我|给我|介绍(一下|下)?|解释(一下|下)?|说明(一下|下)?|说说|讲讲|查一下|查询(一下)?|关于|对于|在|如果|当|我的|我们的|你们的|你们|我们|我|你)+`)
	zhVerb     = regexp.MustCompile(`^(申请|办理|开立|开通|注销|使用|安装|配置|创建|新建|删除|查询|修改|更新|取消|升级|重启|启用|禁用|设置|查看|挂失|激活|缴纳|支付|提取|修复|部署|回滚|扩容|缩容|更换|补办|解除|找回|重置|退|购买|提高|降低|提升|调整|开|办|用|删|改|加|了解|实现|运行|启动|停止|暴露|访问|管理|编写|定义|选择|计算|还|交|换|领取|兑换|绑定|解绑|登录|注册|导出|导入|备份|恢复|监控|调试|排查)`)
	// zhAttribute are the words that say what is asked about any topic.
	zhAttribute = regexp.MustCompile(`需要什么|申请|办理|开通|注销|使用|安装|配置|设置|创建|删除|查询|修改|更新|取消|升级|启用|禁用|激活|收费|付费|免费|费用|手续费|年费|价格|多少钱|利率|利息|有效期|期限|条件|流程|步骤|材料|资料|要求|限制|限额|额度|默认值|默认|区别|优点|缺点|优势|劣势|好处|坏处|作用|用途|用法|语法|版本|大小|例子|示例|命令|原因|结果|时间|地点|地址|电话|范围|风险|规则|参数|选项|最大值|最小值|最大|最小|最高|最低|最长|最短|上限|下限|到账|生效|提前|延期|续费|自动|手动|单位|次数|数量|方式|方法|渠道|入口|注意事项|注意|影响|后果|失败|成功|安全|支持|保留|恢复|处理|解决|避免|检查|验证|测试|查看|开始|结束|前提|依赖|钱|天|年|月|日|人|岁|次|元|个|收|交|办|做|用|开|关|改|删|查|退|换|领|填|写`)
	zhClause    = regexp.MustCompile(`[，,。；;？?！!、：:]|并且|而且|如果|然后|之后|时候|以后`)
	zhFunction  = regexp.MustCompile(`[的了着地得是在和与或及而也就都又还被把从向于对为以由给让到我你您他她它们这那此该其之所些很请会能可要有去来上下中里内外吗呢吧啊呀么哪几多少什怎样如何谁何时候为啥不没，。？！、；：,.?! "“”（）()]`)
	zhPlace     = regexp.MustCompile(` ?(上|里|中|下|内|里面|上面|环境下|环境中)$`)
	zhThrough   = regexp.MustCompile(`^(?:从|在|对|给|向|把|将|用|通过|为) ?(.{2,16}?) ?(?:中|里|上|下|内|之中|当中|执行|进行)`)
	zhHow       = regexp.MustCompile(`^(怎么|如何|怎样|哪里|在哪里?)(才?能|可以)?\pL{0,2}`)
	zhCoverb    = regexp.MustCompile(`^(到|在|从|给|对|用|向|按|通过|针对)`)
	zhOwner     = regexp.MustCompile(`的|[，,]`)
	zhPart      = regexp.MustCompile(`^(多久|多长时间|几天|几次|什么条件|哪些情况|什么情况|在?哪些?版本|从?哪个版本)(之?后|之?前|之?内|下|开始|起)?(呢|呀)?$`)
	latinRun    = regexp.MustCompile(`[A-Za-z][A-Za-z0-9_./-]*( [A-Z][A-Za-z0-9_./-]*)*`)
)

func chinese(q string, prev Exchange) Result {
	topic := topicOf(prev)
	if who, ok := zhSubjectOf(prev); ok {
		topic = who
	}
	bare := trimQuestion(q)
	if zhMore.MatchString(bare) {
		return Result{Question: prev.Question, Rule: RuleRepeat, Topic: topic}
	}
	if zhReason.MatchString(bare) && !attributeLead(bare) || zhPart.MatchString(bare) {
		return Result{Question: trimQuestion(prev.Question) + "？" + bare + "？", Rule: RuleReason, Topic: topic}
	}
	if m := zhEllipsis.FindStringSubmatch(bare); m != nil && (m[1] != "" || m[3] == "呢" || strings.HasPrefix(m[3], "也")) {
		if x := strings.TrimSpace(m[2]); !zhPronoun.MatchString(zhNot.ReplaceAllString(x, "")) && !zhAsks(x) {
			return Result{Question: zhInstead(prev, x, topic), Rule: RuleEllipsis, Topic: topic}
		}
	}
	core := zhLead.ReplaceAllString(bare, "")
	if rest, ok := strings.CutPrefix(core, "那"); ok && !zhMeasure.MatchString(rest) {
		core = rest
	}
	if core == "" {
		return Result{}
	}
	if zhTime.FindString(core) == core {
		return Result{Question: zhInstead(prev, core, topic), Rule: RuleEllipsis, Topic: topic}
	}
	for _, rule := range []func() (string, bool){
		func() (string, bool) { return zhEvent(core, prev) },
		func() (string, bool) { return zhChoice(core, prev) },
		func() (string, bool) { return zhReplace(core, topic) },
	} {
		if out, ok := rule(); ok {
			return Result{Question: out + "？", Rule: RulePronoun, Topic: topic}
		}
	}
	if !strings.Contains(core, topic) && (zhAttributeOnly(core) || zhOpen(core)) {
		return Result{Question: topic + join(topic, core) + core + "？", Rule: RuleTopic, Topic: topic}
	}
	return Result{}
}

// zhInstead asks the last question about x, in whichever language it was asked.
func zhInstead(prev Exchange, x, topic string) string {
	last := trimQuestion(prev.Question)
	if hasHan(last) {
		return zhSlot(last, x, topic) + "？"
	}
	if !hasHan(x) {
		return withSlot(last, x, referentOf(prev, topic))
	}
	return "关于" + x + "：" + last + "？"
}

// attributeLead reports whether a bare question word asks for a property of the topic rather than for the reason of what
// was said.
func attributeLead(s string) bool {
	for _, w := range []string{"多少", "多久", "怎么做", "怎么办", "如何做", "怎么弄", "什么时候", "谁", "哪里"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// zhAsks reports whether x is a whole question of its own: 为什么要开户呢.
func zhAsks(x string) bool {
	for _, w := range []string{"怎么", "为什么", "如何", "什么", "多少", "哪", "是否", "谁", "多久"} {
		if strings.Contains(x, w) {
			return true
		}
	}
	return false
}

// zhReplace puts the topic in the place of the first pronoun that has nothing to refer to in its own question.
func zhReplace(q, topic string) (string, bool) {
	masked := zhNot.ReplaceAllStringFunc(q, func(s string) string { return strings.Repeat("\x00", len(s)) })
	loc := zhPronoun.FindStringIndex(masked)
	if loc == nil {
		if m := zhThis.FindStringSubmatchIndex(masked); m != nil {
			loc = []int{m[2], m[3]}
		}
	}
	if loc == nil || strings.Contains(q, topic) || zhAntecedent(q[:loc[0]]) || zhOwnThing(q, loc[0], loc[1]) {
		return "", false
	}
	word, rest := q[loc[0]:loc[1]], q[loc[1]:]
	with := topic
	if word == "其" {
		with += "的"
	} else if strings.HasPrefix(rest, "的") && strings.HasSuffix(topic, "的") {
		with = strings.TrimSuffix(topic, "的")
	}
	return q[:loc[0]] + join(q[:loc[0]], with) + with + join(with, rest) + rest, true
}

// zhOwnThing reports whether a pronoun means a thing that its own sentence names before it: 王某丢了他的卡怎么办, 这张卡 beside
// 名字 in 小王这个名字. Where a thing is acted on (怎么申请它) nothing is named before.
func zhOwnThing(q string, start, end int) bool {
	named := zhNamed(q[:start])
	switch word := q[start:end]; {
	case word == "其":
		return named > 0
	case strings.ContainsAny(word, "他她"), strings.HasPrefix(q[end:], "的"):
		return named >= 2
	case word == "这个" || word == "那个" || word == "这种" || word == "那种":
		next, _ := utf8.DecodeRuneInString(q[end:])
		return named >= 2 && next >= utf8.RuneSelf && !zhFunction.MatchString(string(next))
	default:
		return false
	}
}

// zhNamed returns how many characters of s may name a thing: those that ask, act or only connect don't.
func zhNamed(s string) int {
	if loc := zhHow.FindStringIndex(s); loc != nil { // 怎么联系他: a verb stands first
		s = s[loc[1]:]
	}
	s = zhVerb.ReplaceAllString(zhFrame.ReplaceAllString(zhQuestion.ReplaceAllString(zhFrame.ReplaceAllString(s, ""), ""), ""), "")
	return utf8.RuneCountInString(strings.TrimSpace(zhFunction.ReplaceAllString(zhAttribute.ReplaceAllString(s, ""), "")))
}

// zhAntecedent reports whether a thing is named before the pronoun, in an earlier clause of the same question.
func zhAntecedent(before string) bool {
	locs := zhClause.FindAllStringIndex(before, -1)
	if len(locs) == 0 {
		return false
	}
	first := before[:locs[len(locs)-1][0]]
	return latinRun.MatchString(first) || utf8.RuneCountInString(zhAttribute.ReplaceAllString(zhFunction.ReplaceAllString(first, ""), "")) >= 2
}

// zhAttributeOnly reports whether nothing is left of q but function words and properties.
func zhAttributeOnly(q string) bool {
	if utf8.RuneCountInString(q) > 16 || latinRun.MatchString(q) || zhTime.MatchString(q) {
		return false
	}
	rest := zhFunction.ReplaceAllString(zhQuestion.ReplaceAllString(zhAttribute.ReplaceAllString(q, ""), ""), "")
	return rest == ""
}

// zhSlot asks the last question about x: x takes the place of what it resembles, else it is put before.
func zhSlot(q, x, topic string) string {
	if zhTime.FindString(x) == x {
		if loc := zhTime.FindStringIndex(q); loc != nil {
			return q[:loc[0]] + x + q[loc[1]:]
		}
		return x + q
	}
	if bare := strings.TrimSpace(zhPlace.ReplaceAllString(x, "")); latinRun.FindString(bare) == bare && bare != "" && (bare == x || !strings.Contains(q, x[len(bare):])) {
		x = bare // "Windows 上呢" after a question about Linux
	}
	if run := latinRun.FindString(x); run == x {
		if loc := latinRun.FindStringIndex(q); loc != nil {
			return q[:loc[0]] + x + q[loc[1]:]
		}
	}
	if m := zhCoverb.FindString(x); m != "" { // "到日本呢" after "转账到英国…"
		if at := strings.Index(q, m); at >= 0 {
			rest := q[at+len(m):]
			end := len(rest)
			for _, re := range []*regexp.Regexp{zhOwner, zhQuestion} {
				if loc := re.FindStringIndex(rest); loc != nil && loc[0] > 0 {
					end = min(end, loc[0])
				}
			}
			return q[:at] + x + q[at+len(m)+end:]
		}
	}
	if zhAttributeOnly(x) {
		return topic + join(topic, "的") + "的" + x
	}
	if owner, object, ok := zhObject(q); ok && !alike(x, owner) {
		at := strings.LastIndex(q, object)
		return zhJoined(q[:at], x, q[at+len(object):])
	}
	if zhVerb.FindString(topic) == topic && topic != "" { // an act with nothing that it is done to: 怎么挂失
		return zhJoined(q, x, "")
	}
	if topic != "" && strings.Contains(q, topic) {
		before, after, _ := strings.Cut(q, topic)
		if strings.HasSuffix(x, "的") {
			after = strings.TrimPrefix(strings.TrimLeft(after, " "), "的")
		}
		return zhJoined(before, x, after)
	}
	return x + "，" + q
}

// zhObject returns what an act of the last question is done to, where it is a part of something: 系统组件 and 日志 for
// 怎么查看系统组件的日志.
func zhObject(q string) (owner, object string, ok bool) {
	if _, ok := zhActOf(q); !ok {
		return "", "", false
	}
	i := strings.LastIndex(q, "的")
	if i <= 0 {
		return "", "", false
	}
	owner, object = strings.TrimSpace(q[:i]), strings.TrimSpace(q[i+len("的"):])
	return owner, object, utf8.RuneCountInString(object) >= 2 && utf8.RuneCountInString(object) <= 12 && !zhQuestion.MatchString(object)
}

// alike reports whether two names end in the same character, as things of a kind do in Chinese: 金卡, 信用卡.
func alike(x, y string) bool {
	a, _ := utf8.DecodeLastRuneInString(x)
	b, _ := utf8.DecodeLastRuneInString(y)
	return a == b
}

func zhJoined(before, x, after string) string {
	before, after = strings.TrimRight(before, " "), strings.TrimLeft(after, " ")
	return before + join(before, x) + x + join(x, after) + after
}

// chineseTopic returns the thing that a question asks about: 白金信用卡 for 白金信用卡的年费是多少？
func chineseTopic(question string) string {
	q := trimQuestion(question)
	q = zhLead.ReplaceAllString(q, "")
	if i := strings.LastIndexAny(q, "？?。！!"); i > 0 { // what an earlier rewriting added, or a setting
		_, size := utf8.DecodeRuneInString(q[i:])
		if t := chineseTopic(q[i+size:]); t != "" {
			return t
		}
		q = q[:i]
	}
	q = zhFrame.ReplaceAllString(q, "")
	q = zhTime.ReplaceAllString(q, "")
	q = strings.TrimPrefix(q, "什么是")
	for _, lead := range []string{"怎么样", "怎么", "怎样", "如何", "为什么", "能不能", "是否可以", "是否", "可以", "谁", "什么", "在哪里", "哪里", "多少"} {
		if strings.HasPrefix(q, lead) {
			q = strings.TrimPrefix(q, lead)
			break
		}
	}
	if m := zhThrough.FindStringSubmatch(q); m != nil { // 从卷快照中恢复: the thing is what stands behind the preposition
		q = m[1]
	}
	parts := []string{q}
	if loc := zhQuestion.FindStringIndex(q); loc != nil && loc[0] > 0 {
		parts = []string{q[:loc[0]]}
	}
	topic := strings.Trim(parts[0], " ，,、：:“”\"")
	if head, _, ok := strings.Cut(topic, "的"); ok && head != "" {
		topic = head
	}
	for range 2 {
		if rest := zhVerb.ReplaceAllString(topic, ""); utf8.RuneCountInString(rest) >= 2 {
			topic = strings.TrimSpace(rest)
		}
	}
	if utf8.RuneCountInString(topic) < 2 || utf8.RuneCountInString(topic) > 24 || zhAttributeOnly(topic) || zhSmall.MatchString(topic) {
		if run := latinRun.FindString(question); run != "" {
			return run
		}
		return ""
	}
	return topic
}

var zhSmall = regexp.MustCompile(`^(你好|您好|谢谢|多谢|再见|早上好|晚上好|好的|嗯|哈喽)`)

// join returns the space that goes between Latin letters and what follows them, none between Chinese characters.
func join(a, b string) string {
	last, _ := utf8.DecodeLastRuneInString(a)
	first, _ := utf8.DecodeRuneInString(b)
	if a == "" || b == "" || last == ' ' || first == ' ' {
		return ""
	}
	if (last < utf8.RuneSelf) != (first < utf8.RuneSelf) && (isWord(last) || isWord(first)) {
		return " "
	}
	return ""
}

func isWord(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

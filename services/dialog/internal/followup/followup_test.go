package followup

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRewrite(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		before   []Exchange
		question string
		want     string // empty: untouched
	}{
		// English: pronouns
		{"it as object", ask("What is the gold card?"), "How do I apply for it?", "How do I apply for the gold card?"},
		{"it as subject", ask("What is a Deployment?"), "Is it free?", "Is a Deployment free?"},
		{"topic after of", ask("What is the annual fee of the gold card?"), "How do I cancel it?", "How do I cancel the gold card?"},
		{"its", ask("What does kube-proxy do?"), "What are its modes?", "What are kube-proxy's modes?"},
		{"they", ask("How do I configure liveness probes?"), "How often do they run?", "How often do liveness probes run?"},
		{"that at the end", ask("How do I rotate a certificate?"), "How long does that take?", "How long does rotating a certificate take?"},
		{"does this work", ask("What is horizontal pod autoscaling?"), "How does this work?", "How does horizontal pod autoscaling work?"},
		{"this feature", ask("What is server-side apply?"), "Since when does this feature exist?", "Since when does server-side apply exist?"},
		{"he, from the answer", []Exchange{{Question: "Who founded Acme Corp?", Answer: "Acme Corp was founded by Jane Smith in 1901 [1]."}}, "Where was she born?", "Where was Jane Smith born?"},
		{"his, from the question", ask("When was Alan Turing born?"), "What was his most famous paper?", "What was Alan Turing's most famous paper?"},
		{"a polite lead is dropped", ask("What is a StatefulSet?"), "Thanks! And how do I scale it?", "How do I scale a StatefulSet?"},
		{"titles when the question has no topic", []Exchange{{Question: "What are the limits?", Titles: []string{"Wire transfers"}}}, "Can they be raised?", "Can Wire transfers be raised?"},
		{"carried over two questions", ask("What is the gold card?", "How do I apply for the gold card?"), "What does it cost?", "What does the gold card cost?"},
		{"thanks between is passed over", ask("What is the gold card?", "thanks"), "What does it cost?", "What does the gold card cost?"},

		{"the limit is raised, not the transfer", ask("What is the daily limit for online transfers?"), "Can it be raised?", "Can the daily limit for online transfers be raised?"},
		{"within how many", ask("Within how many days must a dispute reach the bank?"), "How long does it take?", "How long does the dispute take?"},
		{"which things does", ask("Which documents does the savings account need?"), "Can I open it online?", "Can I open the savings account online?"},
		{"expletive take", ask("What is a Pod?"), "How long does it take to open an account?", ""},

		// English: ellipsis
		{"what about, same head", ask("What is the annual fee of the gold card?"), "What about the platinum card?", "What is the annual fee of the platinum card?"},
		{"how about a name", ask("What is the population of Paris?"), "How about London?", "What is the population of London?"},
		{"and last year", ask("What was the revenue in 2023?"), "And last year?", "What was the revenue last year?"},
		{"a bare year", ask("What was the revenue in 2023?"), "2022?", "What was the revenue in 2022?"},
		{"no time to replace", ask("What was the revenue of the bank?"), "and last year?", "What was the revenue of the bank last year?"},
		{"an attribute", ask("What is the gold card?"), "What about the fees?", "What about the fees for the gold card?"},
		{"why", ask("Are transfers limited to 50,000?"), "Why?", "Are transfers limited to 50,000? Why?"},
		{"tell me more", ask("What is a Pod?"), "Tell me more", "What is a Pod?"},

		{"another place", ask("What is the interest rate on savings?"), "and on mortgages?", "What is the interest rate on mortgages?"},
		{"a bare place", ask("How much is a transfer to Spain in euros?"), "in dollars?", "How much is a transfer to Spain in dollars?"},
		{"a place beside another", ask("What are the opening hours in Dublin?"), "And on Sundays?", "What are the opening hours in Dublin on Sundays?"},
		{"a bare thing", ask("Which ports does the kubelet use?"), "the scheduler?", "Which ports does the scheduler use?"},
		{"a kind of day", ask("Do transfers on weekends arrive the same day?"), "What about holidays?", "Do transfers on holidays arrive the same day?"},
		{"of another", ask("What is the maximum size of a Secret?"), "And of a ConfigMap?", "What is the maximum size of a ConfigMap?"},
		{"another property", ask("What is the name of the director?"), "and its address?", "What is the address of the director?"},
		{"another condition", ask("What happens when a node fails?"), "And when it comes back?", "What happens when a node comes back?"},
		{"under what conditions", ask("Is the fee refundable?"), "Under what conditions?", "Is the fee refundable? Under what conditions?"},
		{"from a Chinese question", ask("Deployment 怎么回滚？"), "What about StatefulSet?", "StatefulSet 怎么回滚？"},

		// English: acts, choices, comparisons
		{"undo an act", ask("How do I close my account?"), "Can I undo that?", "Can I undo closing my account?"},
		{"do that", ask("How do I create a namespace?"), "Can I do that from a file?", "Can I create a namespace from a file?"},
		{"is this recommended", ask("How do I enable swap?"), "is this recommended in production?", "Is enabling swap recommended in production?"},
		{"before that", ask("How do I upgrade the cluster?"), "What should I back up before that?", "What should I back up before upgrading the cluster?"},
		{"a thing arrives", ask("How do I order a new card?"), "And when does it arrive?", "When does the new card arrive?"},
		{"the thing of a setting", ask("What do I do when my card is stolen?"), "How do I block it?", "How do I block my card?"},
		{"the new one", ask("I lost my card, what should I do?"), "How long does the new one take?", "How long does the new card take?"},
		{"which one", ask("How is a debit card different from a credit card?"), "Which one is cheaper?", "Which one is cheaper, a debit card or a credit card?"},
		{"which one of those there are", ask("Which account types are there?"), "which one is cheapest?", "Which of the account types is cheapest?"},
		{"one of them", ask("How do CronJobs handle time zones?"), "Can I suspend one?", "Can I suspend a CronJob?"},
		{"what was not understood is passed over", ask("What is the gold card?", "which one is cheapest?"), "How do I cancel it?", "How do I cancel the gold card?"},
		{"what is acted on", ask("How do CronJobs handle time zones?"), "and daylight saving?", "How do CronJobs handle daylight saving?"},
		{"they are two", ask("What are taints and tolerations?"), "How do they interact?", "How do taints and tolerations interact?"},
		{"they are many of one", ask("What is a taint?"), "How do they work?", "How do taints work?"},
		{"compared to", ask("What does kubectl drain do?"), "How is that different from cordon?", "What is the difference between kubectl drain and cordon?"},
		{"half a comparison", ask("When should I use a paper form?"), "Or is an online form better?", "Is an online form better than the paper form?"},
		{"who was asked for", ask("Which scheduler plugin filters nodes?"), "When does it run?", "When does the scheduler plugin that filters nodes run?"},
		{"who was answered", []Exchange{{Question: "Which plugin filters nodes?", Answer: "The node affinity filters nodes [1].", Titles: []string{"Node affinity"}}}, "When does it run?", "When does the node affinity run?"},
		{"that pointing at a thing", ask("What does the branch manager approve?"), "Is that approval final?", "About the branch manager: is that approval final?"},

		// English: no topic of its own
		{"requirements", ask("How do I open a savings account?"), "What are the requirements?", "What are the requirements for the savings account?"},
		{"how much", ask("What is the gold card?"), "How much does the upgrade cost?", "How much does the upgrade cost for the gold card?"},

		// English: untouched
		{"topic switch", ask("What is the gold card?"), "How do I report a stolen phone?", ""},
		{"names its own thing first", ask("What is a Pod?"), "What is a Deployment and how does it work?", ""},
		{"its own condition", ask("What is a Pod?"), "If a node fails, is it replaced?", ""},
		{"expletive it", ask("What is a Pod?"), "Is it possible to drain a node?", ""},
		{"what time is it", ask("What is a Pod?"), "What time is it in Tokyo?", ""},
		{"that as conjunction", ask("What is a Pod?"), "Which components check that nodes are healthy?", ""},
		{"this week", ask("What is a Pod?"), "Is the branch open this week?", ""},
		{"names the topic itself", ask("What is a Pod?"), "Can a Pod restart by itself?", ""},
		{"that of a relative clause", ask("What is a Pod?"), "What is the name of the festival that is held in winter?", ""},
		{"its own condition, without a comma", ask("What is a Pod?"), "When the river leaves the lake which way does it flow?", ""},
		{"whose it is is said", ask("What is a Pod?"), "What did the bank write in its letter?", ""},
		{"who it is is said", ask("Who is Jane Smith?"), "What did Joseph Haas say in his email?", ""},
		{"an own comparison", ask("What is a Pod?"), "Is a Job or a CronJob better for backups?", ""},
		{"which one of its own", ask("What is a Pod?"), "Which annotation marks the default class?", ""},
		{"who of its own", ask("What is a Pod?"), "Who approves a loan?", ""},
		{"another act", ask("How do I close my account?"), "How do I order a cheque book?", ""},
		{"a search, not a fragment", ask("What is a Pod?"), "node affinity", ""},
		{"another statement", ask("I lost my card, what should I do?"), "Tell me about mortgage rates", ""},
		{"no history", nil, "How does it work?", ""},
		{"only greetings before", ask("hello"), "How does it work?", ""},

		// Chinese: pronouns
		{"它", ask("什么是白金信用卡？"), "它的年费是多少？", "白金信用卡的年费是多少？"},
		{"它 as object", ask("白金信用卡有哪些权益？"), "怎么申请它？", "怎么申请白金信用卡？"},
		{"这个 with noun", ask("如何开通短信提醒服务？"), "这个服务收费吗？", "短信提醒服务收费吗？"},
		{"该", ask("什么是定期存款？"), "该产品可以提前支取吗？", "定期存款可以提前支取吗？"},
		{"其", ask("什么是定期存款？"), "其利率是多少？", "定期存款的利率是多少？"},
		{"a Latin topic", ask("什么是 Deployment？"), "它怎么回滚？", "Deployment 怎么回滚？"},
		{"那个", ask("转账限额是多少？"), "那个怎么提高？", "转账限额怎么提高？"},

		// Chinese: ellipsis
		{"X呢", ask("白金信用卡的年费是多少？"), "金卡呢？", "金卡的年费是多少？"},
		{"那去年呢", ask("今年的净利润是多少？"), "那去年呢？", "去年的净利润是多少？"},
		{"a time where none was", ask("银行的净利润是多少？"), "那去年呢？", "去年银行的净利润是多少？"},
		{"Latin for Latin", ask("Deployment 怎么回滚？"), "那 StatefulSet 呢？", "StatefulSet 怎么回滚？"},
		{"an attribute呢", ask("什么是白金信用卡？"), "那年费呢？", "白金信用卡的年费？"},
		{"为什么", ask("为何转账被限制？", "每日转账限额是五万元吗？"), "为什么？", "每日转账限额是五万元吗？为什么？"},
		{"详细说说", ask("什么是定期存款？"), "详细说说", "什么是定期存款？"},

		{"到日本呢", ask("转账到英国的费用是多少？"), "到日本呢？", "转账到日本的费用是多少？"},
		{"贷款的呢", ask("储蓄账户的利率是多少？"), "贷款的呢？", "贷款的利率是多少？"},
		{"金卡 for 信用卡, not for 年费", ask("怎么查询信用卡的账单？"), "那金卡呢？", "怎么查询金卡的账单？"},
		{"what is done to", ask("怎么查看服务器的日志？"), "指标呢？", "怎么查看服务器的指标？"},
		{"after an English question", ask("How do I scale a Deployment?"), "那 StatefulSet 呢？", "How do I scale a StatefulSet?"},
		{"Chinese words after an English question", ask("What is the fee of the gold card?"), "那白金卡呢？", "关于白金卡：What is the fee of the gold card？"},

		// Chinese: acts, choices, comparisons
		{"怎么撤销", ask("怎么冻结银行卡？"), "怎么撤销？", "冻结银行卡之后怎么撤销？"},
		{"这样做", ask("怎么升级集群？"), "这样做安全吗？", "升级集群安全吗？"},
		{"之前", ask("怎么升级集群？"), "之前要备份什么？", "升级集群之前要备份什么？"},
		{"在线可以吗", ask("怎么开立账户？"), "在线可以吗？", "在线开立账户可以吗？"},
		{"和X有什么区别", ask("污点是什么？"), "和容忍度是什么关系？", "污点和容忍度是什么关系？"},
		{"哪个", ask("普通卡和金卡有什么区别？"), "哪个年费更低？", "普通卡和金卡哪个年费更低？"},
		{"哪一种", ask("储蓄账户的类型有哪些？"), "哪一种最划算？", "储蓄账户的类型中哪一种最划算？"},
		{"后者", ask("Deployment 和 StatefulSet 有什么区别？"), "后者什么时候用？", "StatefulSet 什么时候用？"},
		{"另一种", ask("默认使用哪种结算方式？"), "另一种怎么收费？", "另一种结算方式怎么收费？"},
		{"从中", ask("什么是定期存款？"), "可以从中支取吗？", "可以从定期存款中支取吗？"},
		{"哪个组件", ask("哪个组件负责调度 Pod？"), "它怎么选择节点？", "负责调度 Pod 的组件怎么选择节点？"},
		{"谁", ask("谁负责审批贷款？"), "怎么联系他？", "怎么联系负责审批贷款的人？"},
		{"多久之后", ask("节点宕机后会发生什么？"), "多久之后？", "节点宕机后会发生什么？多久之后？"},

		// Chinese: no topic of its own
		{"补办要多久", ask("信用卡丢了怎么办？"), "补办要多久？", "信用卡丢了补办要多久？"},
		{"最多重试几次", ask("任务怎么并行执行？"), "最多可以重试几次？", "任务最多可以重试几次？"},
		{"what stands behind 从", ask("如何从卷快照中恢复数据？"), "它收费吗？", "卷快照收费吗？"},
		{"最多能建几个", ask("什么是命名空间？"), "最多能建几个？", "命名空间最多能建几个？"},
		{"怎么申请", ask("白金信用卡有哪些权益？"), "怎么申请？", "白金信用卡怎么申请？"},
		{"需要什么材料", ask("怎么开立储蓄账户？"), "需要什么材料？", "储蓄账户需要什么材料？"},
		{"多久到账", ask("跨行转账怎么收费？"), "多久到账？", "跨行转账多久到账？"},

		// Chinese: untouched
		{"换话题", ask("什么是白金信用卡？"), "手机丢了怎么挂失银行卡？", ""},
		{"其 in a name", ask("什么是污点？"), "土耳其的首都是哪里？", ""},
		{"他 means who was named", ask("什么是污点？"), "王小明把他的卡丢在哪里了？", ""},
		{"和 in a name", ask("什么是污点？"), "和田玉是什么颜色？", ""},
		{"这个 beside its noun", ask("什么是污点？"), "隐面龙这个名字是谁起的？", ""},
		{"贷款不是动词", ask("什么是污点？"), "贷款利率是多少？", ""},
		{"哪个有名词", ask("什么是污点？"), "哪个组件负责调度？", ""},
		{"自带先行词", ask("什么是 Pod？"), "如果节点宕机，它会重启吗？", ""},
		{"其他不是代词", ask("什么是白金信用卡？"), "还有其他理财产品推荐吗？", ""},
		{"应该不是代词", ask("什么是白金信用卡？"), "丢失护照应该联系谁？", ""},
		{"这个月不是代词", ask("什么是白金信用卡？"), "这个月网点几号放假？", ""},

		// mixed
		{"Chinese about an English topic", ask("What is kube-proxy?"), "它有哪些模式？", "kube-proxy 有哪些模式？"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := tc.want
			if want == "" {
				want = tc.question
			}
			got := Rewrite(tc.question, tc.before)
			if got.Question != want {
				t.Errorf("%q after %q\n got %q (%s)\nwant %q", tc.question, questions(tc.before), got.Question, got.Rule, want)
			}
			if (got.Rule == "") != (tc.want == "") {
				t.Errorf("rule %q", got.Rule)
			}
		})
	}
}

func ask(questions ...string) []Exchange {
	var out []Exchange
	for _, q := range questions {
		out = append(out, Exchange{Question: q})
	}
	return out
}

func questions(history []Exchange) []string {
	var out []string
	for _, e := range history {
		out = append(out, e.Question)
	}
	return out
}

// TestRewriteIsBounded gives it the longest input there is, of the words that the rules look for.
func TestRewriteIsBounded(t *testing.T) {
	t.Parallel()
	for _, w := range []string{"it ", "that ", "the a of ", "which one ", "and ", "when a node fails ", "Pod-1 ", "的", "怎么", "哪个", "它", "和", "A", " ", "of the ", "(", "? "} {
		long := strings.Repeat(w, 1<<16/len(w))
		for _, q := range []string{long[:min(len(long), maxQuestion)], "And " + w + "?", "它" + w + "呢？"} {
			got := Rewrite(q, []Exchange{{Question: long, Answer: long, Titles: []string{long, w}}, {Question: "What is the " + w + "?", Answer: long, Titles: []string{long}}})
			if len(got.Question) > len(q)+3*len(long) {
				t.Errorf("%q: %d bytes", w, len(got.Question))
			}
		}
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add("what about it?", "What is the gold card?", "An answer.")
	f.Add("那去年呢？", "今年的净利润是多少？", "")
	f.Add("her x", "Who is \xff?", "( )")
	f.Fuzz(func(t *testing.T, q, prev, answer string) {
		got := Rewrite(q, []Exchange{{Question: prev, Answer: answer, Titles: []string{answer}}})
		if len(got.Question) > max(len(q), 4*maxQuestion+len(answer)) {
			t.Fatalf("%d bytes", len(got.Question))
		}
		if utf8.ValidString(q) && utf8.ValidString(prev) && utf8.ValidString(answer) && !utf8.ValidString(got.Question) {
			t.Fatalf("%q is not valid UTF-8", got.Question)
		}
		if got.Rule == "" && got.Question != q || strings.TrimSpace(q) == "" && got.Rule != "" {
			t.Fatalf("%q changed without a rule to %q", q, got.Question)
		}
	})
}

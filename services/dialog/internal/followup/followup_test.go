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
		{"it as subject", ask("What is a Deployment?"), "Is it free?", "Is Deployment free?"},
		{"topic after of", ask("What is the annual fee of the gold card?"), "How do I cancel it?", "How do I cancel the gold card?"},
		{"its", ask("What does kube-proxy do?"), "What are its modes?", "What are kube-proxy's modes?"},
		{"they", ask("How do I configure liveness probes?"), "How often do they run?", "How often do liveness probes run?"},
		{"that at the end", ask("How do I rotate a certificate?"), "How long does that take?", "How long does the certificate take?"},
		{"does this work", ask("What is horizontal pod autoscaling?"), "How does this work?", "How does horizontal pod autoscaling work?"},
		{"this feature", ask("What is server-side apply?"), "Since when does this feature exist?", "Since when does server-side apply exist?"},
		{"he, from the answer", []Exchange{{Question: "Who founded Acme Corp?", Answer: "Acme Corp was founded by Jane Smith in 1901 [1]."}}, "Where was she born?", "Where was Jane Smith born?"},
		{"his, from the question", ask("When was Alan Turing born?"), "What was his most famous paper?", "What was Alan Turing's most famous paper?"},
		{"a polite lead is dropped", ask("What is a StatefulSet?"), "Thanks! And how do I scale it?", "How do I scale StatefulSet?"},
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
		{"an attribute", ask("What is the gold card?"), "What about the fees?", "The fees (gold card)?"},
		{"why", ask("Are transfers limited to 50,000?"), "Why?", "Are transfers limited to 50,000? Why?"},
		{"tell me more", ask("What is a Pod?"), "Tell me more", "What is a Pod?"},

		// English: no topic of its own
		{"requirements", ask("How do I open a savings account?"), "What are the requirements?", "What are the requirements (savings account)?"},
		{"how much", ask("What is the gold card?"), "How much does the upgrade cost?", "How much does the upgrade cost (gold card)?"},

		// English: untouched
		{"topic switch", ask("What is the gold card?"), "How do I report a stolen phone?", ""},
		{"names its own thing first", ask("What is a Pod?"), "What is a Deployment and how does it work?", ""},
		{"its own condition", ask("What is a Pod?"), "If a node fails, is it replaced?", ""},
		{"expletive it", ask("What is a Pod?"), "Is it possible to drain a node?", ""},
		{"what time is it", ask("What is a Pod?"), "What time is it in Tokyo?", ""},
		{"that as conjunction", ask("What is a Pod?"), "Which components check that nodes are healthy?", ""},
		{"this week", ask("What is a Pod?"), "Is the branch open this week?", ""},
		{"names the topic itself", ask("What is a Pod?"), "Can a Pod restart by itself?", ""},
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

		// Chinese: no topic of its own
		{"怎么申请", ask("白金信用卡有哪些权益？"), "怎么申请？", "白金信用卡怎么申请？"},
		{"需要什么材料", ask("怎么开立储蓄账户？"), "需要什么材料？", "储蓄账户需要什么材料？"},
		{"多久到账", ask("跨行转账怎么收费？"), "多久到账？", "跨行转账多久到账？"},

		// Chinese: untouched
		{"换话题", ask("什么是白金信用卡？"), "手机丢了怎么挂失银行卡？", ""},
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

package title_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/width"

	"github.com/ragmesh/ragmesh/services/dialog/internal/title"
)

func TestOf(t *testing.T) {
	t.Parallel()
	for question, want := range map[string]string{
		"What is the daily transfer limit?":                                      "What is the daily transfer limit?",
		"Hi, could you tell me what the daily transfer limit is?":                "What the daily transfer limit is?",
		"Hello there! Can you please explain to me how pods restart? Thanks!":    "How pods restart?",
		"good morning, i was wondering if you could tell me where the office is": "Where the office is",
		"Please tell me about replacement cards":                                 "replacement cards",
		"History of the bank":                                                    "History of the bank",
		"hint for kubectl get pods":                                              "hint for kubectl get pods",
		"kubectl get pods hangs":                                                 "kubectl get pods hangs",
		"Hi":                                                                     "Hi",
		"Thank you!":                                                             "Thank you!",
		"hello, please":                                                          "hello, please",
		"  What\n\tis   this?\r\n":                                               "What is this?",
		"你好，请问每日转账限额是多少？":                                                        "每日转账限额是多少？",
		"您好！麻烦您告诉我补办银行卡要多少钱，谢谢":                                                  "补办银行卡要多少钱",
		"请问一下，Pod 为什么会重启？谢谢！":                                                    "Pod 为什么会重启？",
		"你好":       "你好",
		"请假流程是什么？": "请假流程是什么？",
		"可以远程办公吗？": "可以远程办公吗？",
		"Which of the very many fees that apply to replacement cards can be waived for staff?": "Which of the very many fees that apply to replacement cards…",
		"在集群升级的过程中，如果某个节点上的容器组一直处于终止状态而无法被删除，我们应该如何处理？":                                        "在集群升级的过程中，如果某个节点上的容器组一直处于终止状态…",
		strings.Repeat("a", 100): strings.Repeat("a", 59) + "…",
		"\u202eevil\u0007 title": "evil title",
		"":                       "",
		"?!":                     "?!",
		"😀😀😀 what":               "😀😀😀 what",
	} {
		if got := title.Of(question); got != want {
			t.Errorf("title of %q is %q, want %q", question, got, want)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("Hi, could you tell me what this is? 你好，请问")
	f.Add("\xff\xfe 😀 e\u0301")
	f.Add(strings.Repeat("谢谢", 200))
	f.Fuzz(func(t *testing.T, question string) {
		got := title.Of(question)
		if len(got) > 200 || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t\x1b\u202e") {
			t.Errorf("title of %q is %q", question, got)
		}
		columns := 0
		for _, r := range got {
			switch width.LookupRune(r).Kind() {
			case width.EastAsianWide, width.EastAsianFullwidth:
				columns++
			}
		}
		if again := title.Of(got); utf8.RuneCountInString(again) > utf8.RuneCountInString(got)+1 {
			t.Errorf("title of the title %q is %q", got, again)
		}
	})
}

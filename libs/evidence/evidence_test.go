package evidence_test

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/evidence"
)

// The pages of a bank: nothing the weights were fitted on.
var (
	card = evidence.Passage{
		Title: "Lost and stolen cards", Headings: []string{"Replacement"},
		Text: "If your card is lost or stolen, call us at once. A replacement card costs 10 euros and arrives within five working days.\n\n" +
			"- Block the card in the app under Cards > Block.\n- Your account number stays the same.",
	}
	transfer = evidence.Passage{
		Title: "Transfers", Headings: []string{"Limits"},
		Text: "You can transfer up to 5,000 euros a day online. This limit was introduced by Anna Keller in 2019. It can be raised at a branch.",
	}
	cardChinese = evidence.Passage{
		Title: "银行卡挂失", Headings: []string{"补卡"},
		Text: "如果您的银行卡遗失，请立即挂失。补卡手续费为10元，新卡将在五个工作日内寄出。挂失后账号保持不变。",
	}
	transferChinese = evidence.Passage{
		Title: "转账", Headings: []string{"限额"},
		Text: "网上银行每日最多可转账50000元。该限额于2019年由王敏提出。如需提高限额，请前往网点办理。",
	}
)

func TestJudge(t *testing.T) {
	t.Parallel()
	english, chinese := []evidence.Passage{card, transfer}, []evidence.Passage{cardChinese, transferChinese}
	tests := map[string]struct {
		question   string
		passages   []evidence.Passage
		answerable bool
		best       string // in the first sentence, when answerable
	}{
		"a price":                       {"How much does a replacement card cost?", english, true, "costs 10 euros"},
		"a limit":                       {"How much can I transfer online per day?", english, true, "up to 5,000 euros a day"},
		"a person":                      {"Who introduced the transfer limit?", english, true, "by Anna Keller"},
		"a date":                        {"When was the limit for transfers introduced?", english, true, "in 2019"},
		"a step":                        {"How do I block my card in the app?", english, true, "Block the card in the app"},
		"points back":                   {"Can the transfer limit be raised at a branch?", english, true, "It can be raised at a branch"},
		"another subject":               {"What is the interest rate of a mortgage?", english, false, ""},
		"near miss: another property":   {"What colour is the replacement card?", english, false, ""},
		"near miss: another product":    {"How much does a replacement cheque book cost in Canada?", english, false, ""},
		"chinese, a price":              {"补卡手续费是多少？", chinese, true, "手续费为10元"},
		"chinese, a limit":              {"网上银行每天最多可以转账多少元？", chinese, true, "50000元"},
		"chinese, a person":             {"转账限额是谁提出的？", chinese, true, "王敏"},
		"chinese, another subject":      {"房贷的利率是多少？", chinese, false, ""},
		"chinese, near miss":            {"信用卡年费什么时候扣除？", chinese, false, ""},
		"no passages":                   {"How much does a card cost?", nil, false, ""},
		"no words":                      {"What is it?", english, false, ""},
		"empty question":                {"", english, false, ""},
		"passage without any sentences": {"How much does a card cost?", []evidence.Passage{{Title: "Card"}}, false, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := evidence.Judge(tc.question, tc.passages)
			if got.Answerable != tc.answerable {
				t.Errorf("Judge(%q).Answerable = %v (%.2f, missing %q), want %v", tc.question, got.Answerable, got.Score, got.Missing, tc.answerable)
			}
			if tc.answerable && (len(got.Sentences) == 0 || !strings.Contains(got.Sentences[0].Text, tc.best)) {
				t.Errorf("Judge(%q).Sentences = %+v, want the first to hold %q", tc.question, got.Sentences, tc.best)
			}
			check(t, got, tc.passages)
			if diff := cmp.Diff(got, evidence.Judge(tc.question, tc.passages)); diff != "" {
				t.Errorf("a second Judge differs (-first +second):\n%s", diff)
			}
		})
	}
}

// check holds a verdict to what its documentation promises.
func check(t *testing.T, v evidence.Verdict, passages []evidence.Passage) {
	t.Helper()
	if math.IsNaN(v.Score) || v.Score < 0 || v.Score > 1 {
		t.Errorf("Score = %v, want 0..1", v.Score)
	}
	if v.Answerable != (v.Score >= evidence.Threshold) {
		t.Errorf("Answerable = %v at %v", v.Answerable, v.Score)
	}
	if len(v.Sentences) > evidence.MaxSentences || len(v.Missing) > evidence.MaxMissing {
		t.Errorf("%d sentences and %d missing words, want at most %d and %d", len(v.Sentences), len(v.Missing), evidence.MaxSentences, evidence.MaxMissing)
	}
	last := math.Inf(1)
	for _, s := range v.Sentences {
		if s.Text == "" || passages[s.Passage].Text[s.Start:s.End] != s.Text {
			t.Errorf("sentence %+v is not the text of its range", s)
		}
		if s.Score > last || s.Score < 0 {
			t.Errorf("sentence scores out of order at %+v", s)
		}
		last = s.Score
	}
}

func TestJudgeMissing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		question string
		passages []evidence.Passage
		want     []string
	}{
		"english":           {"How much does a Platinum card cost for students?", []evidence.Passage{card}, []string{"Platinum", "students"}},
		"chinese":           {"补卡手续费可以分期吗？", []evidence.Passage{cardChinese}, []string{"分期"}},
		"nothing":           {"How much does a replacement card cost?", []evidence.Passage{card}, nil},
		"found in headings": {"What is a replacement?", []evidence.Passage{card}, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, evidence.Judge(tc.question, tc.passages).Missing); diff != "" {
				t.Errorf("Missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJudgeQuotes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		question, text, want string
	}{
		"list marker": {
			"What is the default concurrency policy?", "Policies:\n\n* `Allow` is the default concurrency policy.\n* Others exist.",
			"`Allow` is the default concurrency policy.",
		},
		"the sentence it points back to": {
			"What does the scheduler do by default when a job fails?", "The scheduler watches each job. By default it restarts a job that fails.",
			"The scheduler watches each job. By default it restarts a job that fails.",
		},
		"the list it introduces": {
			"What are the default eviction thresholds?", "The default eviction thresholds are:\n\n- memory: 100Mi\n- disk: 10%\n\nThey can be changed.",
			"The default eviction thresholds are:\n\n- memory: 100Mi\n- disk: 10%",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := evidence.Judge(tc.question, []evidence.Passage{{Title: "Jobs", Text: tc.text}})
			if len(got.Sentences) == 0 {
				t.Fatal("no sentences")
			}
			if diff := cmp.Diff(tc.want, got.Sentences[0].Text); diff != "" {
				t.Errorf("first sentence (-want +got):\n%s", diff)
			}
		})
	}
}

// Passages cut with an overlap hold some sentences twice; they are quoted once.
func TestJudgeOverlap(t *testing.T) {
	t.Parallel()
	v := evidence.Judge("How much does a replacement card cost?", []evidence.Passage{card, card})
	seen := map[string]bool{}
	for _, s := range v.Sentences {
		if seen[s.Text] {
			t.Errorf("%q is quoted twice", s.Text)
		}
		seen[s.Text] = true
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("How much does a card cost?", card.Title, card.Text)
	f.Add("补卡手续费是多少？", cardChinese.Title, cardChinese.Text)
	f.Add("what 默认 is\xff\xfe 1,2 ", "# a\n- b:", ":\n: x\n```\n|a|\n。》它")
	f.Fuzz(func(t *testing.T, question, title, s string) {
		passages := []evidence.Passage{{Title: title, Headings: []string{question}, Text: s}, {Text: title, Score: 1}}
		v := evidence.Judge(question, passages)
		check(t, v, passages)
		for _, w := range v.Missing {
			if utf8.ValidString(question) && !strings.Contains(question, w) {
				t.Errorf("missing %q is not in the question %q", w, question)
			}
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add("A card costs 10 euros [1].", card.Text)
	f.Add("补卡不收费", cardChinese.Text)
	f.Fuzz(func(t *testing.T, claim, quote string) {
		support, share := evidence.Verify(claim, quote)
		if math.IsNaN(share) || share < 0 || share > 1 || support > evidence.Supported {
			t.Errorf("Verify = %v, %v", support, share)
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	for name, p := range map[string]evidence.Passage{"english": transfer, "chinese": transferChinese} {
		text := strings.Repeat(p.Text+" ", 1+800/len(p.Text))
		passages := make([]evidence.Passage, 20)
		for i := range passages {
			passages[i] = evidence.Passage{Title: p.Title, Headings: p.Headings, Text: text}
		}
		question := "How much can I transfer online per day?"
		if name == "chinese" {
			question = "网上银行每天最多可以转账多少元？"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				evidence.Judge(question, passages)
			}
		})
	}
}

func TestAReaderSaysWhatJudgeSays(t *testing.T) {
	t.Parallel()
	passages := []evidence.Passage{
		{Title: "Pods", Text: "# Pods\n\nA pod holds containers.\n\n- It shares an address.\n- It does not restart by itself.\n"},
		{Title: "保留", Text: "日志默认保留 30 天。之后会被删除。"},
		{Text: "The defaults are:\n- 5 replicas\n- 10 seconds\n\n`kubectl get pods`\n"},
	}
	r := evidence.NewReader(1<<20, time.Hour)
	for range 2 {
		for _, q := range []string{"What does a pod hold?", "日志默认保留多久？", "What are the defaults?", "Does a pod restart?"} {
			if diff := cmp.Diff(evidence.Judge(q, passages), r.Judge(q, passages)); diff != "" {
				t.Errorf("%s (-Judge +Reader):\n%s", q, diff)
			}
		}
	}
}

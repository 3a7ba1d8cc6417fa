package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func everything(string) bool { return true }

func TestBuiltin(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		question  string
		tool      string // empty: documents are searched
		arguments string
	}{
		"multiplication":         {"what is 12*7", "calculator", `{"expression":"12*7"}`},
		"a space before percent": {"What is 3.5 % of 1200?", "calculator", `{"expression":"3.5% of 1200"}`},
		"with question mark":     {"What is 12 × 7?", "calculator", `{"expression":"12 * 7"}`},
		"percentage":             {"计算 3.5% of 1200", "calculator", `{"expression":"3.5% of 1200"}`},
		"Chinese words":          {"12 加 7 等于多少", "calculator", `{"expression":"12 + 7"}`},
		"full width":             {"１２＋７＝？", "calculator", `{"expression":"12+7"}`},
		"English words":          {"How much is 144 divided by 12?", "calculator", `{"expression":"144 / 12"}`},
		"parentheses":            {"(3+4)*2", "calculator", `{"expression":"(3+4)*2"}`},
		"square root":            {"what's the square root of 2", "", ""},
		"a function":             {"calculate sqrt(2)", "calculator", `{"expression":"sqrt(2)"}`},
		"Chinese percentage":     {"1200 的 3.5% 是多少？", "calculator", `{"expression":"1200 的 3.5%"}`},
		"a date is no sum":       {"2024-01-15", "", ""},
		"a phone number":         {"010-8888-9999", "", ""},
		"a number alone":         {"what is 42", "", ""},
		"a version":              {"what is 1.29", "", ""},
		"words around":           {"what is the limit of 12*7 pods", "", ""},
		"time in a city":         {"What time is it in Tokyo?", "current_time", `{"timezone":"Asia/Tokyo"}`},
		"time now":               {"what time is it", "current_time", `{}`},
		"current time":           {"Current time in New York", "current_time", `{"timezone":"America/New_York"}`},
		"time in a zone":         {"what's the time in Europe/Berlin", "current_time", `{"timezone":"Europe/Berlin"}`},
		"the date":               {"What day is it today?", "current_time", `{}`},
		"Chinese time":           {"现在几点？", "current_time", `{}`},
		"Chinese time, polite":   {"请问现在几点了", "current_time", `{}`},
		"Chinese city first":     {"东京现在几点？", "current_time", `{"timezone":"Asia/Tokyo"}`},
		"Chinese city after":     {"现在伦敦几点了？", "current_time", `{"timezone":"Europe/London"}`},
		"Chinese date":           {"今天星期几？", "current_time", `{}`},
		"an unknown place":       {"What time is it in Atlantis?", "", ""},
		"opening time":           {"What time does the branch open?", "", ""},
		"Chinese opening time":   {"网点几点开门？", "", ""},
		"a branch is no city":    {"柜台现在几点？", "", ""},
		"an ordinary question":   {"What is a Pod?", "", ""},
		"time limit":             {"what is the time limit for a refund", "", ""},
	}
	p, err := New(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := p.Plan(tc.question, everything)
			want := Plan{Retrieve: true}
			if tc.tool != "" {
				intent := map[string]string{"calculator": "calculate"}[tc.tool]
				if intent == "" {
					intent = tc.tool
				}
				want = Plan{Intents: []string{intent}, Calls: []Call{{ID: "call-1", Tool: tc.tool, Arguments: tc.arguments}}}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tc.question, diff)
			}
			if got := p.Plan(tc.question, nil); len(got.Calls) > 0 || !got.Retrieve {
				t.Errorf("without tools: %+v", got)
			}
		})
	}
}

func TestSmallTalk(t *testing.T) {
	t.Parallel()
	p, err := New(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	for question, talk := range map[string]bool{
		"Hello!": true, "你好": true, "Thanks a lot!": true, "好的，谢谢": true, "再见": true, "What can you do?": true, "good morning": true,
		"hello world in Go": false, "thanks for nothing, but how do I close my account tomorrow?": false, "谢谢，那怎么注销账户？我的卡丢了怎么办": false,
	} {
		if got := p.Plan(question, everything); (got.Reply != nil) != talk {
			t.Errorf("%q: %+v", question, got)
		}
	}
}

func TestConfigured(t *testing.T) {
	t.Parallel()
	no := false
	p, err := New(Config{Builtin: true, Intents: []Intent{
		{Name: "rate", Patterns: []string{`exchange rate (from )?(?P<from>[a-z]{3}) to (?P<to>[a-z]{3})`}, Keywords: []string{"汇率"}, Tool: "rates", Arguments: map[string]string{"from": "$from", "to": "$to", "source": "ecb"}, Retrieve: &no},
		{Name: "fees", Keywords: []string{"fee", "费用"}, PromptID: "fees", Strategy: "tables"},
		{Name: "legal", Keywords: []string{"lawyer"}, Reply: map[string]string{"en": "Please ask the legal team."}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		question string
		want     Plan
	}{
		"named groups": {"The exchange rate from EUR to usd, please", Plan{Intents: []string{"rate"}, Calls: []Call{{"call-1", "rates", `{"from":"EUR","source":"ecb","to":"usd"}`}}}},
		"keyword only": {"今天的汇率", Plan{Intents: []string{"rate"}, Calls: []Call{{"call-1", "rates", `{"source":"ecb"}`}}}},
		"two intents": {"What fee is on the exchange rate EUR to USD?", Plan{
			Intents: []string{"rate", "fees"}, Retrieve: true, Calls: []Call{{"call-1", "rates", `{"from":"EUR","source":"ecb","to":"USD"}`}}, PromptID: "fees", Strategy: "tables",
		}},
		"a keyword is a word": {"How much coffee is left?", Plan{Retrieve: true}},
		"a reply":             {"I want a lawyer", Plan{Intents: []string{"legal"}, Reply: map[string]string{"en": "Please ask the legal team."}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, p.Plan(tc.question, everything)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCallsAreBounded(t *testing.T) {
	t.Parallel()
	var cfg Config
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		cfg.Intents = append(cfg.Intents, Intent{Name: name, Keywords: []string{"go"}, Tool: name})
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Plan("go", everything); len(got.Calls) != MaxCalls {
		t.Errorf("%d calls", len(got.Calls))
	}
	if got := p.Plan(strings.Repeat("go ", 2000), everything); len(got.Calls) != 0 || !got.Retrieve {
		t.Errorf("a long question: %+v", got)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]Intent{
		"no name":         {Keywords: []string{"x"}},
		"no condition":    {Name: "a"},
		"bad pattern":     {Name: "a", Patterns: []string{"("}},
		"unknown group":   {Name: "a", Patterns: []string{"x"}, Tool: "t", Arguments: map[string]string{"y": "$z"}},
		"no tool":         {Name: "a", Patterns: []string{"x"}, Arguments: map[string]string{"y": "z"}},
		"empty keyword":   {Name: "a", Keywords: []string{" "}},
		"a strange reply": {Name: "a", Keywords: []string{"x"}, Reply: map[string]string{"fr": "non"}},
	} {
		if err := (Config{Intents: []Intent{in}}).Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	twice := Intent{Name: "a", Keywords: []string{"x"}}
	if err := (Config{Intents: []Intent{twice, twice}}).Validate(); err == nil {
		t.Error("a name twice: accepted")
	}
}

func FuzzPlan(f *testing.F) {
	for _, s := range []string{"what is 12*7", "东京现在几点？", "hello", "the exchange rate EUR to USD"} {
		f.Add(s)
	}
	p, err := New(Defaults())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := p.Plan(s, everything); len(got.Calls) > MaxCalls || got.Reply == nil && !got.Retrieve && len(got.Calls) == 0 {
			t.Fatalf("%q: %+v", s, got)
		}
	})
}

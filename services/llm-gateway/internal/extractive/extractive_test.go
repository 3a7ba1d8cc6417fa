package extractive

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

func generate(t *testing.T, r ask.Request) (string, provider.Result) {
	t.Helper()
	var b strings.Builder
	res, err := Model{}.Generate(t.Context(), provider.Request{Ask: r}, func(p provider.Piece) error {
		b.WriteString(p.Text)
		return nil
	})
	if err != nil {
		t.Fatalf("Generate: %v", err)
	}
	return b.String(), res
}

const refunds = `# Refunds

Refunds of card payments are made to the card that paid. A refund takes five business days to
arrive. Refunds of bank transfers take ten business days.

To request a refund:

1. Open the order.
2. Choose "Refund".
3. Confirm the amount.

Gift cards can't be refunded [12].`

const refundsZH = `退款说明。银行卡付款的退款将原路退回。退款需要五个工作日
到账。礼品卡不能退款。`

func sources() []ask.Source {
	return []ask.Source{
		{Number: 1, ID: "en", Document: "d1", Title: "Refunds", Text: refunds},
		{Number: 2, ID: "zh", Document: "d2", Title: "退款", Text: refundsZH},
		{Number: 3, ID: "x", Document: "d3", Title: "Parking", Text: "The car park opens at 7 am. It has room for 200 cars."},
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request ask.Request
		want    string
		finish  provider.Finish
	}{
		{"one sentence, unwrapped", ask.Request{Question: "When does the car park open?", Sources: sources()},
			"The car park opens at 7 am. [3]", provider.Stop},
		{"the question's language", ask.Request{Question: "退款需要几个工作日到账？", Sources: sources()},
			"退款需要五个工作日到账。[2]", provider.Stop},
		{"a row of a table", ask.Request{Question: "金卡每日取现限额是多少？", Sources: []ask.Source{
			{Number: 1, ID: "t", Document: "d", Title: "限额", Text: "| 卡种: 金卡 | 每日取现限额: 1,000 欧元 |"}}},
			"卡种: 金卡；每日取现限额: 1,000 欧元[1]", provider.Stop},
		{"a tool's result", ask.Request{Question: "What is 0.1 + 0.2?", Sources: []ask.Source{
			{Number: 1, Tool: &ask.Tool{Name: "calculator"}, Text: "0.1 + 0.2 = 0.3"}}},
			"0.1 + 0.2 = 0.3 [1]", provider.Stop},
		{"a tool that failed", ask.Request{Question: "1/0是多少？", Sources: []ask.Source{
			{Number: 1, Tool: &ask.Tool{Name: "calculator", Failure: "division by zero."}}}},
			"根据现有资料，我无法回答这个问题。工具调用失败（calculator: division by zero）。请换一种问法，或补充包含该内容的文档。", provider.Abstained},
		{"nothing to answer from", ask.Request{Question: "What is the capital of France?"},
			"I can't answer this from the sources I have. Try other words, or add a document that covers it.", provider.Abstained},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, res := generate(t, tt.request)
			if diff := cmp.Diff(tt.want, got); diff != "" || res.Finish != tt.finish {
				t.Errorf("finish %v, answer (-want +got):\n%s", res.Finish, diff)
			}
			if res.Usage.Completion == 0 || !res.Usage.Estimated {
				t.Errorf("usage = %+v, want an estimate", res.Usage)
			}
		})
	}
}

// pick is a sentence that a judge finds.
type pick struct {
	source int
	text   string
	score  float64
}

// found returns picks as the judge does.
func found(t *testing.T, sources []ask.Source, picks []pick) []evidence.Sentence {
	t.Helper()
	var out []evidence.Sentence
	for _, p := range picks {
		start := strings.Index(sources[p.source].Text, p.text)
		if start < 0 {
			t.Fatalf("source %d has no %q", p.source, p.text)
		}
		out = append(out, evidence.Sentence{Passage: p.source, Start: start, End: start + len(p.text), Text: p.text, Score: p.score})
	}
	return out
}

const steps = "## Undo a rollout\n\nUndo the rollout:\n\n```shell\nkubectl rollout undo deployment/x\n```\n\nThe old revision is back.\n\n" +
	"Requirements:\n\n- a cluster;\n- kubectl, and\n  a network.\n\nThat's all.\n"

func TestTell(t *testing.T) {
	t.Parallel()
	en := []ask.Source{
		{Number: 1, Document: "d", Offset: 500, Text: "Second part. It says [2] more.[7]"},
		{Number: 2, Document: "e", Text: steps},
		{Number: 3, Document: "d", Offset: 0, Text: "First part.\nFirst again.\n第一部分。"},
		{Number: 4, Document: "f", Text: "Use a[1]:\n\n```\na[1]\n```\n"},
	}
	zh := []ask.Source{
		{Number: 1, Text: "申请条件：\n\n- 年满 18 岁；\n- 持有有效证件。\n\n网上即可\n申请。SEPA 免费。"},
		{Number: 2, Text: "You must be 18 years old."},
	}
	yaml := []ask.Source{{Number: 1, Text: "image: perl\nimagePullPolicy: IfNotPresent\nname: pi\nports: [1]\n```\n\nThat was it."}}
	tests := []struct {
		name     string
		sources  []ask.Source
		language string
		ranked   []pick
		want     string
	}{
		{"the order of the document, not of the rank", en, "en",
			[]pick{{0, "Second part.", .5}, {2, "First part.", .4}}, "First part. [3] Second part. [1]"},
		{"the best document first", en, "en",
			[]pick{{1, "The old revision is back.", .5}, {2, "First part.", .4}}, "The old revision is back. [2] First part. [3]"},
		{"what is far behind the best is left out", en, "en", []pick{{2, "First part.", .9}, {0, "Second part.", .1}}, "First part. [3]"},
		{"an introduction with its list", en, "en", []pick{{1, "Requirements:", .9}},
			"Requirements: [2]\n- a cluster [2]\n- kubectl, and a network. [2]"},
		{"a list that was found whole", en, "en", []pick{{1, "Requirements:\n\n- a cluster;\n- kubectl, and\n  a network.", .9}},
			"Requirements: [2]\n- a cluster [2]\n- kubectl, and a network. [2]"},
		{"an item with its introduction", en, "en", []pick{{1, "a cluster;", .9}}, "Requirements: [2]\n- a cluster [2]"},
		{"an introduction with its code", en, "en", []pick{{1, "Undo the rollout:", .9}},
			"Undo the rollout: [2]\n\n```shell\nkubectl rollout undo deployment/x\n```\n[2]"},
		{"a fence that was found along", en, "en", []pick{{1, "Undo the rollout:\n\n```shell", .9}},
			"Undo the rollout: [2]\n\n```shell\nkubectl rollout undo deployment/x\n```\n[2]"},
		{"code that would read as a citation is left out", en, "en", []pick{{3, "Use a[1]:", .9}}, "Use a［1］: [4]"},
		{"what announces nothing that can be told gives way", en, "en", []pick{{3, "Use a[1]:", .9}, {2, "First part.", .8}}, "First part. [3]"},
		{"prose before code", en, "en", []pick{{1, "kubectl rollout undo deployment/x", .9}, {1, "The old revision is back.", .2}},
			"The old revision is back. [2]"},
		{"code before nothing", en, "en", []pick{{1, "kubectl rollout undo deployment/x", .9}},
			"```\nkubectl rollout undo deployment/x\n```\n[2]"},
		{"code without its fences", yaml, "en", []pick{{0, "image: perl\nimagePullPolicy: IfNotPresent\nname: pi\nports: [1]", .9}},
			"```\nimage: perl\nimagePullPolicy: IfNotPresent\nname: pi\nports: ［1］\n```\n[1]"},
		{"a heading gives way to what stands under it", en, "en", []pick{{1, "## Undo a rollout", .9}},
			"Undo the rollout: [2]\n\n```shell\nkubectl rollout undo deployment/x\n```\n[2]"},
		{"numbers in brackets are no citations", en, "en", []pick{{0, "It says [2] more.[7]", .9}}, "It says ［2］ more. [1]"},
		{"another language is left out", en, "en", []pick{{2, "第一部分。", .9}, {2, "First again.", .5}}, "First again. [3]"},
		{"another language is better than none", en, "en", []pick{{2, "第一部分。", .9}}, "第一部分。[3]"},
		{"Chinese runs on without spaces", zh, "zh", []pick{{0, "网上即可\n申请。", .5}, {0, "SEPA 免费。", .5}},
			"网上即可申请。[1] SEPA 免费。[1]"},
		{"a Chinese item with its introduction", zh, "zh", []pick{{0, "年满 18 岁；", .9}}, "申请条件：[1]\n- 年满 18 岁[1]"},
		{"the same sentence twice", zh, "en", []pick{{1, "You must be 18 years old.", .5}, {1, "You must be 18 years old.", .5}},
			"You must be 18 years old. [2]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lines := arrange(choose(found(t, tt.sources, tt.ranked), tt.sources, tt.language), tt.sources)
			if diff := cmp.Diff(tt.want, strings.Join(write(lines, tt.language), "")); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGenerateAbstainsAndNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	got, res := generate(t, ask.Request{Question: "How much does a helicopter licence cost?", Sources: sources()})
	if res.Finish != provider.Abstained || !strings.Contains(got, "helicopter") {
		t.Errorf("finish %v, answer %q, want it to name the helicopter", res.Finish, got)
	}
	got, res = generate(t, ask.Request{Question: "直升机驾照多少钱？", Sources: sources()})
	if res.Finish != provider.Abstained || !strings.Contains(got, "直升机") {
		t.Errorf("finish %v, answer %q, want it to name the 直升机", res.Finish, got)
	}
}

func TestGenerateStops(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	r := provider.Request{Ask: ask.Request{Question: "When does the car park open?", Sources: sources()}}
	if _, err := (Model{}).Generate(t.Context(), r, func(provider.Piece) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("Generate error = %v, want emit's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Model{}).Generate(ctx, r, func(provider.Piece) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Generate error = %v, want the context's", err)
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"two\nlines":            "two lines",
		"中文\n换行":                "中文换行",
		"中文\nand English":       "中文 and English",
		"said so.[3] And [4]":   "said so. And ［4］",
		"a[1] = 2":              "a［1］ = 2",
		"> quoted\n":            "quoted",
		"## Heading":            "Heading",
		"[text](https://x.org)": "[text](https://x.org)",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("How do I request a refund?", refunds)
	f.Add("退款需要多久？", refundsZH)
	f.Add("list:", "- a:\n- b:\n\n  - c\n1. d")
	f.Fuzz(func(t *testing.T, question, text string) {
		a := compose(ask.Request{Question: question, Sources: []ask.Source{{Number: 1, Text: text}, {Number: 2, Text: text, Tool: &ask.Tool{Name: "x"}}}})
		total := 0
		for _, s := range a.sentences {
			total += len(s)
		}
		if len(a.sentences) == 0 || total > 4*len(text)+8192 {
			t.Errorf("%d sentences of %d bytes", len(a.sentences), total)
		}
	})
}

package text_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/text"
)

func TestSentences(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want []string
	}{
		"empty":                    {in: " \n\t ", want: nil},
		"plain":                    {in: "It ran. It stopped!  Why? Unknown", want: []string{"It ran.", "It stopped!", "Why?", "Unknown"}},
		"titles and initials":      {in: "Dr. J. K. Rowling met Mr. Smith. They left.", want: []string{"Dr. J. K. Rowling met Mr. Smith.", "They left."}},
		"acronym inside":           {in: "The U.S. Army won. It left.", want: []string{"The U.S. Army won.", "It left."}},
		"acronym at the end":       {in: "He moved to the U.S. He stayed.", want: []string{"He moved to the U.S.", "He stayed."}},
		"latin abbreviations":      {in: "Use a probe, e.g. HTTP, i.e. GET. See No. 5 etc. for more.", want: []string{"Use a probe, e.g. HTTP, i.e. GET.", "See No. 5 etc. for more."}},
		"decimals and hosts":       {in: "Version 1.29 of example.com costs $3.50. Good.", want: []string{"Version 1.29 of example.com costs $3.50.", "Good."}},
		"quotes and footnotes":     {in: `He said "Go." Then left.[12] Later (too late.) it fell.`, want: []string{`He said "Go."`, "Then left.[12]", "Later (too late.)", "it fell."}},
		"exclaiming names":         {in: "Yahoo! is a firm. It grew... slowly.", want: []string{"Yahoo! is a firm.", "It grew... slowly."}},
		"lower-case names":         {in: "It runs. kube-proxy watches it.", want: []string{"It runs.", "kube-proxy watches it."}},
		"wrapped prose":            {in: "A Pod is the smallest deployable unit of computing\nthat you can create. It runs.\nNext", want: []string{"A Pod is the smallest deployable unit of computing\nthat you can create.", "It runs.", "Next"}},
		"blank lines and headings": {in: "# Pods\nA pod runs\n\nAnother one", want: []string{"# Pods", "A pod runs", "Another one"}},
		"lists":                    {in: "Kinds:\n- one that is long enough to look like it was wrapped\n- two\n1. First. Then\n2. second", want: []string{"Kinds:", "- one that is long enough to look like it was wrapped", "- two", "1. First.", "Then", "2. second"}},
		"tables":                   {in: "| name | value |\n|---|---|\n| a | 1. One |", want: []string{"| name | value |", "|---|---|", "| a | 1. One |"}},
		"code":                     {in: "Run this:\n```sh\nkubectl get pods. now\n\nls\n```\nDone.", want: []string{"Run this:", "```sh", "kubectl get pods. now", "ls", "```", "Done."}},
		"chinese":                  {in: "集群由节点组成。它运行吗？是的！第一；第二……最后", want: []string{"集群由节点组成。", "它运行吗？", "是的！", "第一；", "第二……", "最后"}},
		"chinese quotes":           {in: "他说：“走。”然后离开。《谁？》是书名。", want: []string{"他说：“走。”", "然后离开。", "《谁？》是书名。"}},
		"chinese with numbers":     {in: "版本1.29发布于2024年.它默认为3.5。系列1.由于", want: []string{"版本1.29发布于2024年.", "它默认为3.5。", "系列1.由于"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, sp := range text.Sentences(tc.in) {
				got = append(got, tc.in[sp.Start:sp.End])
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Sentences (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzSentences(f *testing.F) {
	for _, s := range []string{"Mr. A. said \"No!\"[1] 走。”《谁？》……\n- a\n```\nx", "|a|\n#\n##x\n1. \n…a\xff。\xe4\xb8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		end := 0
		for _, sp := range text.Sentences(s) {
			if sp.Start < end || sp.End <= sp.Start || sp.End > len(s) {
				t.Fatalf("span %+v out of order or bounds in %q", sp, s)
			}
			if strings.TrimSpace(s[end:sp.Start]) != "" {
				t.Fatalf("lost text %q of %q", s[end:sp.Start], s)
			}
			end = sp.End
		}
		if strings.TrimSpace(s[end:]) != "" {
			t.Fatalf("lost the end %q of %q", s[end:], s)
		}
	})
}

// Hostile input must not take quadratic time: a megabyte of any pattern passes
// in well under a second even on a loaded machine with the race detector on.
func TestLinearTime(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for _, pattern := range []string{"a", "!", ".", "…", "Mr. ", "。》", "[1]", ".[1]", " ", "\n", "- \n", "a.", "\u0301", "e\u0301", "集", "\xff", "1,", "a'", "```\n"} {
		s := strings.Repeat(pattern, size/len(pattern))
		start := time.Now()
		text.Tokens(s)
		text.Sentences(s + "x")
		text.Sentences(strings.Repeat(" ", size/2) + s[:size/2])
		text.Language(s)
		text.EstimateTokens(s)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%q repeated to 1 MiB took %v", pattern, took)
		}
	}
}

func TestLanguage(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                   "",
		"12:30 --":           "",
		"How many replicas?": "en",
		"Wie heißt er?":      "en",
		"默认副本数是多少？":          "zh",
		"Deployment 的默认副本数是多少？":                "zh",
		"kube-proxy 是什么？":                      "zh",
		"Deployment named 前端服务":                "mixed",
		"The capital is Beijing (北京), a city.": "en",
	}
	for in, want := range tests {
		if got := text.Language(in); got != want {
			t.Errorf("Language(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEstimateTokens(t *testing.T) {
	t.Parallel()
	tests := map[string]int{
		"":                        0,
		"word":                    1,
		"The quick brown fox.":    6,
		"集群由节点组成。":                8,
		"1234 5678":               5,
		"\xff\xff":                2,
		strings.Repeat("a", 4000): 1000,
	}
	for in, want := range tests {
		if got := text.EstimateTokens(in); got != want {
			t.Errorf("EstimateTokens(%.20q) = %d, want %d", in, got, want)
		}
	}
}

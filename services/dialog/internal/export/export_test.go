package export_test

import (
	"errors"
	"flag"
	"iter"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
	"github.com/ragmesh/ragmesh/services/dialog/internal/export"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

var update = flag.Bool("update", false, "write the golden file anew")

func at(minute int) time.Time { return time.Date(2026, 11, 20, 12, minute, 0, 0, time.UTC) }

func head(n int) export.Head {
	return export.Head{Title: "Limits", Begun: at(0), Ended: at(5), Exported: at(10), Session: "01JD", User: "user:alice", Turns: n}
}

func all(turns ...turn.Turn) iter.Seq2[turn.Turn, error] {
	return func(yield func(turn.Turn, error) bool) {
		for _, t := range turns {
			if !yield(t, nil) {
				return
			}
		}
	}
}

func written(t *testing.T, h export.Head, turns ...turn.Turn) string {
	t.Helper()
	var b strings.Builder
	if err := export.Markdown(&b, h, all(turns...)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func cited(question, answer, quote string) turn.Turn {
	return turn.Turn{
		Question: question, Answer: answer, Outcome: turn.Answered, StartedAt: at(1),
		Sources: []turn.Source{{Number: 1, ID: "c1", Passage: &turn.Passage{Headings: []string{"Transfers", "Limits"}, Pages: []turn.PageRegion{{Page: 3}, {Page: 4}}}}},
		Citations: []turn.Citation{
			{Citation: citing.Citation{Marker: citing.Marker{Number: 1}, Quote: quote, Support: evidence.Supported}, SourceID: "c1", Title: "Transfers", URI: "docs/transfers.md"},
			{Citation: citing.Citation{Marker: citing.Marker{Number: 1}, Quote: quote, Support: evidence.Supported}, SourceID: "c1", Title: "Transfers", URI: "docs/transfers.md"},
		},
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	chinese := cited("你好，请问每日转账限额是多少？", "每日转账限额为五万元[1]。", "每日转账限额为五万元。")
	stopped := turn.Turn{Question: "And then?", Answer: "It", Outcome: turn.Interrupted, StartedAt: at(3)}
	failed := turn.Turn{Question: "Now?", Outcome: turn.Failed, Failure: &turn.Failure{Reason: "X", Message: "No model answers."}, StartedAt: at(4), Withheld: true}
	got := written(t, head(4), cited("What is the daily transfer limit?", "The limit is:\n\n- **50,000** dollars [1]\n- `x[0]`\n\n```go\na[0] = \"<b>\"\n```", "The daily transfer limit\nis 50,000 dollars."), chinese, stopped, failed)
	if *update {
		if err := os.WriteFile("testdata/conversation.md", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/conversation.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// hostile is what people, documents and models may write to break a file or who reads it.
var hostile = []string{
	"# A heading", "## 9. Another question", "Setext\n===", "Setext\n---", "---", "<script>alert(1)</script>", "<img src=x onerror=y>", "<!-- the rest", "<details>",
	"```", "~~~\ncode", "    indented", "> quote", "- item\n- item", "1. item", "1) item", "| a | b |\n|---|---|", "[link](javascript:alert(1))", "![image](http://evil/x.png)",
	"[1]: http://evil", "[^1]: note", "<http://evil>", "`code", "``a` b``", "\\`<b>`", "&lt;b&gt;", "a\r\n# b", "a\u2028# b", "\u202ereversed", "*a* _b_ **c**",
	"`` ` ``<i>`", "`a\n<b>`", "```\nx\n```` <b>", "- - -", "+ x", "=", "中文\n# 标题",
}

// The structure of the file follows from the turns alone, whatever is in them.
func TestNothingBreaksTheStructure(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`^(|#{1,2} .*|> ?.*|  > ?.*|>|  >|\*2026.*\*|Sources:|Note: .*|- \\\[1\\\] .*|2026-.* to .*)$`)
	for _, h := range hostile {
		tu := cited(h+"\nx", h+"\n\nx [1]\n"+h, h)
		tu.Citations[0].Title, tu.Citations[0].URI = h, h
		tu.Sources[0].Passage.Headings = []string{h}
		tu.Degradations = []turn.Degradation{{Message: h}}
		info := head(2)
		info.Title, info.User = h, h
		got := written(t, info, tu, tu)
		headings, fenced := 0, false
		for l := range strings.Lines(got) {
			l = strings.TrimSuffix(l, "\n")
			if !line.MatchString(l) {
				t.Errorf("%q makes the line %q", h, l)
			}
			if strings.HasPrefix(l, "#") {
				headings++
			}
			inner := strings.TrimPrefix(strings.TrimPrefix(l, ">"), " ")
			if strings.HasPrefix(inner, "```") && strings.Trim(inner, "`") == "" {
				fenced = !fenced
				continue
			}
			if !fenced && strings.ContainsAny(withoutCode(l), "<\u202e\u2028") || strings.Contains(withoutCode(l), "](") && !strings.Contains(withoutCode(l), "\\](") {
				t.Errorf("%q leaves markup in %q", h, l)
			}
			if fenced && l == "" {
				t.Errorf("%q: a block of code goes on after its quotation", h)
			}
		}
		if headings != 3 || fenced {
			t.Errorf("%q: %d headings, fenced %t:\n%s", h, headings, fenced, got)
		}
	}
}

// withoutCode drops what stands between equal runs of backticks, as a renderer reads them.
func withoutCode(line string) string {
	var b strings.Builder
	for line != "" {
		if strings.HasPrefix(line, "\\") && len(line) > 1 {
			b.WriteString(line[:2])
			line = line[2:]
			continue
		}
		if line[0] != '`' {
			b.WriteByte(line[0])
			line = line[1:]
			continue
		}
		rest := strings.TrimLeft(line, "`")
		mark := line[:len(line)-len(rest)]
		line = rest
		for i := 0; i < len(rest); {
			run := len(rest[i:]) - len(strings.TrimLeft(rest[i:], "`"))
			if run == len(mark) {
				line = rest[i+run:]
				break
			}
			i += max(run, 1)
		}
	}
	return b.String()
}

func TestMarkdownFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	err := export.Markdown(&strings.Builder{}, head(1), func(yield func(turn.Turn, error) bool) { yield(turn.Turn{}, broken) })
	if !errors.Is(err, broken) {
		t.Errorf("a store that fails: %v", err)
	}
	if err := export.Markdown(full{}, head(1), all(cited("q", "a", "b"))); !errors.Is(err, broken) && err == nil {
		t.Error("a reader that is gone is no error")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("gone") }

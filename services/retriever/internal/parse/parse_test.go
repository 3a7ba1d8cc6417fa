package parse_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

func TestMarkdownText(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in, title, want string
	}{
		"title from front matter": {
			in:    "---\ntitle: \"Nodes\"\nweight: 10\n---\n# Other\n\nBody.",
			title: "Nodes", want: "Other\n\nBody.",
		},
		"title from the first heading": {in: "## Two\n\n# One `code`\n\ntext", title: "One code", want: "Two\n\nOne code\n\ntext"},
		"title from the file name":     {in: "text", title: "page", want: "text"},
		"broken front matter is still metadata": {
			in: "---\ntitle: 'It's broken'\nx: [\n---\nBody", title: "It's broken", want: "Body",
		},
		"a rule is no front matter": {in: "---\n\nBody", title: "page", want: "Body"},
		"running text loses its marks": {
			in:    "A **bold** [link](http://x/y \"t\") to `kubectl get`,\nwrapped &amp; escaped \\* <b>html</b> ~~gone~~ <http://a.b>.",
			title: "page", want: "A bold link to kubectl get, wrapped & escaped * html gone http://a.b.",
		},
		"Chinese lines join without a space": {in: "节点可以是虚拟机，\n取决于集群\n配置 Pod\n和节点", title: "page", want: "节点可以是虚拟机，取决于集群配置 Pod 和节点"},
		"heading anchors go":                 {in: "## 管理  {#management}\n\n### A {b}", title: "page", want: "管理\n\nA {b}"},
		"comments go, with the original they hold": {
			in:    "<!--\n## Management\n\n```\ncode\n```\n-->\n## 管理\n\n<!-- a -->文<!-- b\n-->本\n`<!--` stays -->",
			title: "page", want: "管理\n\n文本 <!-- stays -->",
		},
		"comments inside code stay":      {in: "```html\n<!-- kept -->\n```", title: "page", want: "```html\n<!-- kept -->\n```"},
		"a comment never closed is text": {in: "before\n\n<p>x <!-- after", title: "page", want: "before\n\nx"},
		"a comment between rows does not tear the table": {
			in:    "| a | b |\n|---|---|\n<!-- | c | d | -->\n| 1 | 2 |\n<!--\n| e |\n-->\n| 3 | 4 |",
			title: "page", want: "| a: 1 | b: 2 |\n| a: 3 | b: 4 |",
		},
		"a comment between items does not tear the list": {
			in:    "1. one\n<!--\n2. two\n-->\n2. 二\n   <!-- x -->\n   more\n   - sub",
			title: "page", want: "1. one\n2. 二\n   more\n   - sub",
		},
		"shortcodes keep what a reader sees": {
			in: "Runs {{< glossary_tooltip text=\"Pods\" term_id=\"pod\" >}} and {{<glossary_tooltip term_id=\"kube-proxy\">}}.\n\n" +
				"{{< note >}}\nMind v{{< skew currentVersion >}} this {{< skew currentVersion >}}.\n{{< /note >}}\n\n## {{% heading \"whatsnext\" %}}\n\n" +
				"{{< feature-state for_k8s_version=\"v1.30\" state=\"stable\" >}}\n\n{{< mermaid >}}\ngraph\n{{</ mermaid >}}\n" +
				"{{< figure src=\"a.png\" caption=\"A cluster\" >}}\n\n{{% code_sample file=\"x.yaml\" %}}\n\nUse {{</* shown */>}} and {{ .Template }}.",
			title: "page",
			want: "Runs Pods and kube proxy.\n\nMind this.\n\nWhat's next\n\nFeature state: Kubernetes v1.30 [stable]\n\n" +
				"A cluster\n\nUse shown and {{ .Template }}.",
		},
		"site headings follow the page's language": {in: "# 节点管理\n\n集群由节点组成。\n\n## {{% heading \"whatsnext\" %}}", title: "节点管理", want: "节点管理\n\n集群由节点组成。\n\n接下来"},
		"tabs with code": {
			in:    "{{< tabs name=\"t\" >}}\n{{< tab name=\"Bash\" codelang=\"bash\" >}}\nls # x\n{{< /tab >}}\n{{< /tabs >}}",
			title: "page", want: "Bash\n\n```bash\nls # x\n```",
		},
		"lists nest and hold code": {
			in:    "* a\n  ```sh\n  x  y\n  ```\n* b\n    1. c\n    2. d",
			title: "page", want: "- a\n  ```sh\n  x  y\n  ```\n- b\n  1. c\n  2. d",
		},
		"definition lists": {in: "Pod\n: The smallest unit.\n\nNode\n: A machine.", title: "page", want: "Pod\n- The smallest unit.\nNode\n- A machine."},
		"HTML keeps its words": {
			in:    "<table><tr><td>a</td><td>b</td></tr>\n<tr><td>c</td></tr></table><style>x</style>\n\nText<br>more",
			title: "page", want: "a | b\nc\n\nText\nmore",
		},
		"CRLF, byte order mark, soft hyphens": {in: "\ufeff# A\u00adb\r\n\r\nc\u00a0d", title: "Ab", want: "Ab\n\nc d"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := parse.NewRegistry().Parse(t.Context(), parse.Source{URI: "docs/page.md", Data: []byte(tc.in)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tc.title, tc.want}, []string{doc.Title, doc.Text}); diff != "" {
				t.Errorf("title and text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	in := "# One\n\nPara\n\n- a\n- b\n\n| x |\n|---|\n| 1 |\n\n    code\n\n> ## Quoted\n> text\n"
	doc, err := parse.NewRegistry().Parse(t.Context(), parse.Source{URI: "a.md", Data: []byte(in)})
	if err != nil {
		t.Fatal(err)
	}
	type block struct {
		Kind  parse.Kind
		Level int
		Text  string
	}
	want := []block{
		{parse.Heading, 1, "One"},
		{parse.Paragraph, 0, "Para"},
		{parse.List, 0, "- a\n- b"},
		{parse.Table, 0, "| x: 1 |"},
		{parse.Code, 0, "```\ncode\n```"},
		{parse.Heading, 2, "Quoted"},
		{parse.Paragraph, 0, "text"},
	}
	got := make([]block, 0, len(doc.Blocks))
	for _, b := range doc.Blocks {
		got = append(got, block{b.Kind, b.Level, doc.Text[b.Start:b.End]})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		source parse.Source
		reason fault.Reason // Unspecified: readable
		title  string
	}{
		"markdown by extension":               {source: parse.Source{URI: "a/b.MD", Data: []byte("# T")}, title: "T"},
		"markdown by extension, sent as text": {source: parse.Source{URI: "b.md", ContentType: "text/plain", Data: []byte("# T")}, title: "T"},
		"markdown by media type":              {source: parse.Source{URI: "b", ContentType: "text/markdown; charset=utf-8", Data: []byte("# T")}, title: "T"},
		"plain text":                          {source: parse.Source{URI: "notes/c.txt", Data: []byte("# T")}, title: "c"},
		"text of no known kind":               {source: parse.Source{URI: "https://x/README?v=1", Data: []byte("hello")}, title: "README?v=1"},
		"empty":                               {source: parse.Source{URI: "a.md"}, reason: fault.EmptyDocument},
		"blank":                               {source: parse.Source{URI: "a.md", Data: []byte(" \n\t")}, reason: fault.EmptyDocument},
		"only a comment":                      {source: parse.Source{URI: "a.md", Data: []byte("<!-- x -->")}, reason: fault.EmptyDocument},
		"only front matter":                   {source: parse.Source{URI: "a.md", Data: []byte("---\ntitle: x\n---\n")}, reason: fault.EmptyDocument},
		"PDF under another name":              {source: parse.Source{URI: "a.md", Data: []byte("%PDF-1.7 ...")}, reason: fault.UnsupportedFormat},
		"binary":                              {source: parse.Source{URI: "a.txt", Data: []byte("ab\x00cd")}, reason: fault.UnsupportedFormat},
		"HTML":                                {source: parse.Source{URI: "a", Data: []byte("\n<!DOCTYPE html><p>")}, reason: fault.EmptyDocument},
		"text under another media type":       {source: parse.Source{URI: "a", ContentType: "audio/ogg", Data: []byte("a b")}, title: "a"},
		"text under a binary file's name":     {source: parse.Source{URI: "a.pdf", Data: []byte("# a b")}, title: "a"},
		"image":                               {source: parse.Source{URI: "a.txt", Data: []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")}, reason: fault.UnsupportedFormat},
		"old Office file":                     {source: parse.Source{URI: "a.doc", Data: append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), make([]byte, 600)...)}, reason: fault.UnsupportedFormat},
		"RTF":                                 {source: parse.Source{URI: "a.txt", Data: []byte(`{\rtf1 x}`)}, reason: fault.UnsupportedFormat},
		"XML":                                 {source: parse.Source{URI: "a.txt", Data: []byte(`<?xml version="1.0"?><a>b</a>`)}, reason: fault.UnsupportedFormat},
		"e-mail":                              {source: parse.Source{URI: "a.txt", Data: []byte("From: a@b.c\nMIME-Version: 1.0\n\nx")}, reason: fault.UnsupportedFormat},
		"random bytes":                        {source: parse.Source{URI: "a.txt", Data: []byte("\xff\x80\x12\xc0\x90\x81\x9d\x8f\x02\xfe")}, reason: fault.UnknownEncoding},
		"nested too deep":                     {source: parse.Source{URI: "a.md", Data: []byte(strings.Repeat(">", 5000) + " x")}, reason: fault.MalformedDocument},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := parse.NewRegistry().Parse(t.Context(), tc.source)
			if got := fault.ReasonOf(err); got != tc.reason {
				t.Fatalf("reason = %v (%v), want %v", got, err, tc.reason)
			}
			if err == nil && doc.Title != tc.title {
				t.Errorf("title = %q, want %q", doc.Title, tc.title)
			}
		})
	}
}

// Hostile pages must not take quadratic time.
func TestParseTime(t *testing.T) {
	t.Parallel()
	const size = 256 << 10
	for _, pattern := range []string{
		"<!---->", "<!--", "a<!---->`", "{{<", "{{< comment >}}", " v{{< skew x >}}", "{{%/x%}}", "[", "![", "[a](", "*a_", "`", "<a ", "> ", "- ",
		"1. ", "|", "|a|\n|-|\n", "&", "```\n", "# a\n", "\n", "a\n: b\n", "~~", "<div>\n", "a  \n", "\\",
	} {
		start := time.Now()
		_, _ = parse.NewRegistry().Parse(t.Context(), parse.Source{URI: "a.md", Data: []byte(strings.Repeat(pattern, size/len(pattern)))})
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%q repeated to %d KiB took %v", pattern, size>>10, took)
		} else if took > time.Second {
			t.Logf("%q repeated to %d KiB took %v", pattern, size>>10, took)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a.md", "---\ntitle: x\n---\n# A {#b}\n\n<!-- c --> {{< note >}} *d* `e` {{% /note %}}\n\n- f\n  1. g\n\n| h |\n|---|\n| i |\n")
	f.Add("a.md", "x<!--\n-->\n```\n<!-- -->\n````\n{{</* y */>}}{{< tab codelang=`z` >}}")
	f.Add("a.txt", "一\r\n\r\n\r\n二\ufeff\x01")
	f.Fuzz(func(t *testing.T, uri, in string) {
		doc, err := parse.NewRegistry().Parse(t.Context(), parse.Source{URI: uri, Data: []byte(in)})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("error is not about the document: %v", err)
			}
			return
		}
		if !utf8.ValidString(doc.Text) || !utf8.ValidString(doc.Title) {
			t.Fatalf("text is not valid UTF-8: %q", doc.Text)
		}
		end := 0
		for _, b := range doc.Blocks {
			if b.Start < end || b.End <= b.Start || b.End > len(doc.Text) {
				t.Fatalf("block %+v out of order or bounds in %q", b, doc.Text)
			}
			if strings.TrimSpace(doc.Text[end:b.Start]) != "" {
				t.Fatalf("text %q between blocks", doc.Text[end:b.Start])
			}
			end = b.End
		}
	})
}

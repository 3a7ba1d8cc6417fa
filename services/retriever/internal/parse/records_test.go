package parse_test

import (
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

func TestTables(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ uri, in, want string }{
		"commas":                  {"a.csv", "Card,Fee,Note\nGold,5,\"a, b\"\nSilver,3,\n", "| Card: Gold | Fee: 5 | Note: a, b |\n| Card: Silver | Fee: 3 |"},
		"semicolons and CR":       {"a.csv", "Card;Fee\rGold;5,50\rSilver;3,20\r", "| Card: Gold | Fee: 5,50 |\n| Card: Silver | Fee: 3,20 |"},
		"tabs":                    {"a.tsv", "Card\tFee\nGold\t5\n", "| Card: Gold | Fee: 5 |"},
		"no headings":             {"a.csv", "1,2\n3,4\n", "| 1 | 2 |\n| 3 | 4 |"},
		"only headings":           {"a.csv", "Card,Fee\n", "| Card | Fee |"},
		"ragged":                  {"a.csv", "a,b\n1\n1,2,3\n", "| a: 1 |\n| a: 1 | b: 2 | 3 |"},
		"line break in a cell":    {"a.csv", "a,b\n\"x\ny\",\"say \"\"hi\"\"\"\n", "| a: x y | b: say \"hi\" |"},
		"a stray quote":           {"a.csv", "a,b\n5\" pipe,2\n", "| a: 5\" pipe | b: 2 |"},
		"Chinese":                 {"a.csv", "卡,费用\n金卡,五元\n", "| 卡: 金卡 | 费用: 五元 |"},
		"under another name":      {"a.txt", "Card,Fee,Note\nGold,5,x\nSilver,3,y\n", "| Card: Gold | Fee: 5 | Note: x |\n| Card: Silver | Fee: 3 | Note: y |"},
		"prose is no table":       {"a.txt", "Gold, silver, and bronze.\nOne, two, and three.\nA, b, c.\n", "Gold, silver, and bronze.\nOne, two, and three.\nA, b, c."},
		"JSON lines":              {"a.jsonl", `{"id":"7","title":"Fees","text":"Gold costs 5.\n\nSilver 3.","lang":"en","tags":["a","b"]}` + "\n" + `{"id":8,"text":"No title."}`, "Fees\n\nid: 7\nlang: en\ntags: a\ntags: b\n\nGold costs 5.\n\nSilver 3.\n\n8\n\nNo title."},
		"JSON lines without text": {"a.ndjson", "{\"card\":\"gold\",\"fee\":{\"eur\":5,\"due\":true},\"x\":null}\n{\"card\":\"silver\"}\n", "| card: gold | fee.eur: 5 | fee.due: yes |\n| card: silver |"},
		"a list in JSON":          {"a.json", `[{"a":1},{"a":2}, 3]`, "| a: 1 |\n| a: 2 |\n| 3 |"},
		"an object in JSON":       {"a", `{"a":{"b":[1,2]}}`, "| a.b: 1 | a.b: 2 |"},
		"JSON that is none":       {"a.json", "just text", "just text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same(t, parse.Source{URI: tc.uri, Data: []byte(tc.in)}, tc.want)
		})
	}
}

func TestHTML(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, title, want string }{
		"main content only": {
			`<!doctype html><html><head><title>Fees - Example Bank</title><style>p{}</style></head><body><header><a href="/">Home</a></header><nav><ul><li><a>x</a></ul></nav>
<div class="cookie-banner">We use cookies.</div><main><h1>Fees</h1><p>A transfer<br>costs <b>12</b> euros.<script>x</script></p><h2>Cards<a class="headerlink">¶</a></h2><ul><li>Gold<ul><li>five</ul><li>Silver</ul>
<div>loose <span>text</span><p>own</p>more</div><pre>a  b
c</pre></main><footer>© Bank</footer></body></html>`,
			"Fees", "Fees\n\nA transfer\ncosts 12 euros.\n\nCards\n\n- Gold\n  - five\n- Silver\n\nloose text\n\nown\n\nmore\n\n```\na  b\nc\n```",
		},
		"tables as rows": {
			`<html><table><caption>Fees</caption><thead><tr><th rowspan=2>Card<th colspan=2>Fee</tr><tr><th>2024<th>2025</tr></thead><tr><td rowspan=2>Gold<td>5<td>6</tr><tr><td>7<td>8</tr></table>`,
			"page", "Fees\n\n| Card: Gold | Fee 2024: 5 | Fee 2025: 6 |\n| Card: Gold | Fee 2024: 7 | Fee 2025: 8 |",
		},
		"layout tables":         {`<html><table><tr><td><h1>T</h1><p>one</td></tr></table>`, "T", "T\n\none"},
		"definition lists":      {`<html><dl><dt>Pod<dd>The smallest unit.</dl>`, "page", "Pod\n- The smallest unit."},
		"hidden":                {`<html><p hidden>a<p style="display: none">b<p aria-hidden=true>c<p>d`, "page", "d"},
		"a page of links":       {`<html><body><nav><a>One</a> <a>Two</a></nav>`, "page", "One Two"},
		"Chinese":               {"<html><p>节点可以是\n虚拟机。</html>", "page", "节点可以是虚拟机。"},
		"links in running text": {`<html><p>See <a>this</a> and <a>that</a>.`, "page", "See this and that."},
		"XHTML":                 {`<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><body><p>x</p></body></html>`, "page", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := parse.NewRegistry().Parse(t.Context(), parse.Source{URI: "page.md", Data: []byte(tc.in)})
			if err != nil {
				t.Fatal(err)
			}
			if doc.Title != tc.title || doc.Text != tc.want || doc.ContentType != "text/html" {
				t.Errorf("%s %q\n%s\nwant\n%s", doc.ContentType, doc.Title, doc.Text, tc.want)
			}
		})
	}
	gbk := "<html><head><meta charset=gbk></head><p>\xbd\xda\xb5\xe3</p>"
	same(t, parse.Source{URI: "a.html", Data: []byte(gbk)}, "节点")
	same(t, parse.Source{URI: "a.html", Data: []byte("<p>" + strings.Repeat("x ", 3) + "</p>")}, "x x x")
}

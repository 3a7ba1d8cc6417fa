package chunk_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/chunk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

func markdown(tb testing.TB, s string) parse.Document {
	tb.Helper()
	doc, err := parse.NewRegistry().Parse(tb.Context(), parse.Source{URI: "page.md", Data: []byte(s)})
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

// sentence returns a numbered sentence of about n characters.
func sentence(i, n int) string {
	s := fmt.Sprintf("Sentence number %d says", i)
	for len(s) < n-6 {
		s += " words"
	}
	return s + "."
}

func sentences(from, to, n int) string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, sentence(i, n))
	}
	return strings.Join(out, " ")
}

func TestSplit(t *testing.T) {
	t.Parallel()
	type want struct {
		Path       []string
		Head, Tail string // how the chunk's text begins and ends
	}
	tests := map[string]struct {
		in   string
		want []want
	}{
		"a short page is one chunk": {
			in:   "# T\n\nOne sentence. Another.\n\n- item",
			want: []want{{nil, "One sentence", "- item"}},
		},
		"sections stand alone": {
			in: "# T\n\n## A\n\n" + sentences(1, 6, 100) + "\n\n## B\n\n" + sentences(6, 11, 100),
			want: []want{
				{[]string{"A"}, "Sentence number 1 ", "words."},
				{[]string{"B"}, "Sentence number 6 ", "words."},
			},
		},
		"tiny sections join, keeping their headings in the text": {
			in:   "# T\n\nIntro.\n\n## A\n\nShort.\n\n## B\n\nAlso short.",
			want: []want{{nil, "Intro.\n\nA\n\nShort.", "B\n\nAlso short."}},
		},
		"subsections of one section join up to half a chunk": {
			in: "## A\n\n### A1\n\n" + sentences(1, 4, 100) + "\n\n### A2\n\n" + sentences(4, 7, 100) + "\n\n### A3\n\n" + sentences(7, 10, 100) + "\n\n## B\n\n" + sentences(10, 15, 100),
			want: []want{
				{[]string{"A"}, "Sentence number 1 ", "words."},
				{[]string{"A", "A3"}, "Sentence number 7 ", "words."},
				{[]string{"B"}, "Sentence number 10 ", "words."},
			},
		},
		"a long section is cut at sentence ends with overlap": {
			in: "## A\n\n" + sentences(1, 20, 100),
			want: []want{
				{[]string{"A"}, "Sentence number 1 ", "words."},
				{[]string{"A"}, "Sentence number 7 ", "words."},
				{[]string{"A"}, "Sentence number 13 ", "words."},
			},
		},
		"headings alone are text": {in: "# A\n\n## B", want: []want{{nil, "A", "B"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := markdown(t, tc.in)
			var got []want
			for i, c := range chunk.Split(doc) {
				body := doc.Text[c.Start:c.End]
				w := want{c.HeadingPath, body, body}
				if i < len(tc.want) {
					w.Head = body[:min(len(body), len(tc.want[i].Head))]
					w.Tail = body[max(0, len(body)-len(tc.want[i].Tail)):]
				}
				got = append(got, w)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("chunks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSplitSizes(t *testing.T) {
	t.Parallel()
	chinese := strings.Repeat("集群中的每个节点都由控制面负责管理，并且运行着许多容器。", 60)
	tests := map[string]struct {
		in       string
		from, to int // characters a chunk may have
	}{
		"English":                {sentences(0, 90, 90), 500, 1600},
		"Chinese":                {chinese, 200, 600},
		"one endless sentence":   {strings.Repeat("word ", 3000), 300, 1600},
		"no white space at all":  {strings.Repeat("x", 10_000), 300, 1600},
		"Chinese without stops":  {strings.Repeat("集", 3000), 100, 600},
		"a table of many rows":   {"| a | b |\n|---|---|\n" + strings.Repeat("| some cell | and another one |\n", 200), 400, 1600},
		"code of many lines":     {"```yaml\n" + strings.Repeat("key: value # comment\n", 200) + "```", 400, 1600},
		"a list of many items":   {strings.Repeat("- an item of the list that says something\n", 100), 400, 1600},
		"very short sentences":   {strings.Repeat("Yes. No. ", 500), 400, 1600},
		"emoji, combining marks": {strings.Repeat("👩‍👩‍👧 e\u0301. ", 600), 300, 1600},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := markdown(t, tc.in)
			chunks := chunk.Split(doc)
			if len(chunks) < 2 {
				t.Fatalf("%d chunks", len(chunks))
			}
			for _, c := range chunks {
				if n := utf8.RuneCountInString(doc.Text[c.Start:c.End]); n < tc.from || n > tc.to {
					t.Errorf("chunk %d has %d characters, want %d to %d", c.Ordinal, n, tc.from, tc.to)
				}
			}
		})
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	const doc = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	ids := map[string]bool{}
	for _, version := range []string{"aa", "bb"} {
		for ordinal := range 20 {
			ids[chunk.ID(doc, version, ordinal)] = true
		}
	}
	if len(ids) != 40 {
		t.Errorf("%d distinct ids of 40", len(ids))
	}
	if a, b := chunk.ID(doc, "aa", 1), chunk.ID(doc, "aa", 1); a != b {
		t.Errorf("ids differ: %s, %s", a, b)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("# A\n\nb c. d!\n\n## E\n\n- f\n- g\n\n```\nh\n```\n\n| i |\n|---|\n| j |")
	f.Add(strings.Repeat("集群。", 500) + strings.Repeat("x", 3000) + "\u3000\n\n#\n\n # b")
	f.Fuzz(func(t *testing.T, in string) {
		doc, err := parse.NewRegistry().Parse(t.Context(), parse.Source{URI: "a.md", Data: []byte(in)})
		if err != nil {
			return
		}
		check(t, doc, chunk.Split(doc))
	})
}

// check tests what must hold of every split.
func check(t *testing.T, doc parse.Document, chunks []chunk.Chunk) {
	t.Helper()
	if len(chunks) == 0 {
		t.Fatal("no chunks")
	}
	covered := make([]bool, len(doc.Text))
	for i, c := range chunks {
		if c.Ordinal != i {
			t.Fatalf("chunk %d has ordinal %d", i, c.Ordinal)
		}
		if c.Start < 0 || c.End > len(doc.Text) || c.Start >= c.End {
			t.Fatalf("chunk %d: bad range %d..%d of %d", i, c.Start, c.End, len(doc.Text))
		}
		if i > 0 && (c.Start <= chunks[i-1].Start || c.End <= chunks[i-1].End) {
			t.Fatalf("chunk %d does not come after the one before", i)
		}
		body := doc.Text[c.Start:c.End]
		if !utf8.ValidString(body) {
			t.Fatalf("chunk %d splits a character: %q", i, body)
		}
		if strings.TrimSpace(body) != body {
			t.Fatalf("chunk %d has white space around it: %q", i, body)
		}
		if len(body) > 8<<10 {
			t.Fatalf("chunk %d has %d bytes", i, len(body))
		}
		for at := c.Start; at < c.End; at++ {
			covered[at] = true
		}
	}
	headingsOnly := true
	for _, b := range doc.Blocks {
		headingsOnly = headingsOnly && b.Kind == parse.Heading
	}
	for _, b := range doc.Blocks {
		for at := b.Start; at < b.End && (b.Kind != parse.Heading || headingsOnly); at++ {
			if !covered[at] && strings.TrimSpace(doc.Text[at:at+1]) != "" && doc.Text[at] < utf8.RuneSelf {
				t.Fatalf("byte %d of %q is in no chunk", at, doc.Text[b.Start:b.End])
			}
		}
	}
}

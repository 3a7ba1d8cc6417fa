package citing

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in, want string
		numbers  []uint32
	}{
		"plain text":                         {in: "No marker here.", want: "No marker here."},
		"one marker":                         {in: "It is 5 [1].", want: "It is 5 [1].", numbers: []uint32{1}},
		"no space before":                    {in: "It is 5[2].", want: "It is 5[2].", numbers: []uint32{2}},
		"a group is split":                   {in: "A [1, 2].", want: "A [1][2].", numbers: []uint32{1, 2}},
		"neighbours":                         {in: "A [1][2].", want: "A [1][2].", numbers: []uint32{1, 2}},
		"a range":                            {in: "A [1-3].", want: "A [1][2][3].", numbers: []uint32{1, 2, 3}},
		"a footnote":                         {in: "A [^2].", want: "A [2].", numbers: []uint32{2}},
		"lenticular brackets":                {in: "限额为五万元【1】。", want: "限额为五万元[1]。", numbers: []uint32{1}},
		"full-width brackets and digits":     {in: "限额［１，３］。", want: "限额[1][3]。", numbers: []uint32{1, 3}},
		"an impossible number":               {in: "A [9]. B [2].", want: "A. B [2].", numbers: []uint32{2}},
		"an impossible number in a group":    {in: "A [9,2,0] and", want: "A [2] and", numbers: []uint32{2}},
		"a year is impossible too":           {in: "since [2019] it", want: "since it"},
		"a huge number does not overflow":    {in: "A [99999999999999999999999].", want: "A."},
		"dropped between words":              {in: "fact [9] and", want: "fact and"},
		"a link is text":                     {in: "see [the page](https://x)", want: "see [the page](https://x)"},
		"a checkbox is text":                 {in: "- [ ] task", want: "- [ ] task"},
		"empty brackets are text":            {in: "a[] b", want: "a[] b"},
		"two numbers without separator":      {in: "[1 2]", want: "[1 2]"},
		"a dash alone":                       {in: "[-]", want: "[-]"},
		"a separator too many":               {in: "[1,]", want: "[1,]"},
		"an open bracket at the end":         {in: "A [1", want: "A [1"},
		"a bracket within a bracket":         {in: "[1 [2]", want: "[1 [2]", numbers: []uint32{2}},
		"a bracket that never closes":        {in: "[" + strings.Repeat("1", 100) + "]", want: "[" + strings.Repeat("1", 100) + "]"},
		"inline code":                        {in: "use `a[1]` here [1]", want: "use `a[1]` here [1]", numbers: []uint32{1}},
		"a code block":                       {in: "```\na[1] `b[2]\n```\nthen [3]", want: "```\na[1] `b[2]\n```\nthen [3]", numbers: []uint32{3}},
		"an unclosed backtick ends the line": {in: "a ` b [1]\nc [2]", want: "a ` b [1]\nc [2]", numbers: []uint32{2}},
		"spaces are kept":                    {in: "a  b   [1]  c ", want: "a  b   [1]  c ", numbers: []uint32{1}},
		"invalid UTF-8 passes":               {in: "a\xffb [1]", want: "a\xffb [1]", numbers: []uint32{1}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, markers := filterAll([]string{tc.in})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			var numbers []uint32
			for _, m := range markers {
				numbers = append(numbers, m.Number)
				if s := got[m.Start:m.End]; s != "["+itoa(m.Number)+"]" {
					t.Errorf("marker %d points at %q", m.Number, s)
				}
			}
			if diff := cmp.Diff(tc.numbers, numbers); diff != "" {
				t.Errorf("numbers (-want +got):\n%s", diff)
			}
			for at := range len(tc.in) {
				split, splitMarkers := filterAll([]string{tc.in[:at], tc.in[at:]})
				if split != got || !cmp.Equal(markers, splitMarkers) {
					t.Errorf("cut at %d: %q, want %q", at, split, got)
				}
			}
		})
	}
}

func TestFilterDelaysNothingElse(t *testing.T) {
	t.Parallel()
	f := NewFilter([]uint32{1})
	for _, step := range []struct{ in, want string }{
		{"The limit", "The limit"},
		{" is", " is"},
		{" 5 [", " 5"}, // the space goes with the bracket
		{"1", ""},
		{"]", " [1]"},
		{" [see", " [see"},
		{" 限额", " 限额"},
	} {
		if got, _ := f.Write(step.in); got != step.want {
			t.Errorf("Write(%q) = %q, want %q", step.in, got, step.want)
		}
	}
}

func TestFilterLimit(t *testing.T) {
	t.Parallel()
	f := NewFilter([]uint32{1, 2})
	f.Limit([]uint32{2})
	if got, _ := f.Write("a [1][2]."); got != "a[2]." {
		t.Errorf("got %q", got)
	}
}

func filterAll(pieces []string) (string, []Marker) {
	f := NewFilter([]uint32{1, 2, 3})
	var b strings.Builder
	var all []Marker
	for _, p := range pieces {
		s, m := f.Write(p)
		b.WriteString(s)
		all = append(all, m...)
	}
	s, m := f.Close()
	b.WriteString(s)
	return b.String(), append(all, m...)
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"It is 5 [1].", "限额【1】［２，３］", "a `b[1]` ``c[2]`` [9] [1-3", "```\n[1]\n```[^1]", " [9] [1 [2]]"} {
		f.Add(s, uint16(3), uint16(7))
	}
	f.Fuzz(func(t *testing.T, s string, a, b uint16) {
		want, markers := filterAll([]string{s})
		x, y := int(a)%(len(s)+1), int(b)%(len(s)+1)
		x, y = min(x, y), max(x, y)
		got, split := filterAll([]string{s[:x], s[x:y], s[y:]})
		if got != want || !cmp.Equal(markers, split) {
			t.Fatalf("cut at %d and %d: %q, want %q", x, y, got, want)
		}
		for _, m := range markers {
			if m.Number < 1 || m.Number > 3 || want[m.Start:m.End] != "["+itoa(m.Number)+"]" {
				t.Fatalf("marker %+v in %q", m, want)
			}
		}
	})
}

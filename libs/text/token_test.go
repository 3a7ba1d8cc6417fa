package text_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/text"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want []text.Token
	}{
		"nothing": {in: " -- \n", want: []text.Token{}},
		"folds case, stems, marks stop words": {
			in: "The Running dogs",
			want: []text.Token{
				{Term: "the", Start: 0, End: 3, Position: 0, Stop: true},
				{Term: "run", Start: 4, End: 11, Position: 1},
				{Term: "dog", Start: 12, End: 16, Position: 2},
			},
		},
		"drops diacritics and possessives, keeps offsets": {
			in: "Beyoncé’s café",
			want: []text.Token{
				{Term: "beyonc", Start: 0, End: 12, Position: 0},
				{Term: "cafe", Start: 13, End: 18, Position: 1},
			},
		},
		"numbers keep their point and lose their thousands": {
			in: "1,000.50 v1.29 50th.",
			want: []text.Token{
				{Term: "1000.50", Start: 0, End: 8, Position: 0, Kind: text.Number},
				{Term: "v1", Start: 9, End: 11, Position: 1},
				{Term: "29", Start: 12, End: 14, Position: 3, Kind: text.Number},
				{Term: "50th", Start: 15, End: 19, Position: 4, Kind: text.Number},
			},
		},
		"Chinese gives singles and overlapping pairs": {
			in: "集群节点",
			want: []text.Token{
				{Term: "集", Start: 0, End: 3, Position: 0, Kind: text.Han},
				{Term: "集群", Start: 0, End: 6, Position: 0, Kind: text.HanPair},
				{Term: "群", Start: 3, End: 6, Position: 1, Kind: text.Han},
				{Term: "群节", Start: 3, End: 9, Position: 1, Kind: text.HanPair},
				{Term: "节", Start: 6, End: 9, Position: 2, Kind: text.Han},
				{Term: "节点", Start: 6, End: 12, Position: 2, Kind: text.HanPair},
				{Term: "点", Start: 9, End: 12, Position: 3, Kind: text.Han},
			},
		},
		"Chinese question words stop": {
			in: "为什么",
			want: []text.Token{
				{Term: "为", Start: 0, End: 3, Position: 0, Kind: text.Han, Stop: true},
				{Term: "为什", Start: 0, End: 6, Position: 0, Kind: text.HanPair, Stop: true},
				{Term: "什", Start: 3, End: 6, Position: 1, Kind: text.Han, Stop: true},
				{Term: "什么", Start: 3, End: 9, Position: 1, Kind: text.HanPair, Stop: true},
				{Term: "么", Start: 6, End: 9, Position: 2, Kind: text.Han, Stop: true},
			},
		},
		"mixed scripts and full-width forms": {
			in: "用Ｋ８ｓ部署",
			want: []text.Token{
				{Term: "用", Start: 0, End: 3, Position: 0, Kind: text.Han},
				{Term: "k8s", Start: 3, End: 12, Position: 1},
				{Term: "部", Start: 12, End: 15, Position: 2, Kind: text.Han},
				{Term: "部署", Start: 12, End: 18, Position: 2, Kind: text.HanPair},
				{Term: "署", Start: 15, End: 18, Position: 3, Kind: text.Han},
			},
		},
		"a sentence end leaves a gap": {
			in: "stops. Dogs",
			want: []text.Token{
				{Term: "stop", Start: 0, End: 5, Position: 0},
				{Term: "dog", Start: 7, End: 11, Position: 2},
			},
		},
		"invalid UTF-8 separates": {
			in: "ab\xffcd",
			want: []text.Token{
				{Term: "ab", Start: 0, End: 2, Position: 0},
				{Term: "cd", Start: 3, End: 5, Position: 1},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, text.Tokens(tc.in)); diff != "" {
				t.Errorf("Tokens(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func TestTokensStop(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"who": true, "What's": true, "which": true, "DON'T": true, "of": true,
		"US": false, "us": true, "pod": false, "2016": false, "mayor": false,
	}
	for in, want := range tests {
		got := text.Tokens(in)
		if len(got) != 1 || got[0].Stop != want {
			t.Errorf("Tokens(%q) = %+v, want one token with Stop %v", in, got, want)
		}
	}
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{"The U.S. has 1,000.5 km² of Ｋ８ｓ", "集群ｶﾞ한국어々\xff", "a\u0301\u0301b’s''s", "١٢٣ ½ ﬁ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, pos := 0, -1
		for _, k := range text.Tokens(s) {
			if k.Start < start || k.End <= k.Start || k.End > len(s) {
				t.Fatalf("token %+v out of order or bounds in %q", k, s)
			}
			if k.Term == "" || !utf8.ValidString(k.Term) {
				t.Fatalf("bad term %+v", k)
			}
			if k.Kind != text.HanPair {
				if k.Position <= pos {
					t.Fatalf("position of %+v does not grow", k)
				}
				pos = k.Position
			}
			start = k.Start
		}
	})
}

func BenchmarkTokens(b *testing.B) {
	for name, s := range map[string]string{
		"english": strings.Repeat("Kubernetes schedules Pods onto the Nodes of a cluster. ", 200),
		"chinese": strings.Repeat("调度器将未绑定的 Pod 分配到集群中的节点上。", 200),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				text.Tokens(s)
			}
		})
	}
}

// TestRememberedWordsStaySeparate reads more words than are remembered, at the same time, and again.
func TestRememberedWordsStaySeparate(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&page, "word%c%c%c ", 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26)
	}
	want := text.Tokens(page.String())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if diff := cmp.Diff(want, text.Tokens(page.String())); diff != "" {
				t.Errorf("another reading differs (-first +now):\n%s", diff)
			}
		})
	}
	group.Wait()
	for i, token := range want[:100] {
		if raw := page.String()[token.Start:token.End]; token.Term[:4] != raw[:4] {
			t.Errorf("token %d: term %q of %q", i, token.Term, raw)
		}
	}
}

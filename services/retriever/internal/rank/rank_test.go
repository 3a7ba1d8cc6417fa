package rank_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
)

func TestScoreByHand(t *testing.T) {
	t.Parallel()
	q := rank.NewQuery("What is the pod network?")
	s := rank.NewScorer(q, rank.Stats{Chunks: 10, AverageLength: 6, Frequency: map[string]int{"pod": 2, "network": 1}})
	idf := func(df float64) float64 { return math.Log(1 + (10-df+0.5)/(df+0.5)) }
	// head: "pod" twice as heavy; body: pod, network, pod, node, network => pod 4, network 2, length 7, pair once.
	got := s.Score(rank.Read("Pods", "A pod network. The pod on a node: networks.").Encode())
	norm := 1.2 * (1 - 0.75 + 0.75*7/6)
	want := rank.Score{
		BM25:  idf(2)*4*2.2/(4+norm) + idf(1)*2*2.2/(2+norm),
		Pairs: 0.3 * (idf(2) + idf(1)) / 2 * 2.2 / (1 + norm),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); diff != "" {
		t.Errorf("score (-want +got):\n%s", diff)
	}
	if got := rank.Read("Pods", "A pod network. The pod on a node: networks.").Length(); got != 7 {
		t.Errorf("length = %v, want 7", got)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ query, better, worse string }{
		"more of the words":        {"pod network", "the pod network", "the pod"},
		"words together":           {"pod network", "the pod network of a node", "the network of a node, far from any pod"},
		"stop words don't part":    {"state of emergency", "a state of emergency was declared there", "emergency there was declared; a state"},
		"shorter says it clearer":  {"pod", "a pod", "a pod and many other things that nobody asked for"},
		"inflected forms":          {"running containers", "the container runs", "the contained ruins"},
		"Chinese pairs":            {"节点集群", "集群节点", "节集点群"},
		"names among Chinese":      {"Job 的 backoffLimit 默认值", "backoffLimit 是 6", "默认的值"},
		"question words don't lie": {"为什么节点重启", "节点重启了", "为什么？什么为？怎么"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rank.NewScorer(rank.NewQuery(tc.query), rank.Stats{Chunks: 100, AverageLength: 5})
			better, worse := s.Score(rank.Read("", tc.better).Encode()).Total(), s.Score(rank.Read("", tc.worse).Encode()).Total()
			if better <= worse {
				t.Errorf("%q scores %.3f, %q %.3f", tc.better, better, tc.worse, worse)
			}
		})
	}
}

func TestQueryBounds(t *testing.T) {
	t.Parallel()
	if n := len(rank.NewQuery("what is the of 的 了？").Terms); n != 0 {
		t.Errorf("%d terms of stop words", n)
	}
	var long strings.Builder
	for i := range 2000 {
		long.WriteString(strings.Repeat("x", i%40+1))
		long.WriteString(string(rune('a'+i%26)) + " ")
	}
	q := rank.NewQuery(long.String())
	if n := len(q.Terms); n > 256 {
		t.Errorf("%d terms", n)
	}
	if got := rank.NewScorer(q, rank.Stats{}).Score(rank.Read("xa", "xa xxb").Encode()).Total(); math.IsNaN(got) || math.IsInf(got, 0) {
		t.Errorf("score without statistics = %v", got)
	}
}

func FuzzScore(f *testing.F) {
	f.Add("pod 网络 of the", "节点", "a pod 网络, 1,000")
	f.Fuzz(func(t *testing.T, query, head, body string) {
		s := rank.NewScorer(rank.NewQuery(query), rank.Stats{Chunks: 3, AverageLength: rank.Read(head, body).Length()})
		passage := rank.Read(head, body).Encode()
		got := s.Score(passage)
		if got.BM25 < 0 || got.Pairs < 0 || math.IsNaN(got.Total()) || math.IsInf(got.Total(), 0) {
			t.Fatalf("score = %+v", got)
		}
		if again := s.Score(passage); again != got {
			t.Fatalf("scores differ: %+v, %+v", got, again)
		}
	})
}

// A store's bytes may be damaged; scoring them must not panic.
func FuzzDamaged(f *testing.F) {
	f.Add("pod network", rank.Read("Pods", "a pod network 节点").Encode())
	f.Fuzz(func(t *testing.T, query string, passage []byte) {
		got := rank.NewScorer(rank.NewQuery(query), rank.Stats{Chunks: 3, AverageLength: 3}).Score(passage)
		if got.BM25 < 0 || got.Pairs < 0 || math.IsNaN(got.Total()) {
			t.Fatalf("score = %+v", got)
		}
	})
}

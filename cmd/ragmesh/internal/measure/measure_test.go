package measure_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
)

type (
	rankings = map[string][]string
	grades   = map[string]map[string]int
)

// The wanted numbers are worked out by hand.
func TestScore(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rankings rankings
		grades   grades
		want     measure.Scores
	}{
		"first is right": {
			rankings{"q": {"a", "b"}}, grades{"q": {"a": 1}},
			measure.Scores{Queries: 1, Hit1: 1, Hit5: 1, Recall10: 1, MRR10: 1, NDCG10: 1},
		},
		"third is right": { // nDCG = (1/log2 4) / (1/log2 2) = 1/2
			rankings{"q": {"x", "y", "a"}}, grades{"q": {"a": 1}},
			measure.Scores{Queries: 1, Hit5: 1, Recall10: 1, MRR10: 1.0 / 3, NDCG10: 0.5},
		},
		"seventh is right": { // nDCG = 1/log2 8 = 1/3
			rankings{"q": {"1", "2", "3", "4", "5", "6", "a"}}, grades{"q": {"a": 1}},
			measure.Scores{Queries: 1, Recall10: 1, MRR10: 1.0 / 7, NDCG10: 1.0 / 3},
		},
		"eleventh does not count": {
			rankings{"q": {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "a"}}, grades{"q": {"a": 1}},
			measure.Scores{Queries: 1},
		},
		"grades count linearly": {
			// DCG = 1/log2 2 + 0/log2 3 + 3/log2 4 = 1 + 1.5 = 2.5; ideal: 3/log2 2 + 1/log2 3 = 3 + 0.63093 = 3.63093
			rankings{"q": {"b", "x", "a"}}, grades{"q": {"a": 3, "b": 1, "x": 0}},
			measure.Scores{Queries: 1, Hit1: 1, Hit5: 1, Recall10: 1, MRR10: 1, NDCG10: 2.5 / 3.6309297536},
		},
		"half of the relevant ones": { // nDCG = (1/log2 3) / (1 + 1/log2 3) = 0.63093 / 1.63093
			rankings{"q": {"x", "a"}}, grades{"q": {"a": 1, "b": 1}},
			measure.Scores{Queries: 1, Hit5: 1, Recall10: 0.5, MRR10: 0.5, NDCG10: 0.6309297536 / 1.6309297536},
		},
		"mean, with a query that found nothing and one that can't be scored": {
			rankings{"q1": {"a"}, "q3": {"a"}}, grades{"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 0}},
			measure.Scores{Queries: 2, Hit1: 0.5, Hit5: 0.5, Recall10: 0.5, MRR10: 0.5, NDCG10: 0.5},
		},
		"nothing": {nil, nil, measure.Scores{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, measure.Score(tt.rankings, tt.grades), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("scores (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPercentilesAreNearestRank(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for ms := 200; ms > 0; ms-- {
		took = append(took, time.Duration(ms)*time.Millisecond)
	}
	tests := map[string]struct {
		took []time.Duration
		want measure.Latency
	}{
		"none": {nil, measure.Latency{}},
		"one":  {took[:1], measure.Latency{P50: 200 * time.Millisecond, P95: 200 * time.Millisecond, P99: 200 * time.Millisecond}},
		"200":  {took, measure.Latency{P50: 100 * time.Millisecond, P95: 190 * time.Millisecond, P99: 198 * time.Millisecond}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, measure.Percentiles(tt.took)); diff != "" {
				t.Errorf("percentiles (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBestKeepsADocumentAtItsBestPassage(t *testing.T) {
	t.Parallel()
	got := measure.Best([]measure.Hit{{"a", 3}, {"b", 2}, {"a", 1.5}, {"c", 1}, {"b", 0.5}})
	if diff := cmp.Diff([]measure.Hit{{"a", 3}, {"b", 2}, {"c", 1}}, got); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, measure.Documents(got)); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

func TestWriteRunKeepsTheOrderInItsScores(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := measure.WriteRun(&out, []string{"q2", "q1", "q0"}, map[string][]measure.Hit{
		"q1": {{"a", 2}, {"b", 2}, {"c", 2.5}, {"d", 1}, {"e", math.NaN()}},
		"q2": {{"z", 0.25}},
	}, "ragmesh")
	want := `q2 Q0 z 1 0.250000 ragmesh
q1 Q0 a 1 2.000000 ragmesh
q1 Q0 b 2 1.999900 ragmesh
q1 Q0 c 3 1.999800 ragmesh
q1 Q0 d 4 1.000000 ragmesh
q1 Q0 e 5 0.999900 ragmesh
`
	if diff := cmp.Diff(want, out.String()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

var errFull = errors.New("disk is full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteRunSaysWhenItCannotWrite(t *testing.T) {
	t.Parallel()
	err := measure.WriteRun(fullDisk{}, []string{"q"}, map[string][]measure.Hit{"q": {{"a", 1}}}, "x")
	if !errors.Is(err, errFull) {
		t.Errorf("WriteRun = %v; want the cause", err)
	}
}

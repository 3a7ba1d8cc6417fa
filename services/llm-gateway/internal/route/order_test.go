package route

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ladderOf(weights ...int) *ladder {
	l := &ladder{}
	for i, w := range weights {
		l.rungs = append(l.rungs, &rung{Target: Target{Name: string(rune('a' + i)), Weight: w}})
		if w > 0 {
			l.weighted++
		}
	}
	return l
}

func names(rungs []*rung) string {
	var s strings.Builder
	for _, r := range rungs {
		s.WriteString(r.Name)
	}
	return s.String()
}

func TestOrder(t *testing.T) {
	t.Parallel()
	never := func() float64 { t.Error("chance was asked"); return 0 }
	for _, tt := range []struct {
		weights []int
		want    string
	}{{[]int{0, 0, 0}, "abc"}, {[]int{0, 5, 0}, "abc"}} {
		if got := names(ladderOf(tt.weights...).order("", never)); got != tt.want {
			t.Errorf("weights %v: %s, want %s", tt.weights, got, tt.want)
		}
	}
	if got := names(ladderOf(0, 1, 1).order("s", never)); got != "bca" && got != "cba" {
		t.Errorf("targets with weights stand before others: %s", got)
	}
}

// Sessions are shared out by weight, among all targets and again among those that are left, and each stays where it is.
func TestWeights(t *testing.T) {
	t.Parallel()
	const sessions = 20_000
	l := ladderOf(6, 3, 1)
	first, second := map[byte]float64{}, map[string]float64{}
	moved := 0
	for i := range sessions {
		session := fmt.Sprintf("s-%d", i)
		got := names(l.order(session, nil))
		if again := names(ladderOf(6, 3, 1).order(session, nil)); got != again {
			t.Fatalf("session %s: %s, then %s", session, got, again)
		}
		first[got[0]] += 1. / sessions
		second[got[:2]] += 1. / sessions
		if after := names(ladderOf(6, 3, 1, 1).order(session, nil)); after[0] != got[0] {
			moved++
			if after[0] != 'd' {
				t.Fatalf("session %s moved from %s to %s, which was there before", session, got, after)
			}
		}
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > .015 {
			t.Errorf("%s: %.3f, want about %.3f", what, got, want)
		}
	}
	near("a", first['a'], .6)
	near("b", first['b'], .3)
	near("c", first['c'], .1)
	near("b after a", second["ab"], .6*.75)
	near("c after b", second["bc"], .3/7)
	near("moved to a fourth target", float64(moved)/sessions, 1./11)
}

// Requests without a session are on their own.
func TestWeightsWithoutSession(t *testing.T) {
	t.Parallel()
	draws := []float64{.9, .1, .1, .9}
	next := func() float64 { d := draws[0]; draws = draws[1:]; return d }
	l := ladderOf(1, 1)
	if diff := cmp.Diff([]string{"ba", "ab"}, []string{names(l.order("", next)), names(l.order("", next))}); diff != "" {
		t.Error(diff)
	}
}

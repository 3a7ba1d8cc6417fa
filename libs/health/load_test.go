package health_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/health"
)

// Full comes before the limit and goes when there is room again, not in between.
func TestLoad(t *testing.T) {
	t.Parallel()
	var load health.Load
	var got []bool
	for _, n := range []int{0, 89, 90, 100, 89, 75, 74, 89, 90} {
		got = append(got, load.Full(n, 100))
	}
	if diff := cmp.Diff([]bool{false, false, true, true, true, true, false, false, true}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var one health.Load
	if one.Full(0, 1) || !one.Full(1, 1) || one.Full(0, 1) {
		t.Error("a limit of one is full with one")
	}
}

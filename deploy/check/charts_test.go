package check_test

import (
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/render"
	"github.com/ragmesh/ragmesh/deploy/check/schema"
)

// each runs a test for every chart with every values set.
func each(t *testing.T, test func(t *testing.T, c render.Case, objects render.Objects)) {
	t.Helper()
	for _, c := range render.Cases(t) {
		t.Run(c.Chart+"/"+c.Name, func(t *testing.T) {
			t.Parallel()
			test(t, c, render.Render(t, c.Chart, c.Values))
		})
	}
}

func TestChartsBreakNoRule(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ render.Case, objects render.Objects) {
		for _, finding := range lint.Run(objects, lint.Rules()...) {
			t.Error(finding)
		}
	})
}

func TestChartsAreWhatTheirAPIsTake(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ render.Case, objects render.Objects) {
		for _, o := range objects {
			for _, err := range schema.Check(o) {
				t.Errorf("%s: %v", o.ID(), err)
			}
		}
	})
}

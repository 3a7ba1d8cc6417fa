package check_test

import (
	"slices"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/code"
	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/render"
	"github.com/ragmesh/ragmesh/deploy/check/schema"
)

func TestChartsBreakNoRule(t *testing.T) {
	t.Parallel()
	for _, c := range render.Cases(t) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			objects, rules := c.Render(t), lint.Rules()
			if whole(objects) {
				rules = append(rules, lint.Whole()...)
			}
			for _, finding := range lint.Run(objects, rules...) {
				t.Error(finding)
			}
		})
	}
}

func TestChartsAreWhatTheirAPIsTake(t *testing.T) {
	t.Parallel()
	for _, c := range render.Cases(t) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			for _, o := range c.Render(t) {
				for _, err := range schema.Check(o) {
					t.Errorf("%s: %v", o.ID(), err)
				}
			}
		})
	}
}

// whole says whether a release holds all services.
func whole(objects render.Objects) bool {
	return !slices.ContainsFunc(code.Services(), func(service string) bool {
		return !slices.ContainsFunc(objects.Kind("Deployment", "StatefulSet"), func(o render.Object) bool {
			return o.Labels()["app.kubernetes.io/name"] == service
		})
	})
}

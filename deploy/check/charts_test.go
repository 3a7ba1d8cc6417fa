package check_test

import (
	"path/filepath"
	"slices"
	"strings"
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

// Linkerd's kinds are checked against its own definitions, too, where a copy of them lies beside the checkout: no Go module has them.
func TestChartsAreWhatTheirAPIsTake(t *testing.T) {
	t.Parallel()
	check := schema.Check
	definitions, err := schema.ReadLinkerd(filepath.Join(render.Root(t), "../shared/crds/linkerd/linkerd-crds.yaml"))
	if err == nil {
		check = func(o render.Object) []error {
			errs := schema.Check(o)
			if strings.HasSuffix(o.Group(), "linkerd.io") {
				errs = append(errs, definitions.Check(o)...)
			}
			return errs
		}
	}
	for _, c := range render.Cases(t) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			for _, o := range c.Render(t) {
				for _, err := range check(o) {
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

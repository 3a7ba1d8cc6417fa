package lint_test

import (
	"os"
	"slices"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/lint/linttest"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// good returns a small release that breaks no rule.
func good(t testing.TB) render.Objects {
	t.Helper()
	text, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := render.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestRulesFindWhatIsBroken(t *testing.T) {
	t.Parallel()
	linttest.Run(t, lint.Rules(), good, slices.Concat(networkCases))
}

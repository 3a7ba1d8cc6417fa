package lint_test

import (
	"slices"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/lint/linttest"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// everything turns on what charts make objects of.
const everything = `
global:
  linkerd: {enabled: true}
  monitoring: {enabled: true}
`

// good returns a release of all services with everything turned on, which breaks no rule.
func good(t testing.TB) render.Objects {
	t.Helper()
	var all render.Objects
	for _, chart := range []string{"retriever", "tools", "llm-gateway", "eval", "nats-dev"} {
		all = append(all, render.Render(t, chart, render.YAML(everything))...)
	}
	return append(all, render.Render(t, "dialog", render.YAML(everything), render.YAML(`
host: ask.example.com
ingress: {enabled: true}
tls: {issuer: {name: letsencrypt}}
autoscaling: {hpa: {enabled: true}}
`))...)
}

func TestRulesFindWhatIsBroken(t *testing.T) {
	t.Parallel()
	rules := append(lint.Rules(), lint.Whole()...)
	linttest.Run(t, rules, good(t), slices.Concat(workloadCases, releaseCases, configCases, networkCases, linkerdCases, meshCases, monitoringCases))
}

package check_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// ruleGroups is the part of a rule file, and of a PrometheusRule, that is looked at here.
type ruleGroups struct {
	Groups []struct {
		Name  string           `json:"name"`
		Rules []map[string]any `json:"rules"`
	} `json:"groups"`
}

func (g ruleGroups) alerts() map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, group := range g.Groups {
		for _, r := range group.Rules {
			if name, ok := r["alert"].(string); ok {
				out[name] = r
			}
		}
	}
	return out
}

// shippedRules are those of a chart.
func shippedRules(t *testing.T, chart string, values render.Values) ruleGroups {
	t.Helper()
	text, err := yaml.Marshal(render.Render(t, chart, values).One(t, "PrometheusRule", "ragmesh-"+chart).At("spec"))
	if err != nil {
		t.Fatal(err)
	}
	var out ruleGroups
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func monitoringDir(t *testing.T, parts ...string) string {
	t.Helper()
	return filepath.Join(append([]string{render.Root(t), "deploy", "monitoring"}, parts...)...)
}

// Each chart ships the rules of its service and those of all, for its namespace and service alone.
func TestRulesAreShippedAndNarrowed(t *testing.T) {
	t.Parallel()
	shipped := map[string]bool{}
	for _, service := range []string{"dialog", "retriever", "tools", "llm-gateway", "eval"} {
		shippedHere := shippedRules(t, service, render.YAML("monitoring: {enabled: true}"))
		want := 0
		for _, file := range []string{service, "services"} {
			shipped[file+".yaml"] = true
			text, err := os.ReadFile(monitoringDir(t, "rules", file+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var source ruleGroups
			if err := yaml.Unmarshal(text, &source); err != nil {
				t.Fatal(err)
			}
			for _, g := range source.Groups {
				want += len(g.Rules)
			}
		}
		got := 0
		for _, g := range shippedHere.Groups {
			got += len(g.Rules)
			for _, r := range g.Rules {
				expr, _ := r["expr"].(string)
				if strings.Contains(expr, `=~".*"`) || !strings.Contains(expr, `namespace="ragmesh"`) {
					t.Errorf("%s: %v%v looks beyond its namespace and service:\n%s", service, r["alert"], r["record"], expr)
				}
				if strings.Contains(g.Name, "services") && !strings.Contains(expr, `ragmesh_service="`+service+`"`) {
					t.Errorf("%s: %v%v looks at other services:\n%s", service, r["alert"], r["record"], expr)
				}
			}
		}
		if got != want || got == 0 {
			t.Errorf("%s: %d rules are shipped, deploy/monitoring/rules has %d", service, got, want)
		}
	}
	files, err := os.ReadDir(monitoringDir(t, "rules"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !shipped[f.Name()] {
			t.Errorf("no chart ships rules/%s", f.Name())
		}
	}
}

// Every dashboard is shipped by one chart, whole, under a label that Grafana's sidecar looks for.
func TestDashboardsAreShippedOnce(t *testing.T) {
	t.Parallel()
	shipped := map[string]string{}
	for _, service := range []string{"dialog", "retriever", "tools", "llm-gateway", "eval"} {
		for _, o := range render.Render(t, service, render.YAML("monitoring: {enabled: true}")) {
			if o.Kind() != "ConfigMap" || !strings.HasSuffix(o.Name(), "-dashboards") {
				continue
			}
			if o.Labels()["grafana_dashboard"] != "1" {
				t.Errorf("%s has no label grafana_dashboard", o.ID())
			}
			for name, text := range o.Strings("data") {
				if before, twice := shipped[name]; twice {
					t.Errorf("%s is shipped by %s and %s", name, before, service)
				}
				shipped[name] = service
				var got, want any
				source, err := os.ReadFile(monitoringDir(t, "dashboards", strings.TrimPrefix(name, "ragmesh-")))
				if err != nil {
					t.Fatal(err)
				}
				if err := yaml.Unmarshal([]byte(text), &got); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if err := yaml.Unmarshal(source, &want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-source +shipped):\n%.1000s", name, diff)
				}
			}
		}
	}
	var want []string
	files, err := os.ReadDir(monitoringDir(t, "dashboards"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		want = append(want, "ragmesh-"+f.Name())
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(shipped))); diff != "" {
		t.Errorf("shipped (-deploy/monitoring/dashboards +charts):\n%s", diff)
	}
}

func TestAlertsCanBeChosenAndChanged(t *testing.T) {
	t.Parallel()
	values := render.YAML(`
monitoring:
  enabled: true
  labels: {release: prometheus}
  rules:
    objective: 0.99
    disabled: [RagmeshNoTraffic]
    overrides:
      RagmeshCallsSlow: {for: 30m, labels: {severity: critical}}
    labels: {team: search}
    runbooks: https://wiki.example/ragmesh
`)
	alerts := shippedRules(t, "dialog", values).alerts()
	if _, there := alerts["RagmeshNoTraffic"]; there {
		t.Error("RagmeshNoTraffic is there, although it is disabled")
	}
	slow := alerts["RagmeshCallsSlow"]
	if diff := cmp.Diff(map[string]any{"severity": "critical", "team": "search"}, slow["labels"]); diff != "" || slow["for"] != "30m" {
		t.Errorf("RagmeshCallsSlow is not as overridden: for %v, labels (-want +got)\n%s", slow["for"], diff)
	}
	high := alerts["RagmeshErrorsHigh"]
	if diff := cmp.Diff(map[string]any{"severity": "warning", "team": "search"}, high["labels"]); diff != "" {
		t.Errorf("what is not overridden has labels (-want +got)\n%s", diff)
	}
	if expr, _ := alerts["RagmeshTurnBudgetBurnsFast"]["expr"].(string); !strings.Contains(expr, "14.4 * (1 - 0.99)") {
		t.Errorf("the objective is not in\n%s", expr)
	}
	if notes, _ := high["annotations"].(map[string]any); notes["runbook_url"] != "https://wiki.example/ragmesh#ragmesherrorshigh" {
		t.Errorf("runbook_url is %v", notes["runbook_url"])
	}
	if monitor := render.Render(t, "dialog", values).One(t, "PodMonitor", "ragmesh-dialog"); monitor.Labels()["release"] != "prometheus" {
		t.Error("the PodMonitor lacks monitoring.labels")
	}
	both := render.YAML("monitoring: {enabled: true, serviceMonitor: {enabled: true}}")
	if why := render.Refused(t, "tools", both); !strings.Contains(why, "enable one of them") {
		t.Errorf("both monitors are refused with %q", why)
	}
}

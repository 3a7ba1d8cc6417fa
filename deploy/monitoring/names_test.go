package monitoring_test

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ragmesh/ragmesh/deploy/monitoring/dashboard"
	"github.com/ragmesh/ragmesh/deploy/monitoring/metrics"
	"github.com/ragmesh/ragmesh/deploy/monitoring/ruletest"
)

func known(t *testing.T) metrics.Known {
	t.Helper()
	k, err := metrics.Read("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRulesNameWhatThereIs(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, "rules/*.yaml") {
		k := known(t)
		groups := ruletest.Read[ruletest.Rules](t, path).Groups
		for _, g := range groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					k[r.Record] = nil
				}
			}
		}
		for _, g := range groups {
			for _, r := range g.Rules {
				if err := k.Check(ruletest.Parser(), r.Expr); err != nil {
					t.Errorf("%s: %s%s: %v", filepath.Base(path), r.Alert, r.Record, err)
				}
				for name, text := range r.Annotations {
					for _, l := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(text, -1) {
						if !strings.Contains(r.Expr, l[1]) && l[1] != "instance" && l[1] != "namespace" {
							t.Errorf("%s: %s names the label %s, which the expression does not", r.Alert, name, l[1])
						}
					}
				}
			}
		}
	}
}

// A chart narrows rules to a release by replacing these matchers; a selector without them would look at everybody's.
func TestRulesCanBeNarrowed(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, "rules/*.yaml") {
		for _, g := range ruletest.Read[ruletest.Rules](t, path).Groups {
			for _, r := range g.Rules {
				tree, err := ruletest.Parser().ParseExpr(r.Expr)
				if err != nil {
					t.Fatal(err)
				}
				parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
					if s, ok := node.(*parser.VectorSelector); ok {
						text := s.String()
						if !strings.Contains(text, `namespace=~".*"`) || filepath.Base(path) == "services.yaml" && !strings.Contains(text, `ragmesh_service=~".*"`) && !strings.HasPrefix(text, "process_") {
							t.Errorf("%s: %s%s: %s lacks namespace=~\".*\" or, in services.yaml, ragmesh_service=~\".*\"", filepath.Base(path), r.Alert, r.Record, text)
						}
					}
					return nil
				})
			}
		}
	}
}

func TestDashboardsNameWhatThereIs(t *testing.T) {
	t.Parallel()
	k := known(t)
	for _, name := range slices.Sorted(maps.Keys(dashboard.Boards())) {
		for _, row := range dashboard.Boards()[name].Rows {
			for _, p := range row.Panels {
				for _, q := range p.Queries {
					if err := k.Check(ruletest.Parser(), q.Expr); err != nil {
						t.Errorf("%s: %s: %v", name, p.Title, err)
					}
				}
			}
		}
	}
}

func TestWhatIsNotThereIsFound(t *testing.T) {
	t.Parallel()
	k := known(t)
	for _, expr := range []string{
		`ragmesh_dialog_turn_total`, `ragmesh_dialog_turns_total{result="failed"}`, `sum by (tool) (ragmesh_dialog_turns_total)`,
		`ragmesh_dialog_turns_total_bucket`, `{__name__=~"ragmesh_.+_rpc_seconds_count"}`, `ragmesh_dialog_stage_duration_seconds`,
	} {
		if err := k.Check(ruletest.Parser(), expr); err == nil {
			t.Errorf("%s passes", expr)
		}
	}
	for _, expr := range []string{
		`sum by (stage, le) (rate(ragmesh_dialog_stage_duration_seconds_bucket{namespace="x"}[5m]))`, `go_gc_duration_seconds{quantile="1"}`,
		`{__name__=~"ragmesh_.+_rpc_duration_seconds_count", type="unary"}`,
	} {
		if err := k.Check(ruletest.Parser(), expr); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

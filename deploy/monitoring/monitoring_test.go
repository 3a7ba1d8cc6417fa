package monitoring_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/deploy/monitoring/dashboard"
	"github.com/ragmesh/ragmesh/deploy/monitoring/ruletest"
)

var update = flag.Bool("update", false, "rewrite dashboards/*.json")

func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return found
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, "tests/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			ruletest.Run(t, path)
		})
	}
}

// Every alert fires in a scenario that names it, is silent in one where all is well, and says what a person needs.
func TestAlertsAreTestedAndExplained(t *testing.T) {
	t.Parallel()
	runbooks, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	const base = "https://github.com/ragmesh/ragmesh/blob/main/docs/runbooks.md#"
	known := map[string]bool{}
	for _, path := range files(t, "rules/*.yaml") {
		tests := ruletest.Read[ruletest.File](t, filepath.Join("tests", filepath.Base(path)))
		fires, silent := map[string]bool{}, false
		for _, test := range tests.Tests {
			for _, e := range test.ExprTests {
				for _, s := range e.Samples {
					if _, after, ok := strings.Cut(s.Labels, `alertname="`); ok {
						name, _, _ := strings.Cut(after, `"`)
						fires[name] = true
					}
				}
				silent = silent || strings.HasPrefix(test.Name, "all is well") && e.Expr == `ALERTS{alertstate="firing"}` && len(e.Samples) == 0
			}
		}
		if !silent {
			t.Errorf("tests of %s have no scenario in which all is well and nothing fires", path)
		}
		for _, g := range ruletest.Read[ruletest.Rules](t, path).Groups {
			for _, r := range g.Rules {
				if r.Alert == "" {
					continue
				}
				known[r.Alert] = true
				anchor := strings.ToLower(r.Alert)
				if !fires[r.Alert] {
					t.Errorf("%s: no test has it fire", r.Alert)
				}
				if got := r.Annotations["runbook_url"]; got != base+anchor {
					t.Errorf("%s: runbook_url is %q, want %q", r.Alert, got, base+anchor)
				}
				if !strings.Contains(string(runbooks), "\n### "+r.Alert+"\n") {
					t.Errorf("docs/runbooks.md has no section %s", r.Alert)
				}
				if s := r.Labels["severity"]; s != "critical" && s != "warning" {
					t.Errorf("%s: severity is %q, want critical or warning", r.Alert, s)
				}
				if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
					t.Errorf("%s: needs a summary and a description", r.Alert)
				}
			}
		}
	}
	for line := range strings.Lines(string(runbooks)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "### "); ok && !known[name] {
			t.Errorf("docs/runbooks.md explains %s, which is no alert", name)
		}
	}
}

func TestDashboardsAreWhatPackageDashboardWrites(t *testing.T) {
	t.Parallel()
	boards := dashboard.Boards()
	for name, board := range boards {
		path := filepath.Join("dashboards", name+".json")
		got, err := board.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not up to date; run go test . -update (-file +code):\n%.2000s", path, diff)
		}
	}
	for _, path := range files(t, "dashboards/*.json") {
		if _, ok := boards[strings.TrimSuffix(filepath.Base(path), ".json")]; !ok {
			t.Errorf("%s is nobody's; remove it", path)
		}
	}
}

func TestPanelsAreReadable(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	for name, board := range dashboard.Boards() {
		if uids[board.UID] || board.Description == "" {
			t.Errorf("%s: needs a uid of its own and a description", name)
		}
		uids[board.UID] = true
		var titles []string
		for _, row := range board.Rows {
			for _, p := range row.Panels {
				if p.Unit == "" || p.Title == "" || len(p.Queries) == 0 {
					t.Errorf("%s: %q needs a title, a unit and a query", name, p.Title)
				}
				if slices.Contains(titles, p.Title+string(p.Kind)) {
					t.Errorf("%s: two panels are called %q", name, p.Title)
				}
				titles = append(titles, p.Title+string(p.Kind))
			}
		}
	}
}

package check_test

import (
	"flag"
	"fmt"
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

var update = flag.Bool("update", false, "rewrite testdata/golden")

// What the charts render to, for a review to show what a change of a template does: each chart as it comes, one of each kind of workload,
// and the whole, as in production, and the retriever with a shared store and its roles apart. What says the same in every object, and long texts that have tests of their own, are left out.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, c := range render.Cases(t) {
		inProduction := c.Name == "production" && slices.Contains([]string{"dialog", "retriever", "ragmesh"}, c.Chart)
		shared := c.Chart == "retriever" && slices.Contains([]string{"weaviate", "roles"}, c.Name)
		if c.Name != "default" && !inProduction && !shared {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			got := golden(t, c.Render(t).Clone())
			file := filepath.Join("testdata", "golden", c.Chart+"-"+c.Name+".yaml")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v: run this test with -update", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("rendered otherwise; where that is meant, run this test with -update (-golden +rendered):\n%s", diff)
			}
		})
	}
}

// golden writes objects for people. Of a chart of charts, whose parts have files of their own, only the names are left.
func golden(t *testing.T, objects render.Objects) string {
	t.Helper()
	var out strings.Builder
	for _, o := range objects {
		if strings.Contains(o.Template, "/charts/") {
			fmt.Fprintf(&out, "# %s %s\n", o.APIVersion(), o.ID())
			continue
		}
		shorten(o.Raw)
		text, err := yaml.Marshal(o.Raw)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n" + string(text))
	}
	return out.String()
}

const longText = 2000

// shorten leaves out what is the same everywhere, and texts that would drown the rest.
func shorten(v any) {
	switch v := v.(type) {
	case map[string]any:
		if kind, ok := v["metadata"].(map[string]any); ok {
			if labels, ok := kind["labels"].(map[string]any); ok {
				maps.DeleteFunc(labels, func(key string, _ any) bool {
					return key == "helm.sh/chart" || strings.HasPrefix(key, "app.kubernetes.io/") && key != "app.kubernetes.io/name"
				})
			}
		}
		if groups, ok := v["groups"].([]any); ok && len(groups) > 0 {
			v["groups"] = fmt.Sprintf("(%d groups of rules)", len(groups))
		}
		for key, value := range v {
			if text, ok := value.(string); ok && len(text) > longText {
				v[key] = fmt.Sprintf("(%d lines)", strings.Count(text, "\n"))
			}
			if strings.HasSuffix(key, "-hash") || strings.HasPrefix(key, "checksum/") {
				v[key] = "(hash)"
			}
			shorten(v[key])
		}
	case []any:
		for _, value := range v {
			shorten(value)
		}
	}
}

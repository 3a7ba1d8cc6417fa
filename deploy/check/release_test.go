package check_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/code"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// hash is the annotation by which pods follow their configuration.
const hash = "ragmesh.dev/config-hash"

func release(t *testing.T, chart, name, namespace string, values ...render.Values) render.Objects {
	t.Helper()
	objects, err := render.Release(filepath.Join(render.Dir(t), chart), name, namespace, values...)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func texts(objects render.Objects) map[string]string {
	all := map[string]string{}
	for _, o := range objects {
		all[o.ID()] = o.Text
	}
	return all
}

// Services that are installed apart find each other whatever their releases are called.
func TestNamesDoNotDependOnTheRelease(t *testing.T) {
	t.Parallel()
	everything := render.YAML(`global: {linkerd: {enabled: true}, monitoring: {enabled: true}}`)
	for _, chart := range render.Charts(t) {
		t.Run(chart, func(t *testing.T) {
			t.Parallel()
			want := texts(release(t, chart, chart, render.Namespace, everything))
			got := texts(release(t, chart, "my-team-"+chart, render.Namespace, everything))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("another release renders otherwise:\n%s", diff)
			}
		})
	}
}

// One command or six: the same objects, but for who is said to have installed them.
func TestTheWholeIsItsParts(t *testing.T) {
	t.Parallel()
	everything := render.YAML(`global: {linkerd: {enabled: true}, monitoring: {enabled: true}}`)
	whole := texts(render.Render(t, "ragmesh", everything))
	for _, chart := range append(code.Services(), "nats-dev") {
		for id, want := range texts(render.Render(t, chart, everything)) {
			if diff := cmp.Diff(want, whole[id]); diff != "" {
				t.Errorf("%s of chart %s is not the one of the whole (-part +whole):\n%s", id, chart, diff)
			}
		}
	}
}

// An installation of another instance in another namespace shares nothing with the first.
func TestInstancesAreApart(t *testing.T) {
	t.Parallel()
	values := render.YAML(`global: {instance: second, linkerd: {enabled: true}, monitoring: {enabled: true}}`)
	for _, o := range release(t, "ragmesh", "second", "elsewhere", values) {
		if !strings.HasPrefix(o.Name(), "second") {
			t.Errorf("%s is not named after its instance", o.ID())
		}
		if ns := o.Namespace(); ns != "elsewhere" {
			t.Errorf("%s is in namespace %s", o.ID(), ns)
		}
		// Dashboards and expressions speak of metrics, whose names begin with ragmesh too.
		if o.Kind() == "PrometheusRule" || o.Labels()["grafana_dashboard"] != "" {
			continue
		}
		for line := range strings.Lines(o.Text) {
			if strings.Contains(line, "ragmesh-") && !strings.Contains(line, "ragmesh-test") && !strings.Contains(line, "helm.sh/chart:") {
				t.Errorf("%s names the first instance: %s", o.ID(), strings.TrimSpace(line))
			}
		}
	}
}

// Pods are made anew for another configuration, and for nothing else that they would not notice.
func TestPodsFollowTheirConfiguration(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, chart, values string
		same                bool
	}{
		{"replicas", "llm-gateway", `replicas: 3`, true},
		{"annotation of the Service", "llm-gateway", `service: {annotations: {a: b}}`, true},
		{"version of the chart's image", "llm-gateway", `image: {tag: next}`, true},
		{"key of the configuration", "dialog", `config: {log: {level: debug}}`, false},
		{"one letter of a prompt", "llm-gateway", `prompts: {default: {system_prompt: "Be brief!"}}`, false},
		{"strategy", "retriever", `strategies: {default: {retriever_type: keyword, top_k: 7}}`, false},
		{"address of NATS", "tools", `nats: {url: "nats://elsewhere:4222"}`, false},
	}
	first := render.YAML(`prompts: {default: {system_prompt: "Be brief."}}`)
	for _, c := range cases {
		t.Run(c.chart+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			before := []render.Values{}
			if c.chart == "llm-gateway" {
				before = append(before, first)
			}
			old := podHash(t, render.Render(t, c.chart, before...))
			now := podHash(t, render.Render(t, c.chart, append(before, render.YAML(c.values))...))
			if old == "" || (old == now) != c.same {
				t.Errorf("%s is %q and then %q", hash, old, now)
			}
		})
	}
	if got := podHash(t, render.Render(t, "llm-gateway", render.Set("reload=live"))); got != "" {
		t.Errorf("with reload=live, %s is %q and pods are made anew", hash, got)
	}
}

func podHash(t *testing.T, objects render.Objects) string {
	t.Helper()
	workloads := objects.Kind("Deployment", "StatefulSet")
	if len(workloads) != 1 {
		t.Fatalf("%d workloads", len(workloads))
	}
	return workloads[0].String("spec", "template", "metadata", "annotations", hash)
}

// Helm takes the last of two equal keys and says nothing.
func TestValuesSayNothingTwice(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(render.Dir(t), "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sets, err := filepath.Glob(filepath.Join(render.Root(t), "deploy", "*", "*values*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, sets...)
	if !slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, "dialog/values.yaml") }) {
		t.Fatalf("only %v", files)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := yaml.UnmarshalStrict(text, &v); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

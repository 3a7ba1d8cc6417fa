// Package render turns the charts of deploy/helm into Kubernetes objects, in process and offline, as `helm template` would.
//
//	objects := render.Render(t, "dialog", render.Set("replicas=3"), render.YAML("linkerd: {enabled: true}"))
//	service := render.As[corev1.Service](t, objects.One(t, "Service", "ragmesh-dialog"))
//
// Values are merged from left to right over the chart's own. Tests of every package of this module may import it.
package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // Helm's
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/strvals"
	"sigs.k8s.io/yaml"
)

const (
	// Namespace is where everything is installed.
	Namespace = "ragmesh"
	// KubeVersion is the Kubernetes version that templates are told.
	KubeVersion = "v1.34.0"
)

// Values is what is set on top of a chart's own values.
type Values map[string]any

// YAML reads values from a text. It panics when the text is no YAML, which is a mistake in the test that holds it.
func YAML(text string) Values {
	v := Values{}
	if err := yaml.UnmarshalStrict([]byte(text), &v); err != nil {
		panic(fmt.Sprintf("values are no YAML: %v\n%s", err, text))
	}
	return v
}

// Set reads values as helm's --set does, "a.b=c,d=1". It panics as YAML does.
func Set(pairs ...string) Values {
	v := Values{}
	for _, pair := range pairs {
		if err := strvals.ParseInto(pair, v); err != nil {
			panic(fmt.Sprintf("%q is no --set value: %v", pair, err))
		}
	}
	return v
}

// SetText sets one value, whose keys are joined by dots, to a text as it is: helm's --set-file.
func SetText(key, text string) Values {
	first, rest, nested := strings.Cut(key, ".")
	if !nested {
		return Values{first: text}
	}
	return Values{first: map[string]any(SetText(rest, text))}
}

// Case is a chart with one set of values.
type Case struct {
	Chart string
	// Name is "default", or the name of a file of the chart's folder ci, without its ending.
	Name   string
	Values Values
}

// String returns "chart/name", such as "dialog/production".
func (c Case) String() string { return c.Chart + "/" + c.Name }

// rendered holds what cases render to, by chart and name.
var rendered sync.Map //nolint:gochecknoglobals // a cache of what never changes while tests run

// Render renders the case's chart, once for all tests of a package: what it returns is shared, and must be cloned to be changed.
func (c Case) Render(t testing.TB) Objects {
	t.Helper()
	type result struct {
		objects Objects
		err     error
	}
	dir := filepath.Join(Dir(t), c.Chart)
	once, _ := rendered.LoadOrStore(dir+" "+c.Name, sync.OnceValue(func() result {
		objects, err := Chart(dir, c.Values)
		return result{objects, err}
	}))
	r := once.(func() result)()
	if r.err != nil {
		t.Fatalf("render chart %s with %s: %v", c.Chart, c.Name, r.err)
	}
	return r.objects
}

// Cases returns every chart's values sets: what each check must hold for.
func Cases(t testing.TB) []Case {
	t.Helper()
	var all []Case
	for _, name := range Charts(t) {
		all = append(all, Case{Chart: name, Name: "default"})
		files, err := filepath.Glob(filepath.Join(Dir(t), name, "ci", "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			set := strings.TrimSuffix(filepath.Base(file), ".yaml")
			all = append(all, Case{Chart: name, Name: set, Values: File(t, name, set)})
		}
	}
	return all
}

// File returns a values set of the chart's folder ci, such as "production".
func File(t testing.TB, chartName, set string) Values {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Dir(t), chartName, "ci", set+".yaml"))
	if err != nil {
		t.Fatalf("read values: %v", err)
	}
	v := Values{}
	if err := yaml.UnmarshalStrict(text, &v); err != nil {
		t.Fatalf("read ci/%s.yaml of chart %s: %v", set, chartName, err)
	}
	return v
}

// Charts returns the names of the charts that can be installed: library charts are left out.
func Charts(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Dir(t), "*", "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		meta, err := chartutil.LoadChartfile(file)
		if err != nil {
			t.Fatalf("read %s: %v", file, err)
		}
		if meta.Type != "library" {
			names = append(names, filepath.Base(filepath.Dir(file)))
		}
	}
	if len(names) == 0 {
		t.Fatalf("no charts in %s", Dir(t))
	}
	return names
}

// Root returns the top folder of the checkout.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.work in any folder above this package")
	return ""
}

// Dir returns the folder that holds the charts.
func Dir(t testing.TB) string {
	t.Helper()
	return filepath.Join(Root(t), "deploy", "helm")
}

// Render renders a chart of deploy/helm, and fails the test where that fails.
func Render(t testing.TB, chartName string, values ...Values) Objects {
	t.Helper()
	objects, err := Chart(filepath.Join(Dir(t), chartName), values...)
	if err != nil {
		t.Fatalf("render chart %s: %v", chartName, err)
	}
	return objects
}

// Refused renders a chart that must not render with these values, and returns what it says about them.
func Refused(t testing.TB, chartName string, values ...Values) string {
	t.Helper()
	objects, err := Chart(filepath.Join(Dir(t), chartName), values...)
	if err == nil {
		t.Fatalf("chart %s takes these values and renders %d objects", chartName, len(objects))
	}
	return err.Error()
}

// Chart renders the chart in a folder. Its dependencies are in the chart's folder charts, which may hold symbolic links. The release has
// the folder's name. Objects come in the order of the templates' names; hooks and tests are among them, notes are not.
func Chart(dir string, values ...Values) (Objects, error) {
	return Release(dir, filepath.Base(dir), Namespace, values...)
}

// Release is Chart for a release of another name, or in another namespace.
func Release(dir, release, namespace string, values ...Values) (Objects, error) {
	// Helm logs every symbolic link that it follows, and ours are many.
	log.SetOutput(io.Discard)
	c, err := loader.LoadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("load chart: %w", err)
	}
	merged := map[string]any{}
	for _, v := range values {
		merged = chartutil.MergeTables(clone(v), merged)
	}
	if err := chartutil.ProcessDependencies(c, merged); err != nil {
		return nil, fmt.Errorf("process dependencies: %w", err)
	}
	kube, err := chartutil.ParseKubeVersion(KubeVersion)
	if err != nil {
		return nil, err
	}
	if c.Metadata.KubeVersion != "" && !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, kube.String()) {
		return nil, fmt.Errorf("chart wants Kubernetes %s, not %s", c.Metadata.KubeVersion, kube)
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = *kube
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, merged, options, caps)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{}.Render(c, all)
	if err != nil {
		return nil, err
	}
	return split(c, files)
}

// clone copies tables, which rendering writes to.
func clone(v map[string]any) map[string]any {
	c := make(map[string]any, len(v))
	for key, value := range v {
		switch table := value.(type) {
		case map[string]any:
			value = clone(table)
		case Values:
			value = clone(table)
		}
		c[key] = value
	}
	return c
}

var separator = regexp.MustCompile(`(?m)^---\s*$`)

func split(c *chart.Chart, files map[string]string) (Objects, error) {
	var objects Objects
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(file, "NOTES.txt") || strings.HasPrefix(filepath.Base(file), "_") {
			continue
		}
		found, err := Parse(files[file])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for i := range found {
			found[i].Chart, found[i].Template = c.Name(), file
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// Parse reads the objects of a file with any number of YAML documents. Keys given twice are refused.
func Parse(text string) (Objects, error) {
	var objects Objects
	for _, document := range separator.Split(text, -1) {
		raw := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(document), &raw); err != nil {
			return nil, fmt.Errorf("read object: %w\n%s", err, document)
		}
		if len(raw) == 0 {
			continue
		}
		o := Object{Raw: raw, Text: strings.TrimSpace(document) + "\n"}
		if o.Kind() == "" || o.APIVersion() == "" || o.Name() == "" {
			return nil, errors.New("an object without kind, apiVersion or name:\n" + document)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// Defaults returns a chart's own values, and a function that says what its schema has against others; both leave subcharts out.
func Defaults(t testing.TB, chartName string) (Values, func(Values) error) {
	t.Helper()
	log.SetOutput(io.Discard)
	c, err := loader.LoadDir(filepath.Join(Dir(t), chartName))
	if err != nil {
		t.Fatalf("load chart: %v", err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(c.Schema))
	if err != nil {
		t.Fatalf("read schema: %v", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("values.schema.json", document); err != nil {
		t.Fatalf("read schema: %v", err)
	}
	schema, err := compiler.Compile("values.schema.json")
	if err != nil {
		t.Fatalf("read schema: %v", err)
	}
	return c.Values, func(v Values) error { return schema.Validate(map[string]any(v)) }
}

// Lint returns what `helm lint --strict` says against a chart.
func Lint(t testing.TB, chartName string, values Values) []string {
	t.Helper()
	log.SetOutput(io.Discard)
	kube, err := chartutil.ParseKubeVersion(KubeVersion)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, m := range lint.AllWithKubeVersion(filepath.Join(Dir(t), chartName), clone(values), Namespace, kube).Messages {
		if m.Severity >= support.WarningSev {
			said = append(said, m.Error())
		}
	}
	return said
}

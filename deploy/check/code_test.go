package check_test

import (
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/code"
	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/lint/linttest"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// Probes ask what the code answers, where the configuration says that it listens.
func TestProbesAskWhatTheCodeAnswers(t *testing.T) {
	t.Parallel()
	live, ready := code.HealthPaths(t)
	for _, c := range render.Cases(t) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			objects := c.Render(t)
			for _, o := range objects.Kind("Deployment", "StatefulSet") {
				service := o.Labels()["app.kubernetes.io/name"]
				if !slices.Contains(code.Services(), service) {
					continue
				}
				spec, err := lint.PodSpec(o)
				if err != nil {
					t.Fatal(err)
				}
				app := spec.Containers[0]
				checkProbe(t, o, "startup", app.StartupProbe, live)
				checkProbe(t, o, "liveness", app.LivenessProbe, live)
				checkProbe(t, o, "readiness", app.ReadinessProbe, ready)
				checkPorts(t, o, app, listens(t, objects, o, service))
			}
		})
	}
}

func checkProbe(t *testing.T, o render.Object, name string, probe *corev1.Probe, paths []string) {
	t.Helper()
	if probe == nil || probe.HTTPGet == nil || !slices.Contains(paths, probe.HTTPGet.Path) || probe.HTTPGet.Port.StrVal != "admin" {
		t.Errorf("%s: %s probe is %v, want one that asks for one of %v on port admin", o.ID(), name, probe, paths)
	}
}

// listens returns the ports that a service listens on by its configuration, for calls, for other applications and for health. A process that
// answers no calls listens for them on loopback only.
func listens(t *testing.T, objects render.Objects, o render.Object, service string) (ports [3]int32) {
	t.Helper()
	var config struct {
		Role  string
		RPC   struct{ Addr string }
		API   struct{ Addr string }
		Admin struct{ Addr string }
	}
	for _, file := range lint.ConfigFiles(objects, o) {
		if path.Base(file.Path) != service+".yaml" {
			continue
		}
		if err := yaml.Unmarshal([]byte(file.Text), &config); err != nil {
			t.Fatal(err)
		}
	}
	for i, addr := range []string{config.RPC.Addr, config.API.Addr, config.Admin.Addr} {
		if i == 1 && addr == "" {
			continue // few have one
		}
		host, port, err := net.SplitHostPort(addr)
		if i == 0 && config.Role == "ingest" && host == "127.0.0.1" {
			continue
		}
		if err != nil || host != "0.0.0.0" && host != "::" && host != "" {
			t.Errorf("%s: listens on %q, want all of the pod's addresses (%v)", o.ID(), addr, err)
			continue
		}
		number, err := strconv.ParseInt(port, 10, 32)
		if err != nil {
			t.Error(err)
		}
		ports[i] = int32(number)
	}
	return ports
}

func checkPorts(t *testing.T, o render.Object, app corev1.Container, ports [3]int32) {
	t.Helper()
	var got []string
	for _, port := range app.Ports {
		got = append(got, fmt.Sprint(port.Name, " ", port.ContainerPort))
	}
	calls := "rpc"
	if app.Name == "dialog" {
		calls = "http"
	}
	var want []string
	if ports[0] != 0 {
		want = append(want, fmt.Sprint(calls, " ", ports[0]))
	}
	if ports[1] != 0 {
		want = append(want, fmt.Sprint("api ", ports[1]))
	}
	if want = append(want, fmt.Sprint("admin ", ports[2])); !slices.Equal(got, want) {
		t.Errorf("%s: container ports are %q, and the configuration listens on %q", o.ID(), got, want)
	}
}

// metrics returns the rule for what the code exports.
func metrics(t *testing.T) lint.Rule {
	t.Helper()
	var series, labels []string
	for _, m := range code.Metrics(t) {
		series, labels = append(series, m.Series()...), append(labels, m.Labels...)
	}
	return lint.Metrics(series, labels)
}

func TestMetricsAreExported(t *testing.T) {
	t.Parallel()
	rule := metrics(t)
	for _, c := range render.Cases(t) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			for _, finding := range lint.Run(c.Render(t), rule) {
				t.Error(finding)
			}
		})
	}
	const scaler = `{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: x}, spec: {triggers: [{type: prometheus, metadata: {query: %q}}]}}`
	linttest.Run(t, []lint.Rule{rule}, nil, []linttest.Case{
		{
			Name: "none", Rule: "metrics", Want: "ragmesh_dialog_turn_total",
			Edit: linttest.Add(fmt.Sprintf(scaler, `sum(rate(ragmesh_dialog_turn_total{ragmesh_service="dialog"}[1m]))`)),
		},
		{
			Name: "histogram without a suffix", Rule: "metrics", Want: "ragmesh_dialog_turn_duration_seconds,",
			Edit: linttest.Add(fmt.Sprintf(scaler, `histogram_quantile(0.99, ragmesh_dialog_turn_duration_seconds)`)),
		},
		{
			Name: "dashboard", Rule: "metrics", Want: "ragmesh_nobody_knows",
			Edit: linttest.Add(`{apiVersion: v1, kind: ConfigMap, metadata: {name: x, labels: {grafana_dashboard: "1"}}, data: {x.json: "rate(ragmesh_nobody_knows[5m])"}}`),
		},
	})
}

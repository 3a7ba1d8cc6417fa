package lint_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/lint/linttest"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// dashboard puts a text in the place of a dashboard.
func dashboard(text string) linttest.Edit {
	return func(t testing.TB, objects render.Objects) render.Objects {
		t.Helper()
		o := objects.One(t, "ConfigMap", "ragmesh-retriever-dashboards")
		name := slices.Sorted(maps.Keys(o.Strings("data")))[0]
		return linttest.Put(o.ID(), text, "data", name)(t, objects)
	}
}

const serviceMonitor = `{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: x}, spec: {` +
	`selector: {matchLabels: {app.kubernetes.io/name: retriever}}, endpoints: [{port: metrics}]}}`

var monitoringCases = []linttest.Case{
	{
		Name: "no pods", Rule: "monitors", Want: "selects no pods",
		Edit: linttest.Put("PodMonitor/ragmesh-retriever", "retreiver", "spec", "selector", "matchLabels", "app.kubernetes.io/name"),
	},
	{
		Name: "no such port", Rule: "monitors", Want: `StatefulSet/ragmesh-retriever has no port "metrics"`,
		Edit: linttest.Put("PodMonitor/ragmesh-retriever", "metrics", "spec", "podMetricsEndpoints", 0, "port"),
	},
	{
		Name: "another path", Rule: "monitors", Want: "/metrics",
		Edit: linttest.Put("PodMonitor/ragmesh-retriever", "/stats", "spec", "podMetricsEndpoints", 0, "path"),
	},
	{
		Name: "no such port of a Service", Rule: "monitors", Want: `Service/ragmesh-retriever has no port "metrics"`,
		Edit: linttest.Add(serviceMonitor),
	},
	{
		Name: "Service and pods", Rule: "scraped-once", Want: "scraped by PodMonitor/ragmesh-retriever already",
		Edit: linttest.Add(serviceMonitor),
	},
	{
		Name: "no JSON", Rule: "dashboards", Want: "is no JSON",
		Edit: dashboard("{"),
	},
	{
		Name: "nobody's", Rule: "dashboards", Want: "no uid",
		Edit: dashboard("{}"),
	},
}

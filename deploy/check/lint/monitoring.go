package lint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

func monitoringRules() []Rule { return []Rule{monitors, scrapedOnce, dashboards} }

var monitors = Rule{
	Name: "monitors",
	Why:  "A monitor that selects nothing, or names a port that is not there, is no error to anyone: there are just no metrics.",
	Check: func(objects render.Objects, report Report) {
		for _, o := range objects.Kind("PodMonitor") {
			found := selectedAt(pods(objects), o, "spec", "selector")
			if len(found) == 0 {
				report(o, "spec.selector selects no pods of the release")
			}
			eachEndpoint(o, "podMetricsEndpoints", func(path, port string) {
				for _, p := range found {
					if _, ok := p.port(port); !ok {
						report(o, "%s: %s has no port %q", path, p.ID(), port)
					}
				}
			}, report)
		}
		for _, o := range objects.Kind("ServiceMonitor") {
			found := monitored(objects, o)
			if len(found) == 0 {
				report(o, "spec.selector selects no Services of the release")
			}
			eachEndpoint(o, "endpoints", func(path, port string) {
				for _, s := range found {
					if !slices.ContainsFunc(s.value.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == port }) {
						report(o, "%s: %s has no port %q", path, s.object.ID(), port)
					}
				}
			}, report)
		}
	},
}

// eachEndpoint calls visit with each endpoint's place and port.
func eachEndpoint(o render.Object, field string, visit func(path, port string), report Report) {
	endpoints, _ := o.At("spec", field).([]any)
	if len(endpoints) == 0 {
		report(o, "spec.%s is empty", field)
	}
	for i := range endpoints {
		path := fmt.Sprintf("spec.%s[%d]", field, i)
		if got := o.String("spec", field, i, "path"); got != "" && got != "/metrics" {
			report(o, "%s: path is %s, and metrics are on /metrics", path, got)
		}
		visit(path, o.String("spec", field, i, "port"))
	}
}

// monitored returns the Services that a ServiceMonitor selects, which goes by their own labels.
func monitored(objects render.Objects, monitor render.Object) []typed[corev1.Service] {
	table, _ := monitor.At("spec", "selector").(map[string]any)
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(table, &selector); err != nil {
		return nil
	}
	s, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(decoded[corev1.Service](objects, "Service"), func(v typed[corev1.Service]) bool {
		return !s.Matches(labels.Set(v.value.Labels))
	})
}

var scrapedOnce = Rule{
	Name: "scraped-once",
	Why:  "What is scraped by two monitors counts twice in every sum.",
	Check: func(objects render.Objects, report Report) {
		by := map[string]string{}
		scrape := func(o render.Object, found []pod) {
			for _, p := range found {
				if other := by[p.ID()]; p.serves() && other != "" && other != o.ID() {
					report(o, "%s is scraped by %s already", p.ID(), other)
				}
				by[p.ID()] = o.ID()
			}
		}
		for _, o := range objects.Kind("PodMonitor") {
			scrape(o, selectedAt(pods(objects), o, "spec", "selector"))
		}
		for _, o := range objects.Kind("ServiceMonitor") {
			for _, s := range monitored(objects, o) {
				scrape(o, ofService(pods(objects), s.value))
			}
		}
	},
}

var dashboards = Rule{
	Name: "dashboards",
	Why:  "Grafana leaves out a dashboard that is no JSON, and takes one of two with the same uid.",
	Check: func(objects render.Objects, report Report) {
		uids := map[string]string{}
		for _, o := range objects.Kind("ConfigMap") {
			data := o.Strings("data")
			for _, name := range slices.Sorted(maps.Keys(data)) {
				if !strings.HasSuffix(name, ".json") || o.Labels()["grafana_dashboard"] == "" {
					continue
				}
				var d struct{ UID, Title string }
				switch err := json.Unmarshal([]byte(data[name]), &d); {
				case err != nil:
					report(o, "%s is no JSON: %v", name, err)
				case d.UID == "" || d.Title == "":
					report(o, "%s has no uid or no title", name)
				case uids[d.UID] != "":
					report(o, "%s has uid %s, and so has %s", name, d.UID, uids[d.UID])
				}
				uids[d.UID] = o.ID() + " " + name
			}
		}
	},
}

package lint

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

var metricName = regexp.MustCompile(`\bragmesh_[a-z0-9_]+\b`)

// Metrics returns a rule: every series and label of ours that an object names, in an expression, a dashboard or a scaler, is one that the
// code exports.
func Metrics(series, labels []string) Rule {
	return Rule{
		Name: "metrics",
		Why:  "An expression over a series that nobody exports is valid, and never true.",
		Check: func(objects render.Objects, report Report) {
			for _, o := range objects.Kind("PrometheusRule", "HorizontalPodAutoscaler", "ScaledObject", "ConfigMap") {
				if o.Kind() == "ConfigMap" && o.Labels()["grafana_dashboard"] == "" {
					continue
				}
				for _, field := range []string{"spec", "data"} {
					walkText(field, o.At(field), func(key, value string) {
						for _, name := range metricName.FindAllString(value, -1) {
							if !slices.Contains(labels, name) && !isSeries(o, name, series) {
								report(o, "%s names %s, which the code does not export (docs/metrics.md)", key, name)
							}
						}
					})
				}
			}
		},
	}
}

// isSeries says whether a name is a series, or, where a metrics adapter made it, a rate of one: x_per_second of x_total or x.
func isSeries(o render.Object, name string, series []string) bool {
	if rate, ok := strings.CutSuffix(name, "_per_second"); ok && o.Kind() == "HorizontalPodAutoscaler" {
		return slices.Contains(series, rate+"_total") || slices.Contains(series, rate)
	}
	return slices.Contains(series, name)
}

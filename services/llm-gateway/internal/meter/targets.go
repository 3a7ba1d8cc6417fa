package meter

import (
	"cmp"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// everybody names the line of all requests among those of providers.
const everybody = "all"

// targets reads the targets' health when it is asked for.
type targets struct {
	health                   *route.Health
	clock                    func() time.Time
	state, inFlight, waiting *prometheus.Desc
}

// Watch registers the metrics of health. Those of targets are read from it.
func (m *Meter) Watch(health *route.Health, clock func() time.Time) error {
	target := []string{"provider", "model"}
	err := m.t.Registry.Register(&targets{
		health: health, clock: clock,
		state: prometheus.NewDesc(m.t.Metric("target_state"),
			"Whether a target is asked: 0 yes, 1 by single probes, 2 not at all for a while, because it failed too often or its provider asked for that.", target, nil),
		inFlight: prometheus.NewDesc(m.t.Metric("target_in_flight"), "Tries under way, by target.", target, nil),
		waiting:  prometheus.NewDesc(m.t.Metric("waiting"), "Requests that wait for a place, by line: all, or that of a provider.", []string{"line"}, nil),
	})
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (t *targets) Describe(out chan<- *prometheus.Desc) {
	out <- t.state
	out <- t.inFlight
	out <- t.waiting
}

// Collect implements [prometheus.Collector].
func (t *targets) Collect(out chan<- prometheus.Metric) {
	value := map[breaker.State]float64{breaker.Closed: 0, breaker.HalfOpen: 1, breaker.Open: 2}
	seen := map[[2]string]bool{}
	for _, s := range t.health.Targets(t.clock()) {
		key := [2]string{s.Provider, s.Model}
		if seen[key] { // that of a provider that has just been replaced
			continue
		}
		seen[key] = true
		out <- prometheus.MustNewConstMetric(t.state, prometheus.GaugeValue, value[s.State], s.Provider, s.Model)
		out <- prometheus.MustNewConstMetric(t.inFlight, prometheus.GaugeValue, float64(s.InFlight), s.Provider, s.Model)
	}
	for _, q := range t.health.Queues() {
		out <- prometheus.MustNewConstMetric(t.waiting, prometheus.GaugeValue, float64(q.Waiting), cmp.Or(q.Provider, everybody))
	}
}

// Retried implements [route.Meter].
func (m *Meter) Retried(r route.Rung) { m.retries.WithLabelValues(r.Route, r.Provider, r.Model).Inc() }

// Skipped implements [route.Meter].
func (m *Meter) Skipped(r route.Rung, why string) {
	m.skips.WithLabelValues(r.Route, r.Provider, r.Model, why).Inc()
}

// Waited implements [route.Meter].
func (m *Meter) Waited(queue string, took time.Duration) {
	m.waits.WithLabelValues(cmp.Or(queue, everybody)).Observe(took.Seconds())
}

// Refused counts a request for which a line had no room.
func (m *Meter) Refused(queue string, why fault.Reason) {
	m.refused.WithLabelValues(cmp.Or(queue, everybody), fault.ReasonName(why)).Inc()
}

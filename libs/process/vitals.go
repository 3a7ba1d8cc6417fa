package process

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// vitalsTimeout is how long a scrape waits for the readiness report. A service that hangs must not take its metrics with it.
const vitalsTimeout = 2 * time.Second

// vitals shows what the probes answer as metrics: those of Prometheus tell when it began, and of which component.
type vitals struct {
	state    *health.State
	live     *health.Liveness
	services []string
	descs    map[string]vitalDescs // by service
	asked    chan struct{}         // capacity 1: the report under way
	hangs    atomic.Bool           // it has not come in time
}

type vitalDescs struct{ ready, live, component *prometheus.Desc }

// RegisterVitals registers what the probes of a process answer, for each service in it. Rows named <service>/<component> are that
// service's, others the first one's.
func RegisterVitals(registry *prometheus.Registry, state *health.State, live *health.Liveness, services ...string) error {
	v := &vitals{state: state, live: live, services: services, descs: map[string]vitalDescs{}, asked: make(chan struct{}, 1)}
	for _, s := range services {
		prefix := "ragmesh_" + strings.ReplaceAll(s, "-", "_") + "_health_"
		labels := prometheus.Labels{telemetry.ServiceLabel: s}
		v.descs[s] = vitalDescs{
			ready:     prometheus.NewDesc(prefix+"ready", "1 while /health/ready answers 200.", nil, labels),
			live:      prometheus.NewDesc(prefix+"live", "1 while /health/live answers 200.", nil, labels),
			component: prometheus.NewDesc(prefix+"component_ready", "1 while a row of /health/ready is well, by component.", []string{"component"}, labels),
		}
	}
	if err := registry.Register(v); err != nil {
		return fmt.Errorf("register health metrics: %w", err)
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (v *vitals) Describe(out chan<- *prometheus.Desc) {
	for _, d := range v.descs {
		out <- d.ready
		out <- d.live
		out <- d.component
	}
}

// Collect implements [prometheus.Collector].
func (v *vitals) Collect(out chan<- prometheus.Metric) {
	report, ok := v.report()
	alive := len(v.live.Silent()) == 0
	for _, d := range v.descs {
		out <- prometheus.MustNewConstMetric(d.ready, prometheus.GaugeValue, one(ok && report.Phase == health.Ready))
		out <- prometheus.MustNewConstMetric(d.live, prometheus.GaugeValue, one(alive))
	}
	seen := map[string]bool{} // a name that comes twice would spoil the whole scrape
	for _, c := range report.Components {
		if seen[c.Name] {
			continue
		}
		seen[c.Name] = true
		service, name, _ := strings.Cut(c.Name, "/")
		if _, known := v.descs[service]; !known || name == "" {
			service, name = v.services[0], c.Name
		}
		out <- prometheus.MustNewConstMetric(v.descs[service].component, prometheus.GaugeValue, one(c.Ready), name)
	}
}

// report asks for the readiness report; it gives up, and says so, on one that hangs.
func (v *vitals) report() (health.Report, bool) {
	if !v.turn() {
		return health.Report{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), vitalsTimeout)
	done := make(chan health.Report, 1)
	go func() { // hangs with the service; at most one does
		defer cancel()
		r := v.state.Report(ctx)
		v.hangs.Store(false)
		<-v.asked // before the report is there: whoever has it may ask again
		done <- r
	}()
	select {
	case r := <-done:
		return r, true
	case <-ctx.Done():
	}
	select {
	case r := <-done: // whose end ends ctx too
		return r, true
	default:
		v.hangs.Store(true)
		return health.Report{}, false
	}
}

// turn waits while somebody else asks, such as another Prometheus, but not for what is known to hang.
func (v *vitals) turn() bool {
	select {
	case v.asked <- struct{}{}:
		return true
	default:
	}
	if v.hangs.Load() {
		return false
	}
	late := time.NewTimer(vitalsTimeout)
	defer late.Stop()
	select {
	case v.asked <- struct{}{}:
		return true
	case <-late.C:
		return false
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// RegisterRevision registers a metric that shows which configuration revision answers carry.
func RegisterRevision(t *telemetry.Telemetry, revision func() string) error {
	if err := t.Registry.Register(&revisionInfo{
		desc:     prometheus.NewDesc(t.Metric("config_info"), "1, with the revision of the configuration that is in use.", []string{"revision"}, nil),
		revision: revision,
	}); err != nil {
		return fmt.Errorf("register metrics of %s: %w", t.Service, err)
	}
	return nil
}

type revisionInfo struct {
	desc     *prometheus.Desc
	revision func() string
}

// Describe implements [prometheus.Collector].
func (r *revisionInfo) Describe(out chan<- *prometheus.Desc) { out <- r.desc }

// Collect implements [prometheus.Collector].
func (r *revisionInfo) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, 1, r.revision())
}

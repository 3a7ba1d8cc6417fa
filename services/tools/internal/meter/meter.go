// Package meter counts tool calls, as Prometheus metrics.
package meter

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/tools/internal/audit"
	"github.com/ragmesh/ragmesh/services/tools/internal/registry"
)

// Meter counts calls by tool and outcome, and audit records that could not be published. The labels are the registry's: no
// caller can make new ones.
type Meter struct {
	calls   *prometheus.HistogramVec
	dropped prometheus.Counter
}

var (
	_ registry.Meter = (*Meter)(nil)
	_ audit.Meter    = (*Meter)(nil)
)

// New registers the metrics.
func New(t *telemetry.Telemetry) (*Meter, error) {
	m := &Meter{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    t.Metric("call_duration_seconds"),
			Help:    "Time of tool calls, by tool and outcome: ok, or why the call failed or was refused.",
			Buckets: []float64{.0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"tool", "outcome"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: t.Metric("audit_unpublished_total"),
			Help: "Audit records that could not be published and are in the log only.",
		}),
	}
	if err := errors.Join(t.Registry.Register(m.calls), t.Registry.Register(m.dropped)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// Called implements [registry.Meter].
func (m *Meter) Called(tool, outcome string, took time.Duration) {
	m.calls.WithLabelValues(tool, outcome).Observe(took.Seconds())
}

// Unpublished implements [audit.Meter].
func (m *Meter) Unpublished() { m.dropped.Inc() }

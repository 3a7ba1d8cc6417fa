package consume

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// The outcomes.
const (
	stored    = "stored"
	repeated  = "repeated"
	malformed = "malformed"
)

func outcome(added bool) string {
	if added {
		return stored
	}
	return repeated
}

type metrics struct {
	turns, spans *prometheus.CounterVec
	batches      prometheus.Counter
}

func newMetrics(t *telemetry.Telemetry) (*metrics, error) {
	m := &metrics{
		turns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("consumed_turns_total"), Help: "Turns taken from the stream, by outcome; repeated ones were there already or deleted meanwhile.",
		}, []string{"outcome"}),
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("consumed_spans_total"), Help: "Spans taken from the stream, by outcome.",
		}, []string{"outcome"}),
		batches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: t.Metric("malformed_batches_total"), Help: "Batches of spans that could not be decoded.",
		}),
	}
	// A series that begins with its first event hides that event from rates.
	for _, outcome := range []string{stored, repeated, malformed} {
		m.turns.WithLabelValues(outcome)
		m.spans.WithLabelValues(outcome)
	}
	for _, c := range []prometheus.Collector{m.turns, m.spans, m.batches} {
		if err := t.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

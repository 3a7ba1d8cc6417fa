// Package meter counts what the routes do, as Prometheus metrics.
package meter

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// Meter counts tries, tokens and times per route and provider. Labels come from the configuration, never from requests.
type Meter struct {
	tries     *prometheus.HistogramVec
	firstText *prometheus.HistogramVec
	tokens    *prometheus.CounterVec
}

var _ route.Meter = (*Meter)(nil)

// New registers the metrics.
func New(t *telemetry.Telemetry) (*Meter, error) {
	buckets := []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 120}
	m := &Meter{
		tries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("try_duration_seconds"), Buckets: buckets,
			Help: "Time of tries at an answer, by route, provider and outcome: how the answer ended, or why the try failed.",
		}, []string{"route", "provider", "outcome"}),
		firstText: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("time_to_first_token_seconds"), Buckets: buckets,
			Help: "Time from the request to the first text, tries that failed before it included, by route and provider.",
		}, []string{"route", "provider"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("tokens_total"),
			Help: "Tokens of prompts and completions, by route, provider and kind.",
		}, []string{"route", "provider", "kind"}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.tries, m.firstText, m.tokens} {
		errs = append(errs, t.Registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// Tried implements [route.Meter].
func (m *Meter) Tried(route, provider, outcome string, took time.Duration) {
	m.tries.WithLabelValues(route, provider, outcome).Observe(took.Seconds())
}

// FirstText implements [route.Meter].
func (m *Meter) FirstText(route, provider string, took time.Duration) {
	m.firstText.WithLabelValues(route, provider).Observe(took.Seconds())
}

// Tokens implements [route.Meter].
func (m *Meter) Tokens(route, provider string, u provider.Usage) {
	m.tokens.WithLabelValues(route, provider, "prompt").Add(float64(u.Prompt))
	m.tokens.WithLabelValues(route, provider, "completion").Add(float64(u.Completion))
}

// Package meter counts what the routes do, as Prometheus metrics.
package meter

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// Meter counts tries, tokens, cost and times per route and target. Labels come from the configuration, never from requests.
type Meter struct {
	tries     *prometheus.HistogramVec
	firstText *prometheus.HistogramVec
	tokens    *prometheus.CounterVec
	cost      *prometheus.CounterVec
	overhead  *prometheus.HistogramVec
	retries   *prometheus.CounterVec
	skips     *prometheus.CounterVec
	refused   *prometheus.CounterVec
	waits     *prometheus.HistogramVec
	accounts  accounts
	genAI     *genAI
	t         *telemetry.Telemetry
}

var _ route.Meter = (*Meter)(nil)

// New registers the metrics.
func New(t *telemetry.Telemetry) (*Meter, error) {
	buckets := telemetry.Seconds()
	m := &Meter{
		tries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("try_duration_seconds"), Buckets: buckets,
			Help: "Time of tries at an answer, by route, target (from rung 1 on because those above failed) and outcome: how the answer ended, or why the try failed.",
		}, []string{"route", "provider", "model", "rung", "outcome"}),
		firstText: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("time_to_first_token_seconds"), Buckets: buckets,
			Help: "Time from the request to the first text, tries that failed before it included, by route and target.",
		}, []string{"route", "provider", "model"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("tokens_total"),
			Help: "Tokens of prompts and completions, by route, target and kind.",
		}, []string{"route", "provider", "model", "kind"}),
		cost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("cost_total"),
			Help: "What answers cost, in the currency of the configured prices, by route and target.",
		}, []string{"route", "provider", "model"}),
		overhead: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("overhead_seconds"), Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1},
			Help: "Time of requests to OpenAI's API that was spent here and not with a provider: until a target was asked, and from its answer, or a stream's first text, until that was sent; by route.",
		}, []string{"route"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("retries_total"),
			Help: "Tries that repeat one at the same target, by route and target.",
		}, []string{"route", "provider", "model"}),
		skips: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("skipped_total"),
			Help: "Targets that were passed over without a try, because they are left alone or have no place, by route, target and reason.",
		}, []string{"route", "provider", "model", "reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("refused_total"),
			Help: "Requests for which there was no place, by line (all, or that of a provider) and reason.",
		}, []string{"line", "reason"}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("wait_seconds"), Buckets: buckets,
			Help: "Time that requests waited for a place, by line: all, or that of a provider.",
		}, []string{"line"}),
		t: t,
	}
	m.refused.WithLabelValues(everybody, fault.ReasonName(fault.Overloaded)) // there from the beginning, so that its growth is seen
	var err error
	if m.genAI, err = newGenAI(t.Meter); err != nil {
		return nil, err
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.tries, m.firstText, m.tokens, m.cost, m.overhead, m.retries, m.skips, m.refused, m.waits} {
		errs = append(errs, t.Registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// Tried implements [route.Meter].
func (m *Meter) Tried(r route.Rung, outcome string, took time.Duration) {
	m.tries.WithLabelValues(r.Route, r.Provider, r.Model, strconv.Itoa(r.Number), outcome).Observe(took.Seconds())
}

// FirstText implements [route.Meter].
func (m *Meter) FirstText(r route.Rung, took time.Duration) {
	m.firstText.WithLabelValues(r.Route, r.Provider, r.Model).Observe(took.Seconds())
}

// Tokens implements [route.Meter].
func (m *Meter) Tokens(r route.Rung, u provider.Usage) {
	m.tokens.WithLabelValues(r.Route, r.Provider, r.Model, "prompt").Add(float64(u.Prompt))
	m.tokens.WithLabelValues(r.Route, r.Provider, r.Model, "completion").Add(float64(u.Completion))
	m.cost.WithLabelValues(r.Route, r.Provider, r.Model).Add(float64(u.CostMicros) / 1e6)
}

// Overhead implements the API's meter.
func (m *Meter) Overhead(route string, took time.Duration) {
	m.overhead.WithLabelValues(route).Observe(took.Seconds())
}

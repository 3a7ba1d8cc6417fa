package meter

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Ledger is what there is to see of one.
type Ledger interface {
	// Failures counts entries that its journal could not take, Waiting the pages that others don't have yet, and Open the requests
	// that a provider is at.
	Failures() uint64
	Waiting() int
	Open() int
}

// accounts are the metrics of limits, ledger and cache.
type accounts struct {
	limited, asked, failed *prometheus.CounterVec
}

// Accounts registers the metrics of limits, ledger and cache.
func (m *Meter) Accounts(l Ledger) error {
	m.accounts = accounts{
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: m.t.Metric("limited_total"),
			Help: "Requests beyond a limit (requests or tokens a minute) or budget (day or month), of a workspace or a key; enforced ones are refused, those in shadow pass.",
		}, []string{"limit", "scope", "mode"}),
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: m.t.Metric("cache_requests_total"),
			Help: "Requests that may use the cache of answers: hit, shared with another one under way, miss, or refresh.",
		}, []string{"result"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: m.t.Metric("cache_failures_total"),
			Help: "Answers that could not be looked up (get) or kept (put).",
		}, []string{"op"}),
	}
	count := func(name, help string, fn func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.t.Metric(name), Help: help}, fn)
	}
	gauge := func(name, help string, fn func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.t.Metric(name), Help: help}, fn)
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.accounts.limited, m.accounts.asked, m.accounts.failed,
		count("ledger_failures_total", "Entries that the ledger's journal could not take. They are lost if the process dies before others have them.", func() float64 { return float64(l.Failures()) }),
		gauge("ledger_waiting", "Days of workspaces whose usage other processes don't know as it is; it grows while NATS is away.", func() float64 { return float64(l.Waiting()) }),
		gauge("ledger_open", "Requests that a provider is at: what would be unsettled if the process died now.", func() float64 { return float64(l.Open()) }),
	} {
		errs = append(errs, m.t.Registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	// What has not happened yet is 0, not absent: so that the first time is an increase.
	for _, result := range []string{"hit", "shared", "miss", "refresh"} {
		m.accounts.asked.WithLabelValues(result)
	}
	for _, op := range []string{"get", "put"} {
		m.accounts.failed.WithLabelValues(op)
	}
	for _, limit := range []string{"requests", "tokens", "day", "month"} {
		for _, scope := range []string{"workspace", "key"} {
			for _, mode := range []string{"enforced", "shadow"} {
				m.accounts.limited.WithLabelValues(limit, scope, mode)
			}
		}
	}
	return nil
}

// Limited counts a request beyond a limit.
func (m *Meter) Limited(limit, scope string, shadow bool) {
	mode := "enforced"
	if shadow {
		mode = "shadow"
	}
	m.accounts.limited.WithLabelValues(limit, scope, mode).Inc()
}

// CacheAsked counts a request that may use the cache.
func (m *Meter) CacheAsked(result string) { m.accounts.asked.WithLabelValues(result).Inc() }

// CacheFailed counts what the cache could not do.
func (m *Meter) CacheFailed(op string) { m.accounts.failed.WithLabelValues(op).Inc() }

package bus

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	publishes  *prometheus.HistogramVec
	handled    *prometheus.HistogramVec
	reconnects prometheus.Counter
	pending    *prometheus.GaugeVec
	lag        *prometheus.GaugeVec
}

// newMetrics makes the bus's metrics. Two connections of one name share them, as a test or a reload may have.
func newMetrics(service string, registry prometheus.Registerer, connected func() bool) (*metrics, error) {
	prefix := "ragmesh_" + strings.ReplaceAll(service, "-", "_") + "_bus_"
	buckets := []float64{.0002, .001, .005, .02, .1, .5, 2, 10, 60}
	m := &metrics{
		publishes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "publish_seconds", Help: "Time until a published message was acknowledged, by outcome.", Buckets: buckets,
		}, []string{"outcome"}),
		handled: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "handle_seconds", Help: "Time a consumer's handler took, by consumer and outcome.", Buckets: buckets,
		}, []string{"consumer", "outcome"}),
		reconnects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "reconnects_total", Help: "Times the connection to NATS came back.",
		}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "consumer_pending_messages", Help: "Messages a consumer has not done yet, those under way included, by consumer.",
		}, []string{"consumer"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "consumer_lag_seconds", Help: "How long the oldest message that a consumer has not done has waited; 0 when there is none.",
		}, []string{"consumer"}),
	}
	if registry == nil {
		return m, nil
	}
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "connected", Help: "1 while NATS is connected.",
	}, func() float64 {
		if connected() {
			return 1
		}
		return 0
	})
	if err := register(registry, &m.publishes); err != nil {
		return nil, err
	}
	if err := register(registry, &m.handled); err != nil {
		return nil, err
	}
	if err := register(registry, &m.reconnects); err != nil {
		return nil, err
	}
	if err := register(registry, &m.pending); err != nil {
		return nil, err
	}
	if err := register(registry, &m.lag); err != nil {
		return nil, err
	}
	if err := register(registry, &up); err != nil {
		return nil, err
	}
	return m, nil
}

func register[C prometheus.Collector](registry prometheus.Registerer, c *C) error {
	err := registry.Register(*c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			*c = existing
			return nil
		}
	}
	return err
}

func (m *metrics) published(err error, took time.Duration) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.publishes.WithLabelValues(outcome).Observe(took.Seconds())
}

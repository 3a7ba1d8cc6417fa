package meter

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// Census shows how the documents are. They are counted when somebody asks: states change too often, and in too many places, to be
// counted as they do.
type Census struct {
	count   func() catalog.Census
	missing func() int
	clock   func() time.Time

	documents, waited, restoring *prometheus.Desc
}

// CensusOf registers a census. missing is how many documents the index lacks.
func (m *Meter) CensusOf(count func() catalog.Census, missing func() int, clock func() time.Time) error {
	t := m.telemetry
	c := &Census{
		count: count, missing: missing, clock: clock,
		documents: prometheus.NewDesc(t.Metric("documents"), "Documents of all workspaces, by state.", []string{"state"}, nil),
		waited:    prometheus.NewDesc(t.Metric("ingest_oldest_seconds"), "How long the version that has waited longest to be taken in has waited; 0 when none waits.", nil, nil),
		restoring: prometheus.NewDesc(t.Metric("index_missing_documents"), "Documents that are live but not in the index yet; they are being taken from their originals.", nil, nil),
	}
	if err := t.Registry.Register(c); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (c *Census) Describe(out chan<- *prometheus.Desc) {
	out <- c.documents
	out <- c.waited
	out <- c.restoring
}

// Collect implements [prometheus.Collector].
func (c *Census) Collect(out chan<- prometheus.Metric) {
	census := c.count()
	for _, state := range []document.State{document.Queued, document.Processing, document.Ready, document.Failed} {
		out <- prometheus.MustNewConstMetric(c.documents, prometheus.GaugeValue, float64(census.States[state]), string(state))
	}
	waited := 0.0
	if !census.Oldest.IsZero() {
		waited = max(0, c.clock().Sub(census.Oldest).Seconds())
	}
	out <- prometheus.MustNewConstMetric(c.waited, prometheus.GaugeValue, waited)
	out <- prometheus.MustNewConstMetric(c.restoring, prometheus.GaugeValue, float64(c.missing()))
}

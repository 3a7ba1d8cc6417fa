// Package meter measures and logs what ingestion and search do.
package meter

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/embed"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
)

// Meter observes the service. It is safe for concurrent use.
type Meter struct {
	telemetry  *telemetry.Telemetry
	jobs       *prometheus.HistogramVec
	stages     *prometheus.HistogramVec
	failures   *prometheus.CounterVec
	searches   *prometheus.HistogramVec
	candidates prometheus.Histogram
	degraded   *prometheus.CounterVec
	weaviate   *prometheus.HistogramVec
	vectors    *prometheus.CounterVec
	embedding  prometheus.Histogram
}

var (
	_ ingest.Observer = (*Meter)(nil)
	_ search.Observer = (*Meter)(nil)
	_ embed.Observer  = (*Meter)(nil)
)

// New registers the metrics.
func New(t *telemetry.Telemetry) (*Meter, error) {
	m := &Meter{
		telemetry: t,
		jobs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("ingest_duration_seconds"), Help: "Time a job took, by outcome: ready, failed, retry or superseded.",
			Buckets: []float64{.005, .02, .05, .1, .5, 1, 5, 30, 120, 600},
		}, []string{"outcome"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("ingest_stage_duration_seconds"), Help: "Time a job was in a stage: stored (until it begins), parse, chunk, embed or index.",
			Buckets: []float64{.001, .005, .02, .05, .1, .5, 1, 5, 30, 120, 600},
		}, []string{"stage"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("ingest_failures_total"), Help: "Documents that could not be taken in, by reason.",
		}, []string{"reason"}),
		searches: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("search_duration_seconds"), Help: "Time a search took, by outcome: found, empty (nothing matches), degraded (something was left out) or failed.",
			Buckets: telemetry.Seconds(),
		}, []string{"outcome"}),
		candidates: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: t.Metric("search_candidates_count"), Help: "Candidates a search scored.",
			Buckets: []float64{0, 1, 5, 10, 25, 50, 100, 250, 1000},
		}),
		weaviate: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: t.Metric("weaviate_request_duration_seconds"), Help: "Time a request to Weaviate took, by operation and outcome: ok or failed. A request that is made again counts again.",
			Buckets: telemetry.Seconds(),
		}, []string{"operation", "outcome"}),
		degraded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("search_degraded_total"), Help: "Searches that left something out, by reason.",
		}, []string{"reason"}),
		vectors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("vectors_total"), Help: "Vectors of passages that documents got, by origin: made by the embedding model, or cached.",
		}, []string{"origin"}),
		embedding: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: t.Metric("embed_duration_seconds"), Help: "Time until a group of documents had its vectors, for each of them.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 30, 120, 600},
		}),
	}
	for _, origin := range []string{made, cached} {
		m.vectors.WithLabelValues(origin)
	}
	// A series that begins with its first event hides that event from rates.
	for _, outcome := range []string{found, empty, degraded, failed} {
		m.searches.WithLabelValues(outcome)
	}
	for _, outcome := range ingest.Outcomes() {
		m.jobs.WithLabelValues(outcome)
	}
	m.degraded.WithLabelValues("timeout")
	for _, c := range []prometheus.Collector{m.jobs, m.stages, m.failures, m.searches, m.candidates, m.degraded, m.weaviate, m.vectors, m.embedding} {
		if err := t.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// Ended counts and logs a job.
func (m *Meter) Ended(ctx context.Context, j ingest.Job, outcome string, took time.Duration, err error) {
	m.jobs.WithLabelValues(outcome).Observe(took.Seconds())
	if outcome == ingest.OutcomeFailed {
		m.failures.WithLabelValues(fault.ReasonName(fault.ReasonOf(err))).Inc()
	}
	log := m.telemetry.Logger(ctx)
	level := zerolog.DebugLevel
	if err != nil {
		level = zerolog.WarnLevel
	}
	event := log.WithLevel(level).Str("document", j.DocumentID).Uint64("upload", j.Sequence).Str("outcome", outcome).Dur("took", took)
	if err != nil {
		event = event.Str("reason", fault.ReasonName(fault.ReasonOf(err))).Err(err)
	}
	event.Msg("document taken in")
}

// Warn logs work that failed and will be done later.
func (m *Meter) Warn(ctx context.Context, what string, err error) {
	log := m.telemetry.Logger(ctx)
	log.Warn().Err(err).Msg(what)
}

// Asked measures a request to Weaviate.
func (m *Meter) Asked(operation string, took time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = failed
	}
	m.weaviate.WithLabelValues(operation, outcome).Observe(took.Seconds())
}

// Stage measures a stage of a job.
func (m *Meter) Stage(stage document.Stage, took time.Duration) {
	m.stages.WithLabelValues(string(stage)).Observe(took.Seconds())
}

// Where a vector came from.
const (
	made   = "made"
	cached = "cached"
)

// Embedded counts a document's vectors.
func (m *Meter) Embedded(fresh, known int, took time.Duration) {
	m.vectors.WithLabelValues(made).Add(float64(fresh))
	m.vectors.WithLabelValues(cached).Add(float64(known))
	m.embedding.Observe(took.Seconds())
}

// VectorsOf shows how many documents have no vectors yet.
func (m *Meter) VectorsOf(status func() (behind int, problem string)) error {
	t := m.telemetry
	if err := t.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: t.Metric("vectors_missing_documents"), Help: "Documents that are live and have no vectors of the embedding model in use yet.",
	}, func() float64 {
		behind, _ := status()
		return float64(behind)
	})); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// How a search ended.
const (
	found    = "found"
	empty    = "empty"
	degraded = "degraded"
	failed   = "failed"
)

// Searched measures a search. One whose caller went away, or that names a strategy that is not there, is none.
func (m *Meter) Searched(_ context.Context, r search.Result, took time.Duration, err error) {
	outcome := found
	switch kind := fault.KindOf(err); {
	case err != nil && (kind == fault.Canceled || kind == fault.NotFound || kind == fault.Unimplemented):
		return
	case err != nil:
		outcome = failed
	case len(r.Degradations) > 0:
		outcome = degraded
	case len(r.Passages) == 0:
		outcome = empty
	}
	m.searches.WithLabelValues(outcome).Observe(took.Seconds())
	if err != nil {
		return
	}
	m.candidates.Observe(float64(r.Candidates))
	for _, d := range r.Degradations {
		m.degraded.WithLabelValues(d.Reason).Inc()
	}
}

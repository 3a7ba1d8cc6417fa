package turn

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	turns        *prometheus.CounterVec
	degradations *prometheus.CounterVec
	stages       *prometheus.HistogramVec
	firstToken   prometheus.Histogram
	duration     prometheus.Histogram
	citations    *prometheus.CounterVec
	abstentions  *prometheus.CounterVec
	running      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	seconds := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	m := &metrics{
		turns:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_turns_total", Help: "Turns by how they ended."}, []string{"outcome"}),
		degradations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_degradations_total", Help: "Stages that did not do their whole work, by stage and reason."}, []string{"stage", "reason"}),
		stages:       prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ragmesh_dialog_stage_duration_seconds", Help: "How long a stage of a turn took.", Buckets: seconds}, []string{"stage", "status"}),
		firstToken:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ragmesh_dialog_time_to_first_token_seconds", Help: "From the question's arrival to the first text of the answer.", Buckets: seconds}),
		duration:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ragmesh_dialog_turn_duration_seconds", Help: "How long a turn took, saving included.", Buckets: seconds}),
		citations:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_citations_total", Help: "Citations by what their verification found."}, []string{"support"}),
		abstentions:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_abstentions_total", Help: "Turns without an answer in the sources, by who decided: evidence or model."}, []string{"by"}),
		running:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "ragmesh_dialog_turns_running", Help: "Turns under way."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.turns, m.degradations, m.stages, m.firstToken, m.duration, m.citations, m.abstentions, m.running} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register turn metrics: %w", err)
		}
	}
	return m, nil
}

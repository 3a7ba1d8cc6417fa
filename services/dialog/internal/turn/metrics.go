package turn

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

type metrics struct {
	turns        *prometheus.CounterVec
	degradations *prometheus.CounterVec
	stages       *prometheus.HistogramVec
	repeats      *prometheus.CounterVec
	toModel      prometheus.Histogram
	firstToken   prometheus.Histogram
	duration     prometheus.Histogram
	citations    *prometheus.CounterVec
	abstentions  *prometheus.CounterVec
	running      prometheus.Gauge
	waiting      prometheus.Gauge
	refused      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	seconds := telemetry.Seconds()
	m := &metrics{
		turns:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_turns_total", Help: "Turns by how they ended, and whether a stage did less than its whole work."}, []string{"outcome", "degraded"}),
		degradations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_degradations_total", Help: "Stages that did not do their whole work, by stage and reason."}, []string{"stage", "reason"}),
		stages:       prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ragmesh_dialog_stage_duration_seconds", Help: "How long a stage of a turn took.", Buckets: seconds}, []string{"stage", "status"}),
		repeats:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_generation_repeats_total", Help: "Answers that the llm-gateway was asked for again because it went away, by whether text had been sent, which was then taken back."}, []string{"sent"}),
		toModel:      prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ragmesh_dialog_time_to_model_seconds", Help: "From the question's arrival until the model is asked: what is added to the model's own time.", Buckets: seconds}),
		firstToken:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ragmesh_dialog_time_to_first_token_seconds", Help: "From the question's arrival to the first text of the answer.", Buckets: seconds}),
		duration:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ragmesh_dialog_turn_duration_seconds", Help: "How long a turn took, saving included.", Buckets: seconds}),
		citations:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_citations_total", Help: "Citations by what their verification found."}, []string{"support"}),
		abstentions:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_abstentions_total", Help: "Turns without an answer in the sources, by who decided: evidence or model."}, []string{"by"}),
		running:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "ragmesh_dialog_turns_running", Help: "Turns under way."}),
		waiting:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "ragmesh_dialog_turns_waiting", Help: "Questions that wait for a place among the turns under way."}),
		refused:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ragmesh_dialog_turns_refused_total", Help: "Questions that were refused before a turn came about, by reason: overloaded, or rate_limited when the caller's or the workspace's own share was used up."}, []string{"reason"}),
	}
	// A series that begins with its first event hides that event from rates; what alerts look at begins at 0.
	for o := Answered; o <= Failed; o++ {
		m.turns.WithLabelValues(o.String(), yes(false))
		m.turns.WithLabelValues(o.String(), yes(true))
	}
	for _, c := range []evidence.Support{evidence.Supported, evidence.Unsupported, evidence.Unverified} {
		m.citations.WithLabelValues(c.String())
	}
	for _, by := range []string{byEvidence, byModel} {
		m.abstentions.WithLabelValues(by)
	}
	for _, why := range []fault.Reason{fault.Overloaded, fault.RateLimited} {
		m.refused.WithLabelValues(refusal(why))
	}
	m.degradations.WithLabelValues("save", "not_stored")
	for _, sent := range []bool{false, true} {
		m.repeats.WithLabelValues(yes(sent))
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.turns, m.degradations, m.stages, m.repeats, m.toModel, m.firstToken, m.duration, m.citations, m.abstentions, m.running, m.waiting, m.refused} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register turn metrics: %w", err)
		}
	}
	return m, nil
}

// line tells what happens among those who wait.
func (m *metrics) line() line.Observer {
	return line.Observer{
		Waiting: func(n int) { m.waiting.Set(float64(n)) },
		Refused: func(why fault.Reason) { m.refused.WithLabelValues(refusal(why)).Inc() },
	}
}

func refusal(why fault.Reason) string { return strings.ToLower(fault.ReasonName(why)) }

// Who decides that the sources hold no answer.
const (
	byEvidence = "evidence"
	byModel    = "model"
)

func yes(degraded bool) string {
	if degraded {
		return "yes"
	}
	return "no"
}

// loaded counts the reading of the session and the claim of the request id, which come before the turn has a record.
func (m *metrics) loaded(r *run, err error) {
	if r.q.Session == "" && r.q.RequestID == "" {
		return // nothing was read
	}
	status := StatusOK
	switch {
	case err != nil:
		status = StatusFailed
	case len(r.turn.Degradations) > 0:
		status = StatusDegraded
	}
	m.stages.WithLabelValues("session", status).Observe(r.since().Seconds())
}

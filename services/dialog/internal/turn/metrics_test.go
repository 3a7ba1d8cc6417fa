package turn_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// What alerts and dashboards are made of: a turn that went well and one without its documents.
func TestTurnsAreMeasured(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	away := false
	p := &peers{search: func(context.Context) (turn.Found, error) {
		if away {
			return turn.Found{}, fault.New(fault.Unavailable, fault.ServiceUnavailable, "the retriever is away")
		}
		return turn.Found{Passages: []turn.Passage{{ChunkID: "c", DocumentID: "d", Title: "T", Text: fact, End: uint64(len(fact))}}}, nil
	}}
	n := 0
	a, err := turn.New(patient(), turn.Deps{
		Retriever: p, Tools: p, Model: p, Store: p, Planner: p, Now: time.Now, Revision: "rev", Registry: registry,
		NewID:  func() string { n++; return "id-" + strconv.Itoa(n) },
		Tracer: noop.NewTracerProvider().Tracer(""), Log: func(context.Context) zerolog.Logger { return zerolog.Nop() },
	})
	if err != nil {
		t.Fatal(err)
	}
	question := turn.Question{Workspace: "w", Text: "What is the daily transfer limit?", RequestID: "r"}
	ask(t, a, question)
	away = true
	ask(t, a, question)

	want := `
# HELP ragmesh_dialog_turns_total Turns by how they ended, and whether a stage did less than its whole work.
# TYPE ragmesh_dialog_turns_total counter
ragmesh_dialog_turns_total{degraded="no",outcome="abstained"} 0
ragmesh_dialog_turns_total{degraded="no",outcome="answered"} 1
ragmesh_dialog_turns_total{degraded="no",outcome="failed"} 0
ragmesh_dialog_turns_total{degraded="no",outcome="interrupted"} 0
ragmesh_dialog_turns_total{degraded="yes",outcome="abstained"} 1
ragmesh_dialog_turns_total{degraded="yes",outcome="answered"} 0
ragmesh_dialog_turns_total{degraded="yes",outcome="failed"} 0
ragmesh_dialog_turns_total{degraded="yes",outcome="interrupted"} 0
# HELP ragmesh_dialog_degradations_total Stages that did not do their whole work, by stage and reason.
# TYPE ragmesh_dialog_degradations_total counter
ragmesh_dialog_degradations_total{reason="not_stored",stage="save"} 0
ragmesh_dialog_degradations_total{reason="unavailable",stage="retriever"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "ragmesh_dialog_turns_total", "ragmesh_dialog_degradations_total"); err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "ragmesh_dialog_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if h := m.GetHistogram(); h != nil {
				counts[name] = h.GetSampleCount()
			}
		}
	}
	if diff := cmp.Diff(map[string]uint64{
		"stage_duration_seconds session ok": 2, "stage_duration_seconds rewrite ok": 2, "stage_duration_seconds plan ok": 2,
		"stage_duration_seconds retrieve ok": 1, "stage_duration_seconds retrieve failed": 1, "stage_duration_seconds evidence ok": 2,
		"stage_duration_seconds generate ok": 1, "stage_duration_seconds verify ok": 1, "stage_duration_seconds save ok": 2,
		"time_to_model_seconds": 1, "time_to_first_token_seconds": 2, "turn_duration_seconds": 2,
	}, counts); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
}

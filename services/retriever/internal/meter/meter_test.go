package meter_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/meter"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
)

func TestWhatIsMeasured(t *testing.T) {
	t.Parallel()
	tel := telemetry.Nop("retriever")
	m, err := meter.New(tel)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	census := catalog.Census{States: map[document.State]int{document.Queued: 2, document.Ready: 7}, Oldest: now.Add(-90 * time.Second)}
	if err := m.CensusOf(func() catalog.Census { return census }, func() int { return 3 }, func() time.Time { return now }); err != nil {
		t.Fatal(err)
	}

	ctx := t.Context()
	m.Searched(ctx, search.Result{Passages: make([]search.Passage, 1)}, time.Millisecond, nil)
	m.Searched(ctx, search.Result{}, time.Millisecond, nil)
	m.Searched(ctx, search.Result{Degradations: []search.Degradation{{Reason: "timeout"}}}, time.Millisecond, nil)
	m.Searched(ctx, search.Result{}, time.Millisecond, errors.New("the index is broken"))
	m.Searched(ctx, search.Result{}, time.Millisecond, context.Canceled)
	m.Searched(ctx, search.Result{}, time.Millisecond, fault.New(fault.NotFound, fault.StrategyNotFound, "no such strategy"))
	m.Ended(ctx, ingest.Job{}, ingest.OutcomeFailed, time.Second, fault.New(fault.Invalid, fault.UploadIncomplete, "not whole"))
	m.Ended(ctx, ingest.Job{}, "ready", time.Second, nil)
	m.Stage(document.Parse, time.Second)

	gathered, err := tel.Registry.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range gathered {
		if f.GetName() != "ragmesh_retriever_search_duration_seconds" {
			continue
		}
		for _, s := range f.GetMetric() {
			if n := s.GetHistogram().GetSampleCount(); n != 1 {
				t.Errorf("%d searches are %s, want 1", n, s.GetLabel()[0].GetValue())
			}
		}
	}
	if err := testutil.GatherAndCompare(tel.Registry.(prometheus.Gatherer), strings.NewReader(`
# HELP ragmesh_retriever_documents Documents of all workspaces, by state.
# TYPE ragmesh_retriever_documents gauge
ragmesh_retriever_documents{state="failed"} 0
ragmesh_retriever_documents{state="processing"} 0
ragmesh_retriever_documents{state="queued"} 2
ragmesh_retriever_documents{state="ready"} 7
# HELP ragmesh_retriever_index_missing_documents Documents that are live but not in the index yet; they are being taken from their originals.
# TYPE ragmesh_retriever_index_missing_documents gauge
ragmesh_retriever_index_missing_documents 3
# HELP ragmesh_retriever_ingest_failures_total Documents that could not be taken in, by reason.
# TYPE ragmesh_retriever_ingest_failures_total counter
ragmesh_retriever_ingest_failures_total{reason="UPLOAD_INCOMPLETE"} 1
# HELP ragmesh_retriever_ingest_oldest_seconds How long the version that has waited longest to be taken in has waited; 0 when none waits.
# TYPE ragmesh_retriever_ingest_oldest_seconds gauge
ragmesh_retriever_ingest_oldest_seconds 90
# HELP ragmesh_retriever_search_degraded_total Searches that left something out, by reason.
# TYPE ragmesh_retriever_search_degraded_total counter
ragmesh_retriever_search_degraded_total{reason="timeout"} 1
`), "ragmesh_retriever_documents", "ragmesh_retriever_index_missing_documents", "ragmesh_retriever_ingest_failures_total",
		"ragmesh_retriever_ingest_oldest_seconds", "ragmesh_retriever_search_degraded_total"); err != nil {
		t.Error(err)
	}
}

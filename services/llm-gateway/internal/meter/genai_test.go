package meter_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/meter"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// Answers, vectors and scores are told apart by their operation; those that fail have an error's type, and no tokens they are not known
// to have used.
func TestOperationsByTheConventions(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "llm-gateway", Log: zerolog.Nop(), Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	m, err := meter.New(tel)
	if err != nil {
		t.Fatal(err)
	}
	tried := func(model, outcome string, u provider.Usage) route.Tried {
		return route.Tried{Rung: route.Rung{Route: "r", Provider: "p", Model: model}, Outcome: outcome, Usage: u, Took: time.Second}
	}
	m.Answered(tried("large", "stop", provider.Usage{Prompt: 10, Completion: 3}), 250*time.Millisecond)
	m.Called("embeddings", tried("e", "stop", provider.Usage{Prompt: 7}))
	m.Called("embeddings", tried("e", "PROVIDER_UNAVAILABLE", provider.Usage{}))
	m.Called("rerank", tried("x", "stop", provider.Usage{Prompt: 30}))

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), "gen_ai_")
		if !ok {
			continue
		}
		for _, s := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range s.GetLabel() {
				labels[strings.TrimPrefix(l.GetName(), "gen_ai_")] = l.GetValue()
			}
			got = append(got, strings.TrimSpace(fmt.Sprint(name, ": ", labels["operation_name"], " ", labels["request_model"], " ", labels["error_type"]+labels["token_type"], " ", s.GetHistogram().GetSampleSum())))
		}
	}
	slices.Sort(got)
	want := []string{
		"client_operation_duration_seconds: chat large  1",
		"client_operation_duration_seconds: embeddings e  1",
		"client_operation_duration_seconds: embeddings e PROVIDER_UNAVAILABLE 1",
		"client_operation_duration_seconds: rerank x  1",
		"client_token_usage: chat large input 10",
		"client_token_usage: chat large output 3",
		"client_token_usage: embeddings e input 7",
		"client_token_usage: rerank x input 30",
		"server_time_per_output_token_seconds: chat large  0.375",
		"server_time_to_first_token_seconds: chat large  0.25",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

package meter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/meter"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

func TestTokensCostAndTries(t *testing.T) {
	t.Parallel()
	tel := telemetry.Nop("llm-gateway")
	m, err := meter.New(tel)
	if err != nil {
		t.Fatal(err)
	}
	rung := route.Rung{Route: "default", Provider: "openai", Model: "small", Number: 1}
	m.Tried(rung, "stop", time.Second)
	m.FirstText(rung, time.Second)
	m.Tokens(rung, provider.Usage{Prompt: 10, Completion: 3, CostMicros: 250_000})
	if err := testutil.GatherAndCompare(tel.Registry.(prometheus.Gatherer), strings.NewReader(`
# HELP ragmesh_llm_gateway_cost_total What answers cost, in the currency of the configured prices, by route and target.
# TYPE ragmesh_llm_gateway_cost_total counter
ragmesh_llm_gateway_cost_total{model="small",provider="openai",route="default"} 0.25
# HELP ragmesh_llm_gateway_tokens_total Tokens of prompts and completions, by route, target and kind.
# TYPE ragmesh_llm_gateway_tokens_total counter
ragmesh_llm_gateway_tokens_total{kind="completion",model="small",provider="openai",route="default"} 3
ragmesh_llm_gateway_tokens_total{kind="prompt",model="small",provider="openai",route="default"} 10
`), "ragmesh_llm_gateway_cost_total", "ragmesh_llm_gateway_tokens_total"); err != nil {
		t.Error(err)
	}
	families, err := tel.Registry.(prometheus.Gatherer).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "ragmesh_llm_gateway_try_duration_seconds" {
			continue
		}
		labels := map[string]string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["rung"] != "1" || labels["model"] != "small" || labels["outcome"] != "stop" {
			t.Errorf("labels of a try: %v", labels)
		}
	}
}

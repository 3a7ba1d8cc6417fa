package process_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

func TestProbesShowAsMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	state := health.NewState(health.StateOptions{}, func(context.Context) []health.Component {
		return []health.Component{
			{Name: "dialog/nats", Ready: true}, {Name: "llm-gateway/config"}, {Name: "keys", Ready: true},
			{Name: "dialog/nats"}, // twice: the first counts
		}
	})
	if err := process.RegisterVitals(registry, state, health.NewLiveness(nil), "dialog", "llm-gateway"); err != nil {
		t.Fatal(err)
	}
	state.Started()
	want := `
# HELP ragmesh_dialog_health_component_ready 1 while a row of /health/ready is well, by component.
# TYPE ragmesh_dialog_health_component_ready gauge
ragmesh_dialog_health_component_ready{component="keys",ragmesh_service="dialog"} 1
ragmesh_dialog_health_component_ready{component="nats",ragmesh_service="dialog"} 1
# HELP ragmesh_dialog_health_live 1 while /health/live answers 200.
# TYPE ragmesh_dialog_health_live gauge
ragmesh_dialog_health_live{ragmesh_service="dialog"} 1
# HELP ragmesh_dialog_health_ready 1 while /health/ready answers 200.
# TYPE ragmesh_dialog_health_ready gauge
ragmesh_dialog_health_ready{ragmesh_service="dialog"} 1
# HELP ragmesh_llm_gateway_health_component_ready 1 while a row of /health/ready is well, by component.
# TYPE ragmesh_llm_gateway_health_component_ready gauge
ragmesh_llm_gateway_health_component_ready{component="config",ragmesh_service="llm-gateway"} 0
# HELP ragmesh_llm_gateway_health_live 1 while /health/live answers 200.
# TYPE ragmesh_llm_gateway_health_live gauge
ragmesh_llm_gateway_health_live{ragmesh_service="llm-gateway"} 1
# HELP ragmesh_llm_gateway_health_ready 1 while /health/ready answers 200.
# TYPE ragmesh_llm_gateway_health_ready gauge
ragmesh_llm_gateway_health_ready{ragmesh_service="llm-gateway"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	state.Drain()
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP ragmesh_dialog_health_ready 1 while /health/ready answers 200.
# TYPE ragmesh_dialog_health_ready gauge
ragmesh_dialog_health_ready{ragmesh_service="dialog"} 0
`), "ragmesh_dialog_health_ready"); err != nil {
		t.Error(err)
	}
}

// Several that scrape at once, and one that scrapes again at once, see the same: it is ready.
func TestScrapesAtOnce(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	state := health.NewState(health.StateOptions{}, func(context.Context) []health.Component {
		runtime.Gosched()
		return []health.Component{{Name: "keys", Ready: true}}
	})
	if err := process.RegisterVitals(registry, state, nil, "eval"); err != nil {
		t.Fatal(err)
	}
	state.Started()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP ragmesh_eval_health_ready 1 while /health/ready answers 200.
# TYPE ragmesh_eval_health_ready gauge
ragmesh_eval_health_ready{ragmesh_service="eval"} 1
`), "ragmesh_eval_health_ready"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// A service that hangs shows as not ready, and its other metrics can be scraped all the same.
func TestMetricsOfAServiceThatHangs(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	release := make(chan struct{})
	defer close(release)
	state := health.NewState(health.StateOptions{}, func(context.Context) []health.Component { <-release; return nil })
	state.Started()
	if err := process.RegisterVitals(registry, state, nil, "eval"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second does not wait for the first's answer
		if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP ragmesh_eval_health_live 1 while /health/live answers 200.
# TYPE ragmesh_eval_health_live gauge
ragmesh_eval_health_live{ragmesh_service="eval"} 1
# HELP ragmesh_eval_health_ready 1 while /health/ready answers 200.
# TYPE ragmesh_eval_health_ready gauge
ragmesh_eval_health_ready{ragmesh_service="eval"} 0
`)); err != nil {
			t.Error(err)
		}
	}
}

func TestRevisionInUseShows(t *testing.T) {
	t.Parallel()
	tel := telemetry.Nop("tools")
	revision := "a1"
	if err := process.RegisterRevision(tel, func() string { return revision }); err != nil {
		t.Fatal(err)
	}
	revision = "b2"
	if err := testutil.GatherAndCompare(tel.Registry.(prometheus.Gatherer), strings.NewReader(`
# HELP ragmesh_tools_config_info 1, with the revision of the configuration that is in use.
# TYPE ragmesh_tools_config_info gauge
ragmesh_tools_config_info{revision="b2"} 1
`)); err != nil {
		t.Error(err)
	}
}

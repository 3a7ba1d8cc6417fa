package bus_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

// gauge returns a consumer's value of a metric; -1 when there is none yet.
func gauge(t *testing.T, registry prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

// A backlog shows, with its age, while a handler hangs; a consumer that has caught up shows none.
func TestBacklogShows(t *testing.T) {
	t.Parallel()
	s := bustest.NewServer(t, "127.0.0.1:0")
	registry := prometheus.NewRegistry()
	b := connect(t, bus.Options{URL: s.URL(), Name: "eval", Registry: registry})
	const pending, lag = "ragmesh_eval_bus_consumer_pending_messages", "ragmesh_eval_bus_consumer_lag_seconds"
	eventually(t, "NATS holds what is needed", func() bool { ok, _ := b.Healthy(); return ok })
	publish(t, b, "a")
	publish(t, b, "b")

	c := bus.Consumer{Stream: bus.Jobs, Durable: "worker"}
	hang, release := make(chan struct{}, 2), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	done := make(chan struct{}, 2)
	go func() {
		ended <- b.Consume(ctx, c, func(context.Context, bus.Message) error {
			hang <- struct{}{}
			<-release
			done <- struct{}{}
			return nil
		})
	}()
	<-hang
	eventually(t, "two messages and their age", func() bool { return gauge(t, registry, pending) == 2 && gauge(t, registry, lag) > 0 })
	close(release)
	<-done
	<-done
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	go func() { ended <- b.Consume(ctx, c, func(context.Context, bus.Message) error { return nil }) }()
	eventually(t, "no backlog", func() bool { return gauge(t, registry, pending) == 0 && gauge(t, registry, lag) == 0 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

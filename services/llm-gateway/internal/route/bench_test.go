package route_test

import (
	"context"
	"testing"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// BenchmarkDo is what a route costs by itself: lines, breaker, clocks and bookkeeping of a request that its first target answers.
func BenchmarkDo(b *testing.B) {
	r := routed(b, defaults(), named("a", "b")...)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := r.Do(b.Context(), "", route.CallOptions{Workspace: "w", Key: "k"}, func(_ context.Context, _ route.Target, try *route.Try) (provider.Result, error) {
				try.Begin(true)
				for range 64 {
					try.Pause()
					try.Alive()
				}
				return provider.Result{Finish: provider.Stop}, nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

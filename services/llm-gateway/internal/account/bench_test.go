//go:build unix

package account_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// What a request costs the processor, with limits and budgets of workspace and key, the journal included.
func BenchmarkRequest(b *testing.B) {
	f := book(b, account.Config{
		Workspace: account.Allowance{Requests: 1 << 30, Tokens: 1 << 40, Day: 1 << 60, Month: 1 << 60},
		Key:       account.Allowance{Requests: 1 << 30, Tokens: 1 << 40, Day: 1 << 60, Month: 1 << 60},
	})
	used := provider.Usage{Prompt: 500, Cached: 100, Completion: 64}
	b.ReportAllocs()
	before := processor(b)
	for b.Loop() {
		e, err := f.Open(b.Context(), alice, "m", estimate)
		if err != nil {
			b.Fatal(err)
		}
		e.Asking().Tried(large, "stop", used, time.Second)
		e.Close()
	}
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
}

// processor is the time that this process has used the processors for.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

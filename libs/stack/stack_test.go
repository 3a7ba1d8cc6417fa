package stack_test

import (
	"testing"

	"github.com/ragmesh/ragmesh/libs/stack"
)

// descend is a chain of calls as deep as that of a call between services.
//
//go:noinline
func descend(n int) int {
	var frame [256]byte
	if n == 0 {
		return int(frame[n])
	}
	return descend(n-1) + int(frame[n%len(frame)])
}

func BenchmarkGrow(b *testing.B) {
	for name, first := range map[string]func(){"in steps": func() {}, "at once": stack.Grow} {
		b.Run(name, func(b *testing.B) {
			done := make(chan int)
			for b.Loop() {
				go func() {
					first()
					done <- descend(50)
				}()
				<-done
			}
		})
	}
}

func TestGrowLeavesNothingBehind(t *testing.T) { //nolint:paralleltest // allocations are counted
	if n := testing.AllocsPerRun(100, stack.Grow); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

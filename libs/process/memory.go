package process

import (
	"cmp"
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/ragmesh/ragmesh/libs/lifecycle"
)

const (
	// growth lets the heap grow to three times what is live before garbage is collected, rather than twice: that halves the
	// collector's work. GOGC says otherwise, and GOMEMLIMIT, which the charts set, bounds it.
	growth = 200
	// memoryLook is how often memory is looked at.
	memoryLook = time.Second
	// calm is so little memory asked for between two looks that there is next to nothing to do.
	calm = 8 << 20
	// worthwhile is how much must have been asked for since memory was last given back: giving it back is a collection.
	worthwhile = 64 << 20
)

// Memory spends memory while there is work and gives it back to the system when there is none. It is for the process, which has
// one collector: one is enough. The heap may grow by so many per cent of what is live before garbage is collected; 0 for 200.
func Memory(percent int) lifecycle.Component {
	before := -1
	return lifecycle.Component{
		Name: "memory",
		Start: func(context.Context) error {
			if _, set := os.LookupEnv("GOGC"); !set { // which the runtime reads itself
				before = debug.SetGCPercent(cmp.Or(percent, growth))
			}
			return nil
		},
		Run: func(ctx context.Context) error {
			giveBack(ctx, allocated, func() {
				debug.FreeOSMemory()
				_ = leaveCode() // then it stays, as it always did
			})
			return nil
		},
		Stop: func(context.Context) error {
			if before >= 0 {
				debug.SetGCPercent(before)
			}
			return nil
		},
	}
}

// giveBack calls release when it is calm after the start, and whenever it is after much was asked for, until ctx ends.
func giveBack(ctx context.Context, allocated func() uint64, release func()) {
	ticker := time.NewTicker(memoryLook)
	defer ticker.Stop()
	last, released := allocated(), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := allocated()
		if now-last < calm && (released == 0 || now-released > worthwhile) {
			release()
			released = now
		}
		last = now
	}
}

// allocated is how many bytes the process has ever asked the heap for.
func allocated() uint64 {
	sample := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample[:])
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0 // a runtime that doesn't say: then nothing is given back beyond what it gives back itself
	}
	return sample[0].Value.Uint64()
}

package turnbench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// outcome is what became of one piece of work.
type outcome struct {
	took       time.Duration
	firstToken time.Duration
	err        error
	turn       *turnFacts // of a turn only
}

// bound ends a phase: after d, or n pieces of work when n > 0.
type bound struct {
	d time.Duration
	n int
}

// load has workers repeat work until the bound. What has begun by then is finished and counted, so that slow work is not left
// out. next numbers the pieces of work of a whole run.
func load(ctx context.Context, workers int, b bound, next *atomic.Uint64, work func(context.Context, uint64) outcome) (all []outcome, wall time.Duration) {
	begin := time.Now()
	var mu sync.Mutex
	var group sync.WaitGroup
	var begun atomic.Int64
	for range workers {
		group.Go(func() {
			var own []outcome
			for ctx.Err() == nil && time.Since(begin) < b.d && (b.n == 0 || begun.Add(1) <= int64(b.n)) {
				start := time.Now()
				o := work(ctx, next.Add(1))
				o.took = time.Since(start)
				own = append(own, o)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	group.Wait()
	return all, time.Since(begin)
}

package process

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/health"
)

// A service whose lock is held for ever shows on /health/live within a minute, and only as long as it is held.
func TestAHeldLockShows(t *testing.T) {
	var now atomic.Int64
	live := health.NewLiveness(func() time.Time { return time.Unix(now.Load(), 0) })
	var lock sync.Mutex
	var waiting atomic.Int64
	ready := func(context.Context) []health.Component {
		waiting.Add(1)
		defer waiting.Add(-1)
		lock.Lock()
		defer lock.Unlock()
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watch(ctx, live.NewPulse("service", maxSilence), time.Millisecond, ready)
	}()
	lock.Lock()
	for waiting.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	now.Add(59)
	if silent := live.Silent(); len(silent) != 1 || silent[0].Name != "service" {
		t.Errorf("after 59 s with the lock held the silent pulses are %v", silent)
	}
	lock.Unlock()
	for deadline := time.Now().Add(time.Minute); len(live.Silent()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the lock is free, and the service still counts as wedged")
		}
	}
	cancel()
	<-ended
	now.Add(3600)
	if silent := live.Silent(); len(silent) > 0 {
		t.Errorf("a service that ended counts as wedged: %v", silent)
	}
}

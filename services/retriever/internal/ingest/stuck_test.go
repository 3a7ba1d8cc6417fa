package ingest

import (
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// A worker that is stuck in its own work shows within a minute, a large document has more time, and one that waits for
// others doesn't count.
func TestStuckWorkersShow(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	s := &stages{running: map[*stage]struct{}{}, clock: func() time.Time { return now }, left: func(document.Stage, time.Duration) {}}
	small, large, waiting := s.begin(), s.begin(), s.begin()
	done := s.work(small, 1<<10)
	doneLarge := s.work(large, 20<<20)
	pass := func(d time.Duration, want bool) {
		t.Helper()
		now = now.Add(d)
		if got := s.stuck(); got != want {
			t.Errorf("after %s stuck is %t, want %t", now.Sub(time.Unix(0, 0)), got, want)
		}
	}
	pass(29*time.Second, false)
	pass(10*time.Second, true) // the small one
	done()
	pass(60*time.Second, false)
	pass(60*time.Second, true) // the large one
	doneLarge()
	pass(time.Hour, false) // the other one waits for NATS all the time
	s.end(waiting)
}

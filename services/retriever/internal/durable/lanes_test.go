package durable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
)

// consuming runs a queue until the test ends.
func consuming(t *testing.T, q *Queue, handle func(context.Context, ingest.Job, int) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- q.Consume(ctx, handle, func(context.Context, ingest.Job, error) {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited too long until %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func add(t *testing.T, q *Queue, workspace string, n int) {
	t.Helper()
	for i := range n {
		if err := q.Add(t.Context(), ingest.Job{Workspace: workspace, DocumentID: fmt.Sprintf("%s%03d", workspace, i), Sequence: 1}); err != nil {
			t.Fatal(err)
		}
	}
}

// With one place for all, the single job of a workspace comes right after the one that is at work, however many of another
// workspace were queued before.
func TestWorkspacesTakeTurns(t *testing.T) {
	t.Parallel()
	q := NewQueue(bustest.New(t), 1, 1)
	const many = 40
	add(t, q, "many", many)
	var mu sync.Mutex
	var order []string
	done := make(chan struct{})
	consuming(t, q, func(_ context.Context, j ingest.Job, _ int) error {
		mu.Lock()
		order = append(order, j.Workspace)
		first, last := len(order) == 1, len(order) == many+2
		mu.Unlock()
		if first {
			add(t, q, "one", 1)
			add(t, q, "two", 1)
			until(t, "all are in the line", func() bool { _, _, waiting := q.line.Load(); return waiting == 2 })
		}
		if last {
			close(done)
		}
		return nil
	})
	<-done
	few := order[1:3]
	slices.Sort(few)
	if diff := cmp.Diff([]string{"one", "two"}, few); diff != "" {
		t.Errorf("after the first come (-want +got):\n%s", diff)
	}
}

// A workspace whose jobs take long leaves places for others.
func TestWorkspaceLeavesPlaces(t *testing.T) {
	t.Parallel()
	q := NewQueue(bustest.New(t), 4, 3)
	add(t, q, "slow", 10)
	release, other := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	running, most := 0, 0
	consuming(t, q, func(ctx context.Context, j ingest.Job, _ int) error {
		if j.Workspace == "other" {
			close(other)
			return nil
		}
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		select {
		case <-release:
		case <-ctx.Done():
		}
		mu.Lock()
		running--
		mu.Unlock()
		return nil
	})
	until(t, "as many are at work as may", func() bool { mu.Lock(); defer mu.Unlock(); return running == 3 })
	add(t, q, "other", 1)
	<-other
	close(release)
	if most != 3 {
		t.Errorf("%d at once", most)
	}
}

// The one consumer that earlier releases had for all workspaces is replaced; what it left comes.
func TestConsumerOfEarlierReleases(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	q := NewQueue(b, 4, 4)
	add(t, q, "w", 2)
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan struct{}, 2)
	old := make(chan error, 1)
	go func() {
		old <- b.Consume(ctx, bus.Consumer{Stream: bus.Jobs, Durable: group, Subject: bus.JobSubject("ingest", "*"), MaxInFlight: 2, Drain: time.Millisecond}, func(ctx context.Context, _ bus.Message) error {
			held <- struct{}{}
			<-ctx.Done()
			return errors.New("not done")
		})
	}()
	<-held
	cancel()
	if err := <-old; err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 4)
	consuming(t, q, func(_ context.Context, j ingest.Job, _ int) error { seen <- j.DocumentID; return nil })
	got := []string{<-seen, <-seen}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"w000", "w001"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

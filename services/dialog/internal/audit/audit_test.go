package audit

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
)

func clock() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }

func newTrail(t *testing.T, p Publisher) *Trail {
	t.Helper()
	var n atomic.Int32
	trail, err := New(p, func() string { return string('a' + n.Add(1) - 1) }, clock, prometheus.NewRegistry(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return trail
}

func TestWhatWaitsIsWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	var got []Event
	var ids string
	trail := newTrail(t, func(ctx context.Context, id string, e Event) error {
		got, ids = append(got, e), ids+id
		return ctx.Err()
	})
	trail.Note(Event{Actor: "x", Action: "key.create", Target: "k", Allowed: true})
	trail.Note(Event{Workspace: "w", Actor: "y", Action: "Chat", Reason: "ROLE_TOO_LOW"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trail.Run(ctx); err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{Workspace: "-", Actor: "x", Action: "key.create", Target: "k", Allowed: true, At: clock()},
		{Workspace: "w", Actor: "y", Action: "Chat", Reason: "ROLE_TOO_LOW", At: clock()},
	}
	if diff := cmp.Diff(want, got); diff != "" || ids != "ab" {
		t.Errorf("ids %q (-want +got):\n%s", ids, diff)
	}
}

func TestAFullQueueHoldsUpNobody(t *testing.T) {
	t.Parallel()
	trail := newTrail(t, func(context.Context, string, Event) error { return errors.New("away") })
	for range queued + 3 {
		trail.Note(Event{Action: "Chat"})
	}
	if lost := testutil.ToFloat64(trail.lost); lost != 3 {
		t.Errorf("%v lost", lost)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trail.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if lost := testutil.ToFloat64(trail.lost); lost != queued+3 {
		t.Errorf("%v lost in all", lost)
	}
}

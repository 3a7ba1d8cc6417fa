package audit

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/tools/internal/registry"
)

type count struct{ n atomic.Int64 }

func (c *count) Unpublished() { c.n.Add(1) }

// busFunc is a function that is a bus.
type busFunc func(ctx context.Context, subject string, payload []byte) error

func (f busFunc) Publish(ctx context.Context, subject, _ string, payload []byte) error {
	return f(ctx, subject, payload)
}

func options() Options {
	return Options{Subject: func(w string) string { return "audit." + w }, Queue: 4, Timeout: time.Second}
}

func record(tool string) registry.Record {
	return registry.Record{Workspace: "w", Actor: "ann", Tool: tool, Allowed: true, Reason: "TOOL_FAILED", At: time.Unix(9, 0)}
}

func TestRunPublishesAndDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []*eventv1.Audited
		bus := busFunc(func(ctx context.Context, subject string, payload []byte) error {
			var m eventv1.Audited
			if err := proto.Unmarshal(payload, &m); err != nil || subject != "audit.w" || ctx.Err() != nil {
				t.Errorf("published on %q: %v, context %v", subject, err, ctx.Err())
			}
			got = append(got, &m)
			return nil
		})
		l := New(bus, options(), &count{}, zerolog.Nop())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		gone, cancel := context.WithCancel(t.Context())
		cancel() // a caller who has left is audited all the same
		l.Record(gone, record("a"))
		synctest.Wait()
		stop()
		synctest.Wait()
		if err := <-done; err != nil {
			t.Fatalf("Run: %v", err)
		}
		want := []*eventv1.Audited{{
			Workspace: "w", Actor: "ann", Action: "tool.call", Target: "a", Allowed: true, Reason: "TOOL_FAILED", At: timestamppb.New(time.Unix(9, 0)),
		}}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("published (-want +got):\n%s", diff)
		}
	})
}

func TestNothingIsLostSilently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		lost := &count{}
		bus := busFunc(func(ctx context.Context, _ string, _ []byte) error {
			<-ctx.Done() // the bus is away
			return errors.New("no server")
		})
		l := New(bus, options(), lost, zerolog.New(&log))
		for range 6 { // two more than the queue takes
			l.Record(t.Context(), record("a"))
		}
		if lost.n.Load() != 2 {
			t.Errorf("%d records counted as unpublished with a full queue, want 2", lost.n.Load())
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		began := time.Now()
		if err := l.Run(ctx); err != nil {
			t.Fatalf("Run: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the end took %s", took)
		}
		if n := strings.Count(log.String(), "audit record not published"); n != 6 || lost.n.Load() != 6 {
			t.Errorf("%d records in the log, %d counted, want all 6", n, lost.n.Load())
		}
	})
}

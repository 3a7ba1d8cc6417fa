package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/bus"
)

// jobs publishes n jobs.
func jobs(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	for i := range n {
		ok(t, b.Publish(bound(t), bus.JobSubject("ingest", "w"), fmt.Sprint("job", i), fmt.Append(nil, i)))
	}
}

// consume runs a consumer of jobs until stop is called, which waits for it and checks how many jobs are left.
func consume(t *testing.T, b *bus.Bus, c bus.Consumer, handle bus.Handler) (stop func(left uint64)) {
	t.Helper()
	c.Stream, c.Durable = bus.Jobs, "worker"
	if c.Backoff == nil {
		c.Backoff = []time.Duration{time.Millisecond}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Consume(ctx, c, handle) }()
	return func(left uint64) {
		t.Helper()
		cancel()
		ok(t, receive(t, ended))
		// Acknowledgements are not waited for; this is the next thing the server does on this connection.
		deadline := time.Now().Add(wait)
		for {
			_, err := b.Last(bound(t), bus.Jobs, bus.JobSubject("ingest", "w"))
			if empty := errors.Is(err, bus.ErrNotFound); empty == (left == 0) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("jobs left: want %d", left)
			}
		}
		n, err := b.Purge(bound(t), bus.Jobs, bus.JobSubject("ingest", "*"))
		ok(t, err)
		same(t, "jobs left", n, left)
	}
}

func consumeAcks(t *testing.T, b *bus.Bus) {
	jobs(t, b, 20)
	got := make(chan bus.Message, 20)
	stop := consume(t, b, bus.Consumer{MaxInFlight: 4}, func(_ context.Context, m bus.Message) error {
		got <- m
		return m.InProgress()
	})
	seen := map[string]bool{}
	for range 20 {
		m := receive(t, got)
		seen[m.ID] = true
		same(t, "deliveries", m.Deliveries, uint64(1))
		same(t, "subject", m.Subject, bus.JobSubject("ingest", "w"))
	}
	same(t, "distinct jobs", len(seen), 20)
	stop(0)
}

func consumerForgotten(t *testing.T, b *bus.Bus) {
	const stream, durable = bus.Events, "reader"
	ok(t, b.Forget(bound(t), stream, durable)) // there is none yet
	for i := range 3 {
		ok(t, b.Publish(bound(t), bus.EventSubject("audit", "w"), fmt.Sprint("event", i), fmt.Append(nil, i)))
	}
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan string, 3)
		ended := make(chan error, 1)
		go func() {
			ended <- b.Consume(ctx, bus.Consumer{Stream: stream, Durable: durable}, func(_ context.Context, m bus.Message) error {
				got <- string(m.Data)
				return nil
			})
		}()
		for _, want := range []string{"0", "1", "2"} {
			same(t, "event", receive(t, got), want)
		}
		cancel()
		ok(t, receive(t, ended))
		ok(t, b.Forget(bound(t), stream, durable))
	}
}

func consumeRepeats(t *testing.T, b *bus.Bus) {
	jobs(t, b, 1)
	got := make(chan uint64, 10)
	stop := consume(t, b, bus.Consumer{}, func(_ context.Context, m bus.Message) error {
		got <- m.Deliveries
		if m.Deliveries < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	for want := uint64(1); want <= 3; want++ {
		same(t, "delivery", receive(t, got), want)
	}
	stop(0)
}

func consumePanics(t *testing.T, b *bus.Bus) {
	jobs(t, b, 1)
	got := make(chan uint64, 10)
	stop := consume(t, b, bus.Consumer{}, func(_ context.Context, m bus.Message) error {
		got <- m.Deliveries
		if m.Deliveries == 1 {
			panic("poison")
		}
		return nil
	})
	same(t, "delivery", receive(t, got), 1)
	same(t, "delivery", receive(t, got), 2)
	stop(0)
}

func consumeTerminates(t *testing.T, b *bus.Bus) {
	jobs(t, b, 2)
	got := make(chan string, 10)
	stop := consume(t, b, bus.Consumer{}, func(_ context.Context, m bus.Message) error {
		got <- string(m.Data)
		if string(m.Data) == "0" {
			return fmt.Errorf("read document: %w", bus.Terminate(errors.New("never will")))
		}
		return nil
	})
	same(t, "job", receive(t, got), "0")
	same(t, "next job, not the first again", receive(t, got), "1")
	stop(0)
}

func consumeGivesUp(t *testing.T, b *bus.Bus) {
	jobs(t, b, 1)
	cause := errors.New("always")
	var deliveries atomic.Uint64
	dead := make(chan error, 1)
	stop := consume(t, b, bus.Consumer{
		MaxDeliver: 3,
		OnDead:     func(_ context.Context, _ bus.Message, err error) { dead <- err },
	}, func(_ context.Context, m bus.Message) error {
		deliveries.Store(m.Deliveries)
		return cause
	})
	is(t, receive(t, dead), cause)
	same(t, "deliveries", deliveries.Load(), 3)
	stop(0)
}

func consumeBounds(t *testing.T, b *bus.Bus) {
	jobs(t, b, 12)
	started, release := make(chan struct{}, 12), make(chan struct{})
	var running, most atomic.Int64
	stop := consume(t, b, bus.Consumer{MaxInFlight: 3}, func(context.Context, bus.Message) error {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		started <- struct{}{}
		<-release
		running.Add(-1)
		return nil
	})
	for range 3 {
		receive(t, started)
	}
	for range 12 {
		release <- struct{}{}
	}
	for range 9 {
		receive(t, started)
	}
	stop(0)
	same(t, "most at once", most.Load(), 3)
}

func consumeDrains(t *testing.T, b *bus.Bus) {
	jobs(t, b, 2)
	ctx, cancel := context.WithCancel(t.Context())
	started, finish := make(chan struct{}, 2), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- b.Consume(ctx, bus.Consumer{Stream: bus.Jobs, Durable: "worker", MaxInFlight: 2, Drain: 3 * time.Second},
			func(ctx context.Context, m bus.Message) error {
				started <- struct{}{}
				if string(m.Data) == "0" {
					<-finish // takes its time, but within the bound
					return ctx.Err()
				}
				<-ctx.Done() // would never end
				return ctx.Err()
			})
	}()
	receive(t, started)
	receive(t, started)
	cancel()
	close(finish)
	ok(t, receive(t, ended))
	n, err := b.Purge(bound(t), bus.Jobs, bus.JobSubject("ingest", "w"))
	ok(t, err)
	same(t, "the one that did not finish is left", n, 1)
}

func consumeTrace(t *testing.T, b *bus.Bus) {
	id, err := trace.TraceIDFromHex("0123456789abcdef0123456789abcdef")
	ok(t, err)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
	ok(t, b.Publish(trace.ContextWithSpanContext(bound(t), span), bus.JobSubject("ingest", "w"), "id", nil))
	got := make(chan trace.SpanContext, 1)
	stop := consume(t, b, bus.Consumer{}, func(ctx context.Context, _ bus.Message) error {
		got <- trace.SpanContextFromContext(ctx)
		return nil
	})
	same(t, "trace id", receive(t, got).TraceID().String(), id.String())
	stop(0)
}

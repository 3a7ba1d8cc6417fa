package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/fault"
)

func TestCall(t *testing.T) {
	t.Parallel()
	server := bustest.NewServer(t, "")
	a, b := bustest.Join(t, server), bustest.Join(t, server)
	stop, err := a.Listen(t.Context(), []string{"one.*", "three"}, time.Minute, func(_ context.Context, name string, payload []byte) []byte {
		return append([]byte(name+": "), payload...)
	})
	if err != nil {
		t.Fatal(err)
	}
	hangs, err := a.Listen(t.Context(), []string{"hangs"}, 50*time.Millisecond, func(ctx context.Context, _ string, _ []byte) []byte {
		<-ctx.Done()
		return []byte("late")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer hangs()
	within := func(atMost time.Duration, name string) (string, error) {
		answer, err := b.Call(t.Context(), name, atMost, []byte("hello"))
		return string(answer), err
	}
	answers := func(name string) (string, error) { return within(10*time.Second, name) }
	becomes := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s does not come about", what)
			}
		}
	}
	for _, name := range []string{"one.*", "three"} {
		if got, err := answers(name); err != nil || got != name+": hello" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if got, err := answers("hangs"); err != nil || got != "late" {
		t.Errorf("one that takes its time: %q %v", got, err)
	}
	for _, name := range []string{"two", "one.two", "one_two"} {
		if _, err := answers(name); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop()
	becomes("the end of listening", func() bool { _, err := within(100*time.Millisecond, "one.*"); return errors.Is(err, bus.ErrNotFound) })
	server.Shutdown()
	becomes("the news that NATS is away", func() bool {
		_, err := within(100*time.Millisecond, "hangs")
		return fault.KindOf(err) == fault.Unavailable
	})
}

func TestEraseAndReplace(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	ctx := t.Context()
	subject := bus.FeedbackSubject("w", "s", "t", "u")
	for _, said := range []string{"one", "two", "three"} {
		if err := b.Replace(ctx, bus.Events, subject, "", []byte(said)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.Count(ctx, bus.Events, subject); err != nil || n != 1 {
		t.Errorf("%d are kept, %v", n, err)
	}
	if m, err := b.Last(ctx, bus.Events, subject); err != nil || string(m.Data) != "three" {
		t.Errorf("kept %q, %v", m.Data, err)
	}
	if err := b.Publish(ctx, bus.FeedbackSubject("w", "other", "t", "u"), "x", []byte("stays")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{1, 0} {
		if n, err := b.Erase(ctx, bus.Events, bus.FeedbackSubject("w", "s", "*", "*")); err != nil || n != want {
			t.Errorf("erased %d, %v", n, err)
		}
	}
	if n, err := b.Count(ctx, bus.Events, bus.FeedbackSubject("w", "*", "*", "*")); err != nil || n != 1 {
		t.Errorf("%d of the others are left, %v", n, err)
	}
}

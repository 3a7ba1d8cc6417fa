package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

func kv(t *testing.T, b *bus.Bus, bucket string) *bus.KV {
	t.Helper()
	table, err := b.KV(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func put(t *testing.T, table *bus.KV, key, value string) {
	t.Helper()
	if _, err := table.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// What one bus dumps, another one is filled with: the same values, objects and messages.
func TestDumpAndFill(t *testing.T) {
	t.Parallel()
	from, to := bustest.New(t), bustest.New(t)
	table := kv(t, from, bus.Keys)
	put(t, table, "a", "1")
	put(t, table, "b", "1")
	put(t, table, "b", "2")
	put(t, table, "gone", "1")
	if err := table.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	objects, err := from.Objects(t.Context(), bus.Originals)
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("a large object ", 30_000)
	for name, content := range map[string]string{"w/d/h/1": large, "w/d/h/2": "small", "w/d/h/3": "gone"} {
		if err := objects.Put(t.Context(), name, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := objects.Delete(t.Context(), "w/d/h/3"); err != nil {
		t.Fatal(err)
	}
	for i := range 1200 { // more than one batch
		if err := from.Publish(t.Context(), bus.TurnSubject("w", "s", fmt.Sprintf("t%04d", i)), fmt.Sprint(i), []byte("turn")); err != nil {
			t.Fatal(err)
		}
	}
	for _, stream := range []string{bus.KeyValueStream(bus.Keys), bus.ObjectStream(bus.Originals), bus.Turns} {
		filler, err := to.Fill(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		var sent uint64
		if _, err := from.Dump(t.Context(), stream, 0, func(m bus.Archived) error {
			sent++
			return filler.Add(m)
		}); err != nil {
			t.Fatal(err)
		}
		if stored, err := filler.Close(); err != nil || stored != sent {
			t.Fatalf("%s: %d of %d are stored, %v", stream, stored, sent, err)
		}
	}
	entries, err := kv(t, to, bus.Keys).List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		got[e.Key] = string(e.Value)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, got); diff != "" {
		t.Error(diff)
	}
	filled, err := to.Objects(t.Context(), bus.Originals)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"w/d/h/1": large, "w/d/h/2": "small"} {
		if content := readObject(t, filled, name); content != want {
			t.Errorf("%s has %d bytes, want %d", name, len(content), len(want))
		}
	}
	if there, err := filled.Exists(t.Context(), "w/d/h/3"); there || err != nil {
		t.Errorf("the deleted object is there: %v, %v", there, err)
	}
	if n, err := to.Count(t.Context(), bus.Turns, bus.TurnSubject("w", "s", "*")); n != 1200 || err != nil {
		t.Errorf("%d turns, %v", n, err)
	}
}

func readObject(t *testing.T, o *bus.Objects, name string) string {
	t.Helper()
	r, err := o.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out strings.Builder
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		out.Write(buffer[:n])
		if err != nil {
			return out.String()
		}
	}
}

// A key that is written all the time is in every dump: with JetStream's own snapshots it is not.
func TestDumpShowsKeysThatAreWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	table := kv(t, b, bus.Sessions)
	const keys = 40
	for i := range keys {
		put(t, table, fmt.Sprintf("w.s%d", i), "0")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	var written atomic.Int64
	for w := range 2 {
		writers.Go(func() {
			for i := w; ctx.Err() == nil; i += 2 {
				if _, err := table.Put(ctx, fmt.Sprintf("w.s%d", i%keys), []byte("1")); err == nil {
					written.Add(1)
				}
			}
		})
	}
	for range 20 {
		seen := map[string]bool{}
		if _, err := b.Dump(t.Context(), bus.KeyValueStream(bus.Sessions), 0, func(m bus.Archived) error {
			seen[m.Subject] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(seen) != keys {
			t.Errorf("%d of %d keys are in the dump", len(seen), keys)
		}
	}
	cancel()
	writers.Wait()
	if written.Load() == 0 {
		t.Error("nothing was written meanwhile")
	}
}

// A dump ends although more is written for each message that it shows than it can ever read, and has all that was there before.
func TestDumpEnds(t *testing.T) {
	t.Parallel()
	const things = 10
	b := bustest.New(t)
	table := kv(t, b, bus.Sessions)
	objects, err := b.Objects(t.Context(), bus.Originals)
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("an original ", 20_000) // two chunks
	generation := 0
	writers := map[string]func(thing int) error{
		bus.KeyValueStream(bus.Sessions): func(thing int) error {
			_, err := table.Put(t.Context(), fmt.Sprintf("w.s%d", thing), []byte(fmt.Sprint(generation)))
			return err
		},
		bus.ObjectStream(bus.Originals): func(thing int) error {
			return objects.Put(t.Context(), fmt.Sprintf("w/d/h/%d", thing), strings.NewReader(large))
		},
		bus.Turns: func(thing int) error {
			return b.Publish(t.Context(), bus.TurnSubject("w", "s", fmt.Sprintf("%d-%d", generation, thing)), "", []byte("turn"))
		},
		bus.Usage: func(thing int) error {
			return b.Publish(t.Context(), bus.UsageSubject("w", "n", "d", fmt.Sprint(thing)), "", []byte(fmt.Sprint(generation)))
		},
	}
	for stream, write := range writers {
		generation = 0
		for thing := range things {
			if err := write(thing); err != nil {
				t.Fatal(err)
			}
		}
		to := bustest.New(t)
		filler, err := to.Fill(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		last, err := b.Dump(t.Context(), stream, 0, func(m bus.Archived) error {
			seen[m.Subject] = true
			generation++
			for n := range 2 {
				if err := write((generation + n) % things); err != nil {
					return err
				}
			}
			return filler.Add(m)
		})
		if err != nil {
			t.Fatalf("%s: %v", stream, err)
		}
		if _, err := filler.Close(); err != nil {
			t.Fatal(err)
		}
		switch stream {
		case bus.ObjectStream(bus.Originals):
			filled, err := to.Objects(t.Context(), bus.Originals)
			if err != nil {
				t.Fatal(err)
			}
			for thing := range things {
				if content := readObject(t, filled, fmt.Sprintf("w/d/h/%d", thing)); content != large {
					t.Errorf("object %d has %d of %d bytes", thing, len(content), len(large))
				}
			}
		case bus.Turns:
			if last != things || len(seen) != things {
				t.Errorf("it ended at turn %d with %d, %d were there", last, len(seen), things)
			}
		default:
			if len(seen) != things {
				t.Errorf("%s: %d of %d keys are in the dump", stream, len(seen), things)
			}
		}
		// What came meanwhile is there for the next one, from where this one ended.
		next := 0
		if _, err := b.Dump(t.Context(), stream, last, func(bus.Archived) error { next++; return nil }); err != nil || next == 0 {
			t.Errorf("%s: %d messages afterwards, %v", stream, next, err)
		}
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	held := func(want bool) {
		t.Helper()
		if got, err := b.Held(t.Context()); got != want || err != nil {
			t.Errorf("held: %v, %v, want %v", got, err, want)
		}
	}
	held(false)
	release, err := b.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	held(true)
	other, err := b.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
	held(true)
	other()
	held(false)
}

// A restore begins on a NATS that is empty or holds what an earlier one has left, and no service starts on half of one.
func TestBeginRestore(t *testing.T) {
	t.Parallel()
	server := bustest.NewServer(t, "")
	connect := func(passive bool) *bus.Bus {
		t.Helper()
		b, err := bus.Connect(t.Context(), bus.Options{Name: "restore", InProcess: server, Passive: passive, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	b := connect(true)
	if err := b.BeginRestore(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, kv(t, b, bus.Keys), "a", "1")

	service := connect(false)
	if err := service.EnsureTopology(t.Context()); !errors.Is(err, bus.ErrRestoring) {
		t.Errorf("a service on half of a backup: %v", err)
	}
	if ok, detail := service.Healthy(); ok || !strings.Contains(detail, "ragmesh restore") {
		t.Errorf("its health is %v: %s", ok, detail)
	}

	if err := b.BeginRestore(t.Context()); err != nil {
		t.Fatalf("once more: %v", err)
	}
	if keys, err := kv(t, b, bus.Keys).Keys(t.Context(), ""); len(keys) != 0 || err != nil {
		t.Errorf("what the first attempt left is there: %v, %v", keys, err)
	}
	put(t, kv(t, b, bus.Keys), "a", "2")
	if err := b.EndRestore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := service.EnsureTopology(t.Context()); err != nil {
		t.Errorf("a service afterwards: %v", err)
	}
	if err := b.BeginRestore(t.Context()); !errors.Is(err, bus.ErrNotEmpty) {
		t.Errorf("a restore into what is there: %v", err)
	}
}

func TestBeginRestoreRefusesRunningServices(t *testing.T) {
	t.Parallel()
	server := bustest.NewServer(t, "")
	service, err := bus.Connect(t.Context(), bus.Options{Name: "dialog", InProcess: server, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	if err := service.EnsureTopology(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var once sync.Once
		_ = kv(t, service, bus.Keys).Watch(ctx, "", func(bus.Entry) { once.Do(func() { close(ready) }) })
	}()
	<-ready
	b, err := bus.Connect(t.Context(), bus.Options{Name: "restore", InProcess: server, Passive: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.BeginRestore(t.Context()); !errors.Is(err, bus.ErrInUse) {
		t.Errorf("a restore under a running service: %v", err)
	}
	cancel()
	<-ended
}

// Passive leaves another version's streams as they are.
func TestPassiveLeavesStreamsAlone(t *testing.T) {
	t.Parallel()
	server := bustest.NewServer(t, "")
	conn, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: bus.Turns, Subjects: []string{"ragmesh.turn.v1.>"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Connect(t.Context(), bus.Options{Name: "backup", InProcess: server, Passive: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := b.Up(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Dump(ctx, bus.Turns, 0, func(bus.Archived) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, bus.Turns)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().Config.MaxMsgsPerSubject; got == 1 {
		t.Error("the stream was changed")
	}
	if _, err := js.Stream(ctx, bus.Jobs); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a stream was made: %v", err)
	}
}

package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/fault"
)

const wait = time.Minute

// serve starts a server on a fixed address and directory, as one that is restarted.
func serve(t *testing.T, dir, addr string) *natsserver.Server {
	t.Helper()
	s, err := natsserver.Start(t.Context(), natsserver.Options{Dir: dir, Addr: addr, NoSync: true, MaxStore: 4 << 30, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func connect(t *testing.T, o bus.Options) *bus.Bus {
	t.Helper()
	o.Log = zerolog.Nop()
	b, err := bus.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(wait)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func healthy(b *bus.Bus) func() bool {
	return func() bool { ok, _ := b.Healthy(); return ok }
}

// NATS comes after its clients, goes, and comes back with its data. Nobody has to do anything for it.
func TestOutage(t *testing.T) {
	t.Parallel()
	addr, dir := bustest.FreeAddr(t), t.TempDir()
	registry := prometheus.NewRegistry()
	b := connect(t, bus.Options{URL: "nats://" + addr, Name: "llm-gateway", Registry: registry})
	kv, err := b.KV(t.Context(), bus.Workspaces)
	if err != nil {
		t.Fatal(err)
	}

	if ok, detail := b.Healthy(); ok || detail == "" {
		t.Errorf("healthy %t (%q) without NATS", ok, detail)
	}
	start := time.Now()
	for name, call := range map[string]func() error{
		"publish": func() error { return b.Publish(t.Context(), bus.EventSubject("audit", "w"), "id", nil) },
		"get":     func() error { _, err := kv.Get(t.Context(), "w"); return err },
		"last":    func() error { _, err := b.Last(t.Context(), bus.Turns, "x"); return err },
		"last n":  func() error { _, err := b.LastN(t.Context(), bus.Turns, "x", 1, 0); return err },
		"purge":   func() error { _, err := b.Purge(t.Context(), bus.Turns, "x"); return err },
		"lossy":   func() error { return b.PublishLossy(t.Context(), "x", nil) },
	} {
		f, ok := errors.AsType[*fault.Error](call())
		if !ok || f.Kind != fault.Unavailable || f.Reason != fault.StoreUnavailable || f.RetryAfter == 0 {
			t.Errorf("%s without NATS: %v", name, f)
		}
	}
	if took := time.Since(start); took > 20*time.Second { // on any machine; waiting for NATS takes longer
		t.Errorf("failing took %s, should be at once", took)
	}

	got, entries := make(chan string, 10), make(chan bus.Entry, 10)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		_ = b.Consume(ctx, bus.Consumer{Stream: bus.Jobs, Durable: "worker", AckWait: time.Second}, func(_ context.Context, m bus.Message) error {
			got <- string(m.Data)
			return nil
		})
	})
	running.Go(func() { _ = kv.Watch(ctx, "", func(e bus.Entry) { entries <- e }) })
	defer running.Wait()
	defer cancel()

	first := serve(t, dir, addr)
	eventually(t, "healthy after NATS came", healthy(b))
	if _, err := kv.Put(ctx, "w", []byte("1")); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "one")
	if diff := cmp.Diff("one", receive(t, got)); diff != "" {
		t.Error(diff)
	}

	first.Shutdown()
	eventually(t, "unhealthy after NATS went", func() bool { return !healthy(b)() })
	second := serve(t, dir, addr)
	defer second.Shutdown()
	eventually(t, "healthy again", healthy(b))
	publish(t, b, "two")
	// The first may come again: its acknowledgement can have been lost with the server.
	for data := receive(t, got); data != "two"; data = receive(t, got) {
	}
	if e, err := kv.Get(ctx, "w"); err != nil || string(e.Value) != "1" {
		t.Errorf("after the restart: %q, %v", e.Value, err)
	}
	if _, err := kv.Put(ctx, "w", []byte("2")); err != nil {
		t.Fatal(err)
	}
	for e := receive(t, entries); string(e.Value) != "2"; e = receive(t, entries) {
	}
	if n := testutil.ToFloat64(gather(t, registry, "ragmesh_llm_gateway_bus_reconnects_total")); n < 1 {
		t.Errorf("reconnects counted: %g", n)
	}
}

// gather wraps one metric's value as a collector for testutil.
func gather(t *testing.T, registry *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "value"})
			g.Set(f.GetMetric()[0].GetCounter().GetValue())
			return g
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

func publish(t *testing.T, b *bus.Bus, data string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := b.Publish(ctx, bus.JobSubject("ingest", "w"), data, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(wait):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// A caller's deadline is the caller's, a time limit of ours is not.
func TestDeadline(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Publish(ctx, bus.EventSubject("audit", "w"), "id", nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("published with an ended context: %v", err)
	}
}

func TestTopologyIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	s := bustest.NewServer(t, "127.0.0.1:0")
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	// As an earlier release may have made them.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: bus.Events, Subjects: []string{"ragmesh.event.v1.>"}, MaxAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bus.Requests, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	b := bustest.Connect(t, s.URL())
	if ok, detail := b.Healthy(); !ok {
		t.Fatal(detail)
	}
	events, err := js.Stream(t.Context(), bus.Events)
	if err != nil {
		t.Fatal(err)
	}
	if got := events.CachedInfo().Config; got.MaxAge != 400*24*time.Hour || !got.AllowDirect {
		t.Errorf("events: %+v", got)
	}
	requests, err := js.KeyValue(t.Context(), bus.Requests)
	if err != nil {
		t.Fatal(err)
	}
	status, err := requests.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.TTL() != 24*time.Hour {
		t.Errorf("requests live for %s", status.TTL())
	}
	// What is as it should be is left alone: a second pass makes no change.
	before := status.(*jetstream.KeyValueBucketStatus).StreamInfo().Created
	if err := b.EnsureTopology(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for info := range js.ListStreams(t.Context()).Info() {
		names[info.Config.Name] = true
		if info.Config.Name == "KV_"+bus.Requests && !info.Created.Equal(before) {
			t.Error("bucket was made anew")
		}
	}
	want := map[string]bool{
		bus.Turns: true, bus.Events: true, bus.SpanStream: true, bus.Vectors: true, bus.Jobs: true, bus.Usage: true, bus.Answers: true,
		"KV_RAGMESH_WORKSPACES": true, "KV_RAGMESH_KEYS": true, "KV_RAGMESH_SESSIONS": true, "KV_RAGMESH_REQUESTS": true,
		"KV_RAGMESH_DOCUMENTS": true, "KV_RAGMESH_UPLOADS": true, "KV_RAGMESH_HOLDS": true, "KV_RAGMESH_LEASES": true, "KV_RAGMESH_MEMBERS": true, "KV_RAGMESH_LOGINS": true, "OBJ_RAGMESH_ORIGINALS": true,
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
}

// A process that dies with a job on its last delivery must not leave the job in the queue for ever.
func TestPoisonOfADeadProcess(t *testing.T) {
	t.Parallel()
	s := bustest.NewServer(t, "127.0.0.1:0")
	b := bustest.Connect(t, s.URL())
	publish(t, b, "poison")
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	// The process that dies: takes the job and never answers.
	c, err := js.CreateConsumer(t.Context(), bus.Jobs, jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(jetstream.FetchMaxWait(wait)); err != nil {
		t.Fatal(err)
	}
	dead := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		_ = b.Consume(ctx, bus.Consumer{
			Stream: bus.Jobs, Durable: "worker", MaxDeliver: 1, AckWait: 50 * time.Millisecond, MaxInFlight: 2,
			OnDead: func(_ context.Context, m bus.Message, cause error) {
				if cause != nil {
					t.Errorf("cause of %q is %v", m.Data, cause)
				}
				dead <- string(m.Data)
			},
		}, func(_ context.Context, m bus.Message) error {
			t.Errorf("%q is tried once more", m.Data)
			return nil
		})
	})
	defer running.Wait()
	defer cancel()
	if diff := cmp.Diff("poison", receive(t, dead)); diff != "" {
		t.Error(diff)
	}
}

func TestServerWithToken(t *testing.T) {
	t.Parallel()
	s, err := natsserver.Start(t.Context(), natsserver.Options{Dir: t.TempDir(), Addr: "127.0.0.1:0", Token: "s3cret", NoSync: true, MaxStore: 4 << 30, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if _, err := nats.Connect(s.URL()); err == nil {
		t.Error("came in over TCP without the token")
	}
	eventually(t, "healthy in process", healthy(connect(t, bus.Options{InProcess: s, Name: "dialog", Token: "s3cret"})))
	eventually(t, "healthy over TCP", healthy(connect(t, bus.Options{URL: s.URL(), Name: "dialog", Token: "s3cret"})))
}

func TestSyncAlwaysIsTheDefault(t *testing.T) {
	t.Parallel()
	s, err := natsserver.Start(t.Context(), natsserver.Options{Dir: t.TempDir(), MaxStore: 4 << 30, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if s.URL() != "" {
		t.Errorf("listens at %s without an address", s.URL())
	}
	eventually(t, "healthy", healthy(connect(t, bus.Options{InProcess: s, Name: "dialog"})))
}

func TestConnectRefuses(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]bus.Options{
		"no url":      {Name: "dialog"},
		"no name":     {URL: "nats://127.0.0.1:4222"},
		"bad url":     {URL: "nats://127.0.0.1:port", Name: "dialog"},
		"bad creds":   {URL: "nats://127.0.0.1:1", Name: "dialog", Credentials: "nonsense"},
		"empty hosts": {URL: "://", Name: "dialog"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := bus.Connect(t.Context(), o)
			if err == nil {
				b.Close()
				if name != "bad creds" { // read when a server asks for them
					t.Error("no error")
				}
			}
		})
	}
}

// Services that start together make the same streams, on a disk that has room for each of these once.
func TestStreamsMadeTogether(t *testing.T) {
	t.Parallel()
	for range 4 {
		s, err := natsserver.Start(t.Context(), natsserver.Options{Dir: t.TempDir(), NoSync: true, MaxStore: 720 << 20, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 5 {
			b, err := bus.Connect(t.Context(), bus.Options{Name: "test", InProcess: s, Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				defer b.Close()
				if err := b.EnsureTopology(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		s.Shutdown()
	}
}

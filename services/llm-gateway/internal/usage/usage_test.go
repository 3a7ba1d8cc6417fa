package usage_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/usage"
)

const team = "team"

// server is a NATS that can be started again in its folder.
func server(t *testing.T, dir string) *natsserver.Server {
	t.Helper()
	s, err := natsserver.Start(t.Context(), natsserver.Options{Dir: dir, NoSync: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// process is a gateway's ledger with its carrier.
type process struct {
	*ledger.Ledger
	carrier *usage.Carrier
	bus     *bus.Bus
	stop    func()
}

func start(t *testing.T, s *natsserver.Server, dir string) *process {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Options{Name: "llm-gateway", InProcess: s, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(ledger.Options{Dir: dir, Clock: time.Now, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Ledger: l, bus: b, carrier: usage.New(usage.Deps{Ledger: l, Bus: b, Clock: time.Now, Log: zerolog.Nop()})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.carrier.Run(ctx) }()
	stopped := false
	p.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.Close()
	}
	t.Cleanup(p.stop)
	return p
}

func (p *process) use(key string, cost uint64) {
	id := p.Begin(ledger.Payer{Workspace: team, Key: key}, "m", ledger.Most{})
	p.Tried(id, ledger.Try{Target: ledger.Target{Route: "m", Provider: "p", Model: "x"}, Answered: true, Cost: cost})
}

func (p *process) spent(key string) uint64 {
	return p.Spent(ledger.Payer{Workspace: team, Key: key}, ledger.DayOf(time.Now())).Day
}

// eventually waits until got is what is wanted.
func eventually(t *testing.T, what string, want uint64, got func() uint64) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for got() != want {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %d, want %d", what, got(), want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// What one process uses all others know, also those that start later, and as often as it is said.
func TestAllKnowWhatOneUsed(t *testing.T) {
	t.Parallel()
	s := server(t, t.TempDir())
	defer s.Shutdown()
	folder := t.TempDir()
	a, b := start(t, s, folder), start(t, s, t.TempDir())
	a.use("user:alice", 10)
	b.use("user:alice", 1)
	for _, p := range []*process{a, b} {
		eventually(t, "spent of both", 11, func() uint64 { return p.spent("user:alice") })
	}
	a.stop()
	a = start(t, s, folder) // says it again
	a.use("user:alice", 100)
	c := start(t, s, t.TempDir())
	for _, p := range []*process{a, b, c} {
		eventually(t, "spent of all", 111, func() uint64 { return p.spent("") })
	}
	if c.KnownAt().IsZero() || c.Waiting() != 0 {
		t.Errorf("known at %s, %d pages wait", c.KnownAt(), c.Waiting())
	}
}

// What is used while NATS is away is known once it is back, also when the process has ended meanwhile.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	dir, folder := t.TempDir(), t.TempDir()
	s := server(t, dir)
	p := start(t, s, folder)
	eventually(t, "connected", 1, func() uint64 {
		if p.KnownAt().IsZero() {
			return 0
		}
		return 1
	})
	s.Shutdown()
	p.use("user:alice", 7)
	p.stop()
	s = server(t, dir)
	defer s.Shutdown()
	other := start(t, s, t.TempDir())
	p = start(t, s, folder)
	eventually(t, "spent", 7, func() uint64 { return other.spent("user:alice") })
	if p.spent("user:alice") != 7 {
		t.Errorf("its own process knows %d", p.spent("user:alice"))
	}
}

// Of a deleted workspace numbers stay and no names, also of processes that are gone; the next one of its name begins with nothing.
func TestForget(t *testing.T) {
	t.Parallel()
	s := server(t, t.TempDir())
	defer s.Shutdown()
	gone, a, b := start(t, s, t.TempDir()), start(t, s, t.TempDir()), start(t, s, t.TempDir())
	for _, p := range []*process{gone, a, b} {
		p.use("user:alice", 10)
	}
	eventually(t, "spent", 30, func() uint64 { return gone.spent("") })
	gone.stop()
	for _, p := range []*process{a, b} {
		eventually(t, "spent", 30, func() uint64 { return p.spent("") })
	}
	for range 2 { // dialog may say so more than once
		if err := a.carrier.Forget(t.Context(), team); err != nil {
			t.Fatal(err)
		}
	}
	late := start(t, s, t.TempDir())
	for _, p := range []*process{a, b, late} {
		eventually(t, "spent after the deletion", 0, func() uint64 { return p.spent("") })
		eventually(t, "known", 1, func() uint64 {
			if p.KnownAt().IsZero() {
				return 0
			}
			return 1
		})
	}
	b.use("user:bob", 5)
	for _, p := range []*process{a, b, late} {
		eventually(t, "spent in the next life", 5, func() uint64 { return p.spent("user:bob") })
	}
	text := func() (all string) {
		subjects, err := a.bus.Subjects(t.Context(), bus.Usage, bus.UsageSubject(team, "*", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, subject := range subjects {
			m, err := a.bus.Last(t.Context(), bus.Usage, subject)
			if err != nil {
				t.Fatal(err)
			}
			all += string(m.Data)
		}
		return all
	}
	eventually(t, "names of the deleted workspace", 0, func() uint64 { return uint64(strings.Count(text(), "user:alice")) })
	if all := text(); !strings.Contains(all, "user:bob") {
		t.Errorf("the stream holds %q", all)
	}
	if diff := cmp.Diff(1, len(late.Usage(team, 0, ledger.DayOf(time.Now())))); diff != "" {
		t.Error(diff)
	}
}

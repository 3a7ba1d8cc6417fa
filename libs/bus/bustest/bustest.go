// Package bustest has a bus for tests ([New]) and the suite that says what a bus is ([Run]), which every way to reach NATS
// must pass.
package bustest

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/port"
)

// wait bounds every step of a test. It is only reached by failures.
const wait = time.Minute

// New returns a bus with the whole topology, on a server in this process that ends with the test and does not sync to disk.
func New(tb testing.TB) *bus.Bus {
	tb.Helper()
	return connect(tb, bus.Options{InProcess: NewServer(tb, "")})
}

// NewServer returns a server that ends with the test; with an address it also listens there.
func NewServer(tb testing.TB, addr string) *natsserver.Server {
	tb.Helper()
	s, err := natsserver.Start(tb.Context(), natsserver.Options{Dir: tb.TempDir(), Addr: addr, NoSync: true, Log: zerolog.Nop(), MaxStore: 4 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Shutdown)
	return s
}

// FreeAddr is one of [port.Free].
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	addrs, err := port.Free(tb.Context(), 1)
	if err != nil {
		tb.Fatal(err)
	}
	return addrs[0]
}

// Join returns another bus to a server in this process, closed at the test's end.
func Join(tb testing.TB, server *natsserver.Server) *bus.Bus {
	tb.Helper()
	return connect(tb, bus.Options{InProcess: server})
}

// Connect returns a bus to a server elsewhere, closed at the test's end.
func Connect(tb testing.TB, url string) *bus.Bus {
	tb.Helper()
	return connect(tb, bus.Options{URL: url})
}

func connect(tb testing.TB, o bus.Options) *bus.Bus {
	tb.Helper()
	o.Name, o.Log = "test", zerolog.Nop()
	b, err := bus.Connect(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	ctx, cancel := context.WithTimeout(tb.Context(), wait)
	defer cancel()
	if err := b.EnsureTopology(ctx); err != nil {
		tb.Fatal(err)
	}
	return b
}

package port_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/ragmesh/ragmesh/libs/port"
)

func TestFree(t *testing.T) {
	t.Parallel()
	addrs, err := port.Free(t.Context(), 20)
	if err != nil || len(addrs) != 20 {
		t.Fatalf("got %d addresses, %v", len(addrs), err)
	}
	met := map[string]bool{}
	for _, addr := range addrs {
		if at, err := netip.ParseAddrPort(addr); err != nil || !at.Addr().IsLoopback() || at.Port() >= 32_768 || met[addr] {
			t.Errorf("%s, %v: met before %t", addr, err, met[addr])
		}
		met[addr] = true
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Errorf("%s is not free: %v", addr, err)
			continue
		}
		_ = l.Close()
	}
}

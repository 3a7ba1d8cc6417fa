package rpc

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

func TestMemoryIsAConnection(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		a, b = connectedPair()
		return a, b, func() { _, _ = a.Close(), b.Close() }, nil
	})
}

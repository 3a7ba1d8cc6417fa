package bus_test

import (
	"testing"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

func TestInProcess(t *testing.T) {
	t.Parallel()
	bustest.Run(t, bustest.New)
}

func TestOverTCP(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(tb testing.TB) *bus.Bus {
		tb.Helper()
		return bustest.Connect(tb, bustest.NewServer(tb, "127.0.0.1:0").URL())
	})
}

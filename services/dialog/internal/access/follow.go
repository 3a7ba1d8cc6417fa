package access

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
)

// follow shows the entries of a table, and every change of them, until ctx ends. Now and then, although nothing changes, it says
// that the store is there.
func follow(ctx context.Context, table Table, there func(), change func(bus.Entry)) error {
	var probes sync.WaitGroup
	defer probes.Wait()
	probes.Go(func() { probe(ctx, table, there) })
	return table.Watch(ctx, "", change)
}

func probe(ctx context.Context, table Table, there func()) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		bounded, cancel := context.WithTimeout(ctx, lookup)
		_, err := table.Get(bounded, "probe")
		cancel()
		if err == nil || errors.Is(err, bus.ErrNotFound) {
			there()
		}
	}
}

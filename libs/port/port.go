// Package port finds addresses for processes that are started later.
package port

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// Free returns loopback addresses that nobody listens on. All are taken before any is given back, so they differ. They are none
// of those that systems give to connections and to who asks for any port, so that they are still free when the process that they
// are for has started.
func Free(ctx context.Context, n int) ([]string, error) {
	const first, last, tries = 20_000, 32_000, 1_000
	var config net.ListenConfig
	var addrs []string
	for try := 0; len(addrs) < n; try++ {
		l, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))) //nolint:gosec // no secret
		switch {
		case err == nil:
			defer func() { _ = l.Close() }()
			addrs = append(addrs, l.Addr().String())
		case try >= tries || ctx.Err() != nil:
			return nil, fmt.Errorf("find a free port: %w", err)
		}
	}
	return addrs, nil
}

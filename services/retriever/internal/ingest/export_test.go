package ingest

import "context"

// Sweep sweeps up once.
func (in *Ingester) Sweep(ctx context.Context) { in.sweep(ctx) }

// The bounds of attempts whose workers died.
const (
	MaxDeaths = maxDeaths
	MaxStarts = maxStarts
)

package ingest

import "context"

// Sweep sweeps up once.
func (in *Ingester) Sweep(ctx context.Context) { in.sweep(ctx) }

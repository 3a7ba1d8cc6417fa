// Package retain keeps the store within its bounds, and proves that its writer moves.
package retain

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

// maxSilence is how long the store's writer may hang before the process counts as wedged: far longer than a busy disk makes
// it wait.
const maxSilence = 50 * time.Second

// Store is what is kept in bounds.
type Store interface {
	Prune(ctx context.Context, l store.Limits, now time.Time) (store.Pruned, error)
	Used(ctx context.Context) (int64, error)
	Ping(ctx context.Context) error
}

// Keeper prunes the store. It is for one Run.
type Keeper struct {
	store  Store
	limits store.Limits
	every  time.Duration
	clock  func() time.Time
	live   *health.Liveness
	log    zerolog.Logger

	pruned *prometheus.CounterVec
	used   prometheus.Gauge
}

// New returns a Keeper that prunes to limits every so often.
func New(s Store, limits store.Limits, every time.Duration, clock func() time.Time, live *health.Liveness, t *telemetry.Telemetry) (*Keeper, error) {
	k := &Keeper{
		store: s, limits: limits, every: every, clock: clock, live: live, log: t.Log,
		pruned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: t.Metric("pruned_rows_total"), Help: "Turns and spans removed because a retention bound was reached.",
		}, []string{"table"}),
		used: prometheus.NewGauge(prometheus.GaugeOpts{Name: t.Metric("store_used_bytes"), Help: "Bytes that turns and spans take on disk."}),
	}
	for _, c := range []prometheus.Collector{k.pruned, k.used} {
		if err := t.Registry.Register(c); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Run prunes at once and then every so often, until ctx ends. A pass that fails is logged, and the next one tries again.
func (k *Keeper) Run(ctx context.Context) error {
	pulse := k.live.NewPulse("store", maxSilence)
	defer pulse.Stop()
	beat, prune := time.NewTicker(pulse.Interval()), time.NewTicker(k.every)
	defer beat.Stop()
	defer prune.Stop()
	k.prune(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			// An answer counts, be it an error: a disk that fails is not healed by a restart, a writer that hangs may be.
			if err := k.store.Ping(ctx); err != nil && ctx.Err() == nil {
				k.log.Error().Err(err).Msg("the trace store fails")
			}
		case <-prune.C:
			k.prune(ctx)
		}
		pulse.Beat()
	}
}

func (k *Keeper) prune(ctx context.Context) {
	p, err := k.store.Prune(ctx, k.limits, k.clock())
	k.pruned.WithLabelValues("turns").Add(float64(p.Turns))
	k.pruned.WithLabelValues("spans").Add(float64(p.Spans))
	if err == nil {
		var used int64
		if used, err = k.store.Used(ctx); err == nil {
			k.used.Set(float64(used))
		}
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		k.log.Error().Err(err).Msg("could not prune the trace store")
	case p != (store.Pruned{}):
		k.log.Info().Int("turns", p.Turns).Int("spans", p.Spans).Msg("pruned the trace store")
	}
}

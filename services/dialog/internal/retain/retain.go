// Package retain deletes sessions that nobody has asked in for longer than they are kept. Several replicas may do so at once:
// each session is deleted by one of them.
package retain

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/config"
)

// Config says how long sessions are kept.
type Config struct {
	Retention time.Duration `yaml:"retention" doc:"How long a session is kept after its last turn, in workspaces that have no time of their own. Duration, 1h to 87600h; 0 means for ever."`
}

// The bounds of a retention that is not for ever.
const (
	least = time.Hour
	most  = 87600 * time.Hour
)

// Validate says what is out of bounds.
func (c Config) Validate() error {
	if c.Retention != 0 && (c.Retention < least || c.Retention > most) {
		return config.Invalid("retention", "must be 0 or 1h to 87600h, not %s", c.Retention)
	}
	return nil
}

// Session is one that may be due.
type Session struct{ Workspace, ID string }

// Store keeps the sessions.
type Store interface {
	// Quiet returns up to n sessions of a workspace whose last turn ended before a time, those of the longest silence first.
	Quiet(ctx context.Context, workspace string, before time.Time, n int) ([]Session, error)
	// Expire deletes one of them unless it was asked in since, or another replica is at it. It says whether it did.
	Expire(ctx context.Context, s Session, before time.Time) (bool, error)
}

// Deps are what a Keeper works with.
type Deps struct {
	Store Store
	// Workspaces returns each workspace with how long it keeps sessions; 0 where it does not say.
	Workspaces func() map[string]time.Duration
	Now        func() time.Time
	// Every is the time between two rounds; 0 means five minutes.
	Every    time.Duration
	Registry prometheus.Registerer
	Log      zerolog.Logger
}

// Keeper deletes what is due. It is for one Run.
type Keeper struct {
	deps    Deps
	keep    atomic.Int64 // a time.Duration
	expired prometheus.Counter
	failed  prometheus.Counter
}

// New returns a Keeper.
func New(cfg Config, deps Deps) (*Keeper, error) {
	if deps.Every == 0 {
		deps.Every = 5 * time.Minute
	}
	k := &Keeper{
		deps:    deps,
		expired: prometheus.NewCounter(prometheus.CounterOpts{Name: "ragmesh_dialog_sessions_expired_total", Help: "Sessions that were deleted because nobody had asked in them for longer than they are kept."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "ragmesh_dialog_session_expiry_failures_total", Help: "Rounds of deleting sessions that are due which ended before their end; the next one goes on."}),
	}
	if deps.Registry != nil {
		for _, c := range []prometheus.Collector{k.expired, k.failed} {
			if err := deps.Registry.Register(c); err != nil {
				return nil, fmt.Errorf("register retention metrics: %w", err)
			}
		}
	}
	k.Use(cfg)
	return k, nil
}

// Use has sessions kept as cfg says from the next round on.
func (k *Keeper) Use(cfg Config) { k.keep.Store(int64(cfg.Retention)) }

// batch is how many sessions of a workspace are deleted in one round.
const batch = 200

// Run deletes what is due, round after round, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(k.deps.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := k.Round(ctx); err != nil && ctx.Err() == nil {
			k.failed.Inc()
			k.deps.Log.Warn().Err(err).Msg("sessions that are due could not all be deleted yet")
		}
	}
}

// Round deletes what is due now, up to a bound.
func (k *Keeper) Round(ctx context.Context) error {
	for workspace, keep := range k.deps.Workspaces() {
		if keep <= 0 {
			keep = time.Duration(k.keep.Load())
		}
		if keep <= 0 {
			continue
		}
		before := k.deps.Now().Add(-keep)
		due, err := k.deps.Store.Quiet(ctx, workspace, before, batch)
		if err != nil {
			return err
		}
		for _, s := range due {
			done, err := k.deps.Store.Expire(ctx, s, before)
			if err != nil {
				return err
			}
			if done {
				k.expired.Inc()
				k.deps.Log.Info().Str("workspace", s.Workspace).Str("session", s.ID).Msg("session deleted: it is older than is kept")
			}
		}
	}
	return nil
}

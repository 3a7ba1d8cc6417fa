// Package removal takes workspaces away with everything in them. A workspace that is to go is marked first, and out of
// everybody's reach from then on; what is in it is removed step by step, each of which may be repeated. Whatever ends a removal
// early, this process or another one goes on with it.
package removal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/repeat"
)

// Ledger knows which workspaces are to go.
type Ledger interface {
	// Condemned returns the workspaces that are marked.
	Condemned(ctx context.Context) ([]Condemned, error)
	// Lease makes a workspace's removal holder's business for a while. It says whether it is, and not another's.
	Lease(ctx context.Context, workspace, holder string, d time.Duration) (bool, error)
	// Bury takes the mark away, with the workspace.
	Bury(ctx context.Context, workspace string) error
}

// Condemned is a workspace that is to go.
type Condemned struct {
	Workspace string
	Since     time.Time
	By        string // who said so
}

// Step removes a part of a workspace. It may be repeated.
type Step struct {
	Name string
	Do   func(ctx context.Context, c Condemned) error
}

const (
	// stepFor is how long a step may take. One that takes longer has got somewhere, and is begun again.
	stepFor = time.Minute
	// leaseFor is longer than a step, so that two processes are never at the same removal: one of them might still be when the
	// workspace has been made anew.
	leaseFor = 3 * stepFor / 2
	// roundEvery is how often is looked for removals that somebody else has begun and not ended.
	roundEvery = 15 * time.Second
)

// Deps are what a Remover works with.
type Deps struct {
	Ledger Ledger
	Steps  []Step
	// Holder names this process.
	Holder string
	// Settle is how long after the mark calls that were under way then may still write. What they wrote is removed.
	Settle time.Duration
	Now    func() time.Time
	Log    zerolog.Logger
}

// Remover removes workspaces. It is safe for concurrent use.
type Remover struct {
	deps Deps

	mu      sync.Mutex
	running map[string]chan struct{} // closed at the end of a removal of this process
}

// New returns a Remover.
func New(deps Deps) *Remover { return &Remover{deps: deps, running: map[string]chan struct{}{}} }

// Run goes on with removals that have been begun until ctx ends.
func (r *Remover) Run(ctx context.Context) error {
	ticker := time.NewTicker(roundEvery)
	defer ticker.Stop()
	for {
		condemned, err := r.deps.Ledger.Condemned(ctx)
		if err != nil && ctx.Err() == nil {
			r.deps.Log.Debug().Err(err).Msg("workspaces that are to go can't be looked up yet")
		}
		for _, c := range condemned {
			_ = r.Remove(ctx, c) // the next round tries again
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Remove removes a workspace that is marked, and returns when nothing is left of it, or why something is. While this process is
// at it already, it waits for that.
func (r *Remover) Remove(ctx context.Context, c Condemned) error {
	r.mu.Lock()
	if done, ok := r.running[c.Workspace]; ok {
		r.mu.Unlock()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	done := make(chan struct{})
	r.running[c.Workspace] = done
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.running, c.Workspace)
		close(done)
	}()
	err := r.remove(ctx, c)
	if err != nil {
		r.deps.Log.Warn().Err(err).Str("workspace", c.Workspace).Msg("workspace is not removed yet")
	}
	return err
}

func (r *Remover) remove(ctx context.Context, c Condemned) error {
	// Everything goes at once; what calls that were under way wrote meanwhile goes once they have ended.
	for _, wait := range []time.Duration{0, r.deps.Settle - r.deps.Now().Sub(c.Since)} {
		if err := repeat.Pause(ctx, wait); err != nil {
			return err
		}
		for _, step := range r.deps.Steps {
			if mine, err := r.deps.Ledger.Lease(ctx, c.Workspace, r.deps.Holder, leaseFor); err != nil {
				return fmt.Errorf("lease removal: %w", err)
			} else if !mine { // another process is at it, or has ended it
				return nil
			}
			if err := r.do(ctx, step, c); err != nil {
				return fmt.Errorf("remove %s: %w", step.Name, err)
			}
		}
	}
	if err := r.deps.Ledger.Bury(ctx, c.Workspace); err != nil {
		return fmt.Errorf("bury workspace: %w", err)
	}
	r.deps.Log.Info().Str("workspace", c.Workspace).Str("by", c.By).Msg("workspace is removed")
	return nil
}

func (r *Remover) do(ctx context.Context, step Step, c Condemned) error {
	ctx, cancel := context.WithTimeout(ctx, stepFor)
	defer cancel()
	return step.Do(ctx, c)
}

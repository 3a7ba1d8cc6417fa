package bus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// leaseFor is how long a lease lasts whose process gives no sign; renewLease is how often one does.
	leaseFor   = 45 * time.Second
	renewLease = 10 * time.Second
	// leasePoll is how often is asked for a lease that another process has.
	leasePoll = 500 * time.Millisecond
)

// ErrLeaseLost ends the context of a lease that could not be renewed in time: another process may have it.
var ErrLeaseLost = errors.New("lease was lost")

// Lease waits until this process is the only one that holds a name, and returns a context that ends should it be so no longer.
// Release gives the name back.
func (b *Bus) Lease(ctx context.Context, name string) (_ context.Context, release func(), err error) {
	kv, err := b.KV(ctx, Leases)
	if err != nil {
		return nil, nil, err
	}
	revision := uint64(0)
	for {
		if revision, err = kv.Create(ctx, name, []byte(b.name)); err == nil {
			break
		}
		if !errors.Is(err, ErrExists) {
			return nil, nil, fmt.Errorf("take lease %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(leasePoll):
		}
	}
	held, lose := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.renew(held, kv, name, revision, lose)
	}()
	return held, func() {
		lose(nil)
		<-done
		// Past the end of ctx too. One that is not given back ends by itself.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		if !errors.Is(context.Cause(held), ErrLeaseLost) {
			_ = kv.Delete(end, name)
		}
	}, nil
}

// renew keeps a lease until ctx ends.
func (b *Bus) renew(ctx context.Context, kv *KV, name string, revision uint64, lose context.CancelCauseFunc) {
	ticker := time.NewTicker(renewLease)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		next, err := kv.Update(ctx, name, []byte(b.name), revision)
		switch {
		case err == nil:
			revision, last = next, time.Now()
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrConflict), time.Since(last) > leaseFor-renewLease:
			lose(ErrLeaseLost)
			return
		}
	}
}

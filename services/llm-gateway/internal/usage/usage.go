// Package usage carries the ledger's pages over the bus: what this process used to all others, and what they used to this one.
// While NATS is away pages stay in the ledger, which is on this machine's disk; when it is back they go out as they are then.
package usage

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/bus"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ledger"
)

// Bus is where pages go and come from; *[bus.Bus] is one.
type Bus interface {
	Publish(ctx context.Context, subject, msgID string, payload []byte) error
	Swap(ctx context.Context, subject string, sequence uint64, payload []byte) error
	Follow(ctx context.Context, stream string, fn func(bus.Message)) error
	Subjects(ctx context.Context, stream, subjectFilter string) ([]string, error)
	Last(ctx context.Context, stream, subject string) (bus.Message, error)
	Healthy() (bool, string)
}

// Deps is what a Carrier works with.
type Deps struct {
	Ledger *ledger.Ledger
	Bus    Bus
	Clock  func() time.Time
	Log    zerolog.Logger
}

// Carrier carries pages. Run it once.
type Carrier struct {
	deps   Deps
	caught atomic.Bool // everything others had said was folded in, over this connection
}

// New returns a Carrier.
func New(d Deps) *Carrier { return &Carrier{deps: d} }

const (
	// every is how often changed pages go out: others know of what was spent here after about that time.
	every = 2 * time.Second
	// syncEvery is how often the journal is synced: a machine that dies loses no more.
	syncEvery = time.Second
	tidyEvery = 10 * time.Minute
	lastFor   = 3 * time.Second
)

// Run carries pages until ctx ends, and what is left once more then.
func (c *Carrier) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.deps.Bus.Follow(ctx, bus.Usage, c.take) })
	group.Go(func() error {
		c.tick(ctx)
		return nil
	})
	err := group.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFor)
	defer cancel()
	if ok, _ := c.deps.Bus.Healthy(); ok {
		c.ship(last)
	}
	return errors.Join(err, c.deps.Ledger.CloseFile())
}

func (c *Carrier) tick(ctx context.Context) {
	sync, ship, tidy := time.NewTicker(syncEvery), time.NewTicker(every), time.NewTicker(tidyEvery)
	defer sync.Stop()
	defer ship.Stop()
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sync.C:
			c.warn(c.deps.Ledger.Sync(), "sync the ledger")
		case <-tidy.C:
			c.warn(c.deps.Ledger.Tidy(), "tidy the ledger")
		case <-ship.C:
			if ok, _ := c.deps.Bus.Healthy(); !ok {
				c.caught.Store(false) // until everything was shown again
				continue
			}
			if c.caught.Load() {
				c.deps.Ledger.Known(c.deps.Clock())
			}
			c.ship(ctx)
		}
	}
}

func (c *Carrier) warn(err error, what string) {
	if err != nil {
		c.deps.Log.Warn().Err(err).Msg("can't " + what)
	}
}

// ship hands on the pages that have changed. What fails is tried again at the next tick.
func (c *Carrier) ship(ctx context.Context) {
	pages, err := c.deps.Ledger.Unshipped()
	if err != nil {
		c.warn(err, "sync the ledger")
		return
	}
	for _, p := range pages {
		payload, err := encode(p)
		if err == nil {
			err = c.deps.Bus.Publish(ctx, subjectOf(p), "", payload)
		}
		if err != nil {
			c.deps.Log.Debug().Err(err).Msg("usage waits to be handed on")
			return
		}
		c.deps.Ledger.Shipped(p)
	}
}

func subjectOf(p ledger.Page) string {
	return bus.UsageSubject(p.Workspace, p.Node, p.Day.String(), fmt.Sprint(p.Life))
}

// closing is where it stands that a workspace was deleted.
func closing(workspace string) string { return bus.UsageSubject(workspace, "-", "-", "-") }

// take folds in what comes.
func (c *Carrier) take(m bus.Message) {
	if m.Sequence == 0 {
		c.caught.Store(true)
		c.deps.Ledger.Known(c.deps.Clock())
		return
	}
	var closed eventv1.WorkspaceUsageClosed
	if isClosing(m.Subject) {
		if err := proto.Unmarshal(m.Data, &closed); err != nil {
			c.deps.Log.Error().Err(err).Str("subject", m.Subject).Msg("usage can't be read")
			return
		}
		c.deps.Ledger.Close(closed.GetWorkspace(), closed.GetLife())
		return
	}
	p, err := decode(m.Data)
	if err != nil {
		c.deps.Log.Error().Err(err).Str("subject", m.Subject).Msg("usage can't be read")
		return
	}
	c.deps.Ledger.Fold(p)
}

// Forget begins a workspace's next life and takes the names of keys out of what it used. Repeating it does no harm.
func (c *Carrier) Forget(ctx context.Context, workspace string) error {
	life := uint64(max(0, c.deps.Clock().UnixMilli()))
	payload, err := proto.Marshal(&eventv1.WorkspaceUsageClosed{Workspace: workspace, Life: life})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if err := c.deps.Bus.Publish(ctx, closing(workspace), "", payload); err != nil {
		return err
	}
	c.deps.Ledger.Close(workspace, life)
	c.ship(ctx) // this process's own, without names
	subjects, err := c.deps.Bus.Subjects(ctx, bus.Usage, bus.UsageSubject(workspace, "*", "*", "*"))
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		if isClosing(subject) {
			continue
		}
		if err := c.anonymous(ctx, subject, life); err != nil {
			return err
		}
	}
	return nil
}

// anonymous adds up a page of an earlier life over keys. Processes that live do so with theirs when they hear of it; whoever is
// faster, the numbers are the same.
func (c *Carrier) anonymous(ctx context.Context, subject string, life uint64) error {
	m, err := c.deps.Bus.Last(ctx, bus.Usage, subject)
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := decode(m.Data)
	if err != nil || p.Life >= life || p.Node == c.deps.Ledger.Node() {
		return nil //nolint:nilerr // what can't be read was logged when it came
	}
	if !p.Anonymous() {
		return nil
	}
	payload, err := encode(p)
	if err == nil {
		err = c.deps.Bus.Swap(ctx, subject, m.Sequence, payload)
	}
	if errors.Is(err, bus.ErrConflict) { // its process was faster
		return nil
	}
	return err
}

func isClosing(subject string) bool {
	const end = ".-.-.-"
	return len(subject) > len(end) && subject[len(subject)-len(end):] == end
}

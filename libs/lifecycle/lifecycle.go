// Package lifecycle starts the parts of a process in order, runs them, and stops them in reverse order within a bound. It
// guarantees that a part outlives everything that was added after it, so that a server drains while the connections it
// uses are still there, and that Run returns: a part that will not stop is named in the error and left behind.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Component is one part of a process. Any of its functions may be nil.
type Component struct {
	// Name says which part it is, in logs and errors.
	Name string
	// Start makes the part ready for those added after it. An error ends the process's start.
	Start func(context.Context) error
	// Run does the part's work until its context ends. It begins right after Start, so that later parts may rely on it. An
	// error stops the whole group; returning nil early means that the work is done.
	Run func(context.Context) error
	// Stop drains the part. When it returns, or its bound is over, the context of Run ends.
	Stop func(context.Context) error
}

// Options configures a Group.
type Options struct {
	Log zerolog.Logger
	// StopTimeout bounds the whole stop, 15 s when zero. A part gets what is left but 5 s, which is what all others together
	// need to close what they hold, or half of it when that is more, and the last one all of it: calls under way get nearly all
	// the time, and one that hangs leaves some for the others.
	StopTimeout time.Duration
	// DrainDelay is the time between OnDrain and the first stop, in which load balancers notice; zero for none.
	DrainDelay time.Duration
	// OnStarted is called once everything has started.
	OnStarted func()
	// OnDrain is called before anything is stopped: the place to turn readiness off.
	OnDrain func()
}

// Group runs components. It is for one Run.
type Group struct {
	o          Options
	components []Component
}

const (
	defaultStopTimeout = 15 * time.Second
	// reserve is what a part leaves to those that stop after it.
	reserve = 5 * time.Second
)

// New returns an empty group.
func New(o Options) *Group {
	if o.StopTimeout <= 0 {
		o.StopTimeout = defaultStopTimeout
	}
	return &Group{o: o}
}

// Add appends a component: it starts after those before it and stops ahead of them. Add only before Run.
func (g *Group) Add(c Component) { g.components = append(g.components, c) }

// started is a component that has to be stopped.
type started struct {
	Component
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned
}

// Run starts everything, waits until ctx ends or a component fails, and stops everything. The end of ctx is no error. The
// contexts that components get carry ctx's values but end in stop order, not when ctx does.
func (g *Group) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failures failures
	fail := func(err error) {
		g.o.Log.Error().Err(err).Msg("a component failed, stopping")
		failures.add(err)
		cancel()
	}

	var running []*started
	for _, c := range g.components {
		s, err := start(ctx, c, fail)
		if s != nil {
			running = append(running, s)
		}
		if err != nil || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() == nil && g.o.OnStarted != nil {
		g.o.OnStarted()
	}
	<-ctx.Done()
	stopped := g.stop(context.WithoutCancel(ctx), running)
	return errors.Join(append(failures.all(), stopped...)...)
}

// failures collects errors from several goroutines, some of which may still run when they are read.
type failures struct {
	mu   sync.Mutex
	errs []error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

func (f *failures) all() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.errs)
}

// start runs c.Start and, once it has succeeded, sets c.Run going.
func start(ctx context.Context, c Component, fail func(error)) (*started, error) {
	if c.Start != nil {
		if err := c.Start(ctx); err != nil {
			if ctx.Err() == nil {
				fail(fmt.Errorf("start %s: %w", c.Name, err))
			}
			return nil, err
		}
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &started{Component: c, cancel: cancel, done: make(chan struct{})}
	if c.Run == nil {
		close(s.done)
		return s, nil
	}
	go func() {
		defer close(s.done)
		if err := c.Run(run); err != nil && (run.Err() == nil || !isCanceled(err)) {
			fail(fmt.Errorf("run %s: %w", c.Name, err))
		}
	}()
	return s, nil
}

// isCanceled says whether err is the end of a context and nothing else, such as an error of closing joined to it.
func isCanceled(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !isCanceled(err) })
	}
	return errors.Is(err, context.Canceled)
}

// stop drains and then stops the components in reverse order, within the bound.
func (g *Group) stop(ctx context.Context, running []*started) []error {
	if g.o.OnDrain != nil {
		g.o.OnDrain()
	}
	if g.o.DrainDelay > 0 && len(running) > 0 {
		time.Sleep(g.o.DrainDelay)
	}
	end := time.Now().Add(g.o.StopTimeout)
	var errs []error
	for i := len(running) - 1; i >= 0; i-- {
		s := running[i]
		bound := time.Until(end)
		if i > 0 {
			bound = max(bound/2, bound-reserve)
		}
		began := time.Now()
		err := stopOne(ctx, s, bound)
		g.o.Log.Debug().Str("component", s.Name).Dur("took", time.Since(began)).Err(err).Msg("stopped")
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.Name, err))
		}
	}
	return errs
}

var errHung = errors.New("did not end in time")

// stopOne calls Stop, ends Run's context and waits for Run, all within bound.
func stopOne(ctx context.Context, s *started, bound time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	defer s.cancel()

	var err error
	if s.Stop != nil {
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(ctx) }()
		select {
		case err = <-stopped:
		case <-ctx.Done():
			err = errHung
		}
	}
	s.cancel()
	select {
	case <-s.done:
	case <-ctx.Done():
		select {
		case <-s.done:
		default:
			if err == nil {
				err = errHung
			}
		}
	}
	return err
}

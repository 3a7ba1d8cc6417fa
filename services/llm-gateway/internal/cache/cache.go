// Package cache has an answer made once for all who ask the same: what is asked while an answer is under way gets that one, piece
// by piece as it comes, and what is asked later gets what was kept. It knows neither what is asked nor what pieces are; callers
// hash the one ([NewKey]) and encode the other.
package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// Mode says how a request uses the cache.
type Mode uint8

// The modes. Default is none of its own: the route's.
const (
	Default  Mode = iota
	Off           // neither read nor written
	On            // read and written
	ReadOnly      // read
	Refresh       // written: the answer is made again
	Only          // read; what is not there is not made. It has no name: a request may want that, a route can't
)

var modes = map[string]Mode{"": Default, "off": Off, "on": On, "read-only": ReadOnly, "refresh": Refresh}

// ParseMode returns the mode of a name; the empty one is Default.
func ParseMode(name string) (Mode, error) {
	m, ok := modes[name]
	if !ok {
		return Off, fmt.Errorf("%q is none of off, on, read-only, refresh", name)
	}
	return m, nil
}

// Store keeps answers. What it has not is nil without an error.
type Store interface {
	Get(ctx context.Context, workspace, key string) ([]byte, error)
	Put(ctx context.Context, workspace, key string, value []byte) error
	Forget(ctx context.Context, workspace string) error
}

// Meter counts. Result is hit, shared, miss or refresh; op is get or put.
type Meter interface {
	CacheAsked(result string)
	CacheFailed(op string)
}

// Options bound what is kept.
type Options struct {
	// Age is how old an answer may be.
	Age time.Duration
	// Bytes is how large an answer may be.
	Bytes int
}

// Deps is what a Cache works with.
type Deps struct {
	Store Store
	Meter Meter
	Clock func() time.Time
}

// Cache is safe for concurrent use.
type Cache struct {
	deps Deps

	mu      sync.Mutex
	opts    Options
	flights map[flightKey]*flight
}

type flightKey struct {
	workspace, key string
	fresh          bool // what is kept does not do
}

// New returns a Cache.
func New(o Options, d Deps) *Cache {
	return &Cache{deps: d, opts: o, flights: map[flightKey]*flight{}}
}

// Use has answers from now on kept by other bounds.
func (c *Cache) Use(o Options) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opts = o
}

// Forget removes what is kept of a workspace. Answers that are under way go on for those who wait for them; they are not kept, and
// nobody else gets them.
func (c *Cache) Forget(ctx context.Context, workspace string) error {
	for _, put := range c.abandon(workspace) { // it would be there afterwards
		select {
		case <-put:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.deps.Store.Forget(ctx, workspace)
}

// abandon has no flight of a workspace kept or joined any more, and returns the ends of those that are being put into the store.
func (c *Cache) abandon(workspace string) (puts []<-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, f := range c.flights {
		if key.workspace != workspace {
			continue
		}
		if put := f.forget(); put != nil {
			puts = append(puts, put)
		}
		delete(c.flights, key)
	}
	return puts
}

// Origin says where an answer comes from.
type Origin uint8

// The origins.
const (
	// Made is an answer that this call's work has made.
	Made Origin = iota
	// Shared is one that another call's work was making.
	Shared
	// Kept is one that was made before.
	Kept
)

// Call is one request.
type Call struct {
	Workspace string
	// Key is what is asked, see [NewKey].
	Key  string
	Mode Mode
}

// Work makes an answer. It hands pieces to out, in order and from one goroutine, and returns what there is to say at the end, and
// whether others may get this answer later. Its context goes on while anybody waits for the answer, who asked for it first or not.
type Work func(ctx context.Context, out func(piece []byte) error) (end []byte, keep bool, err error)

// Do hands the pieces of an answer to to, with where they come from, and returns what is said at its end. Work is called at most
// once, in another goroutine, and may go on after Do has returned because ctx ended. A Mode of Default is Off, where work is done
// in the caller's goroutine. With Only it is never called, and what is not kept is a fault, NOT_CACHED.
func (c *Cache) Do(ctx context.Context, call Call, work Work, to func(from Origin, piece []byte) error) (end []byte, from Origin, err error) {
	if call.Mode == Off || call.Mode == Default {
		end, _, err := work(ctx, func(piece []byte) error { return to(Made, piece) })
		return end, Made, err
	}
	if call.Mode == Only {
		return c.read(ctx, call, to)
	}
	for {
		f, leads := c.join(ctx, call, work)
		end, delivered, err := f.follow(ctx, leads, to)
		c.leave(f)
		// Who asked first may have had less time, or gone away just as this call came: the answer is made for this one then.
		if err != nil && !leads && delivered == 0 && ctx.Err() == nil && f.abandoned(err) {
			continue
		}
		from := f.origin(leads)
		result := map[Origin]string{Kept: "hit", Shared: "shared", Made: "miss"}[from]
		if from == Made && call.Mode == Refresh {
			result = "refresh"
		}
		c.deps.Meter.CacheAsked(result)
		return end, from, err
	}
}

// join returns the flight that makes what call asks for, and whether it began with this call.
func (c *Cache) join(ctx context.Context, call Call, work Work) (*flight, bool) {
	key := flightKey{workspace: call.Workspace, key: call.Key, fresh: call.Mode == Refresh}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[key]; f != nil {
		f.add(call.Mode != ReadOnly)
		return f, false
	}
	flying, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if at, ok := ctx.Deadline(); ok {
		flying, cancel = deadline(flying, cancel, at)
	}
	f := &flight{changed: make(chan struct{}), cancel: cancel, waiting: 1, keeps: call.Mode != ReadOnly}
	c.flights[key] = f
	go func() {
		defer cancel()
		c.fly(flying, key, f, work)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.flights[key] == f { // it may have been forgotten, and another one begun
			delete(c.flights, key)
		}
	}()
	return f, true
}

func deadline(ctx context.Context, cancel context.CancelFunc, at time.Time) (context.Context, context.CancelFunc) {
	ctx, end := context.WithDeadline(ctx, at)
	return ctx, func() { end(); cancel() }
}

// leave ends a call's part in a flight; the last one ends its work.
func (c *Cache) leave(f *flight) {
	c.mu.Lock() // nobody joins meanwhile
	defer c.mu.Unlock()
	f.remove()
}

const (
	// getFor is how long the store may take: an answer is not held up for longer by a cache that is away.
	getFor = 300 * time.Millisecond
	putFor = 5 * time.Second
)

// fly finds the answer in the store or has it made.
func (c *Cache) fly(ctx context.Context, key flightKey, f *flight, work Work) {
	c.mu.Lock()
	o := c.opts
	c.mu.Unlock()
	if !key.fresh {
		if r, ok := c.get(ctx, key.workspace, key.key, o.Age); ok {
			f.found(r)
			return
		}
	}
	end, keep, err := guard(ctx, work, f.append)
	f.finish(end, err)
	if err != nil || !keep || ctx.Err() != nil {
		return
	}
	r := f.recording(c.deps.Clock())
	data := r.encode()
	if len(data) > o.Bytes {
		return
	}
	put, keeps := f.keep()
	if !keeps {
		return
	}
	defer close(put)
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), putFor)
	defer cancel()
	if err := c.deps.Store.Put(bound, key.workspace, key.key, data); err != nil {
		c.deps.Meter.CacheFailed("put")
	}
}

// get returns what is kept and is not too old.
func (c *Cache) get(ctx context.Context, workspace, key string, age time.Duration) (recording, bool) {
	bound, cancel := context.WithTimeout(ctx, getFor)
	defer cancel()
	data, err := c.deps.Store.Get(bound, workspace, key)
	if err != nil {
		c.deps.Meter.CacheFailed("get")
	}
	r, ok := decode(data)
	return r, ok && c.deps.Clock().Sub(r.made) < age
}

// read hands over what is kept. An answer that is being made is not kept yet.
func (c *Cache) read(ctx context.Context, call Call, to func(Origin, []byte) error) (end []byte, from Origin, err error) {
	c.mu.Lock()
	age := c.opts.Age
	c.mu.Unlock()
	r, ok := c.get(ctx, call.Workspace, call.Key, age)
	if !ok {
		c.deps.Meter.CacheAsked("miss")
		return nil, Made, NotKept()
	}
	c.deps.Meter.CacheAsked("hit")
	for _, piece := range r.pieces {
		if err := to(Kept, piece); err != nil {
			return nil, Kept, err
		}
	}
	return r.end, Kept, nil
}

// NotKept is the fault of who wants what is kept or nothing, and gets nothing.
func NotKept() error {
	return fault.New(fault.NotFound, fault.NotCached, "there is no answer to this in the cache, and only one from there is wanted")
}

// guard calls work. A panic is the flight's end and not the process's, as it would be in a handler.
func guard(ctx context.Context, work Work, out func([]byte) error) (end []byte, keep bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			end, keep, err = nil, false, fault.Wrap(fmt.Errorf("panic: %v", p), fault.Internal, fault.ReasonInternal, "something went wrong here")
		}
	}()
	return work(ctx, out)
}

// flight is an answer while it is made, for all who wait for it.
type flight struct {
	cancel context.CancelFunc

	mu      sync.Mutex
	changed chan struct{} // closed at each change, then replaced
	pieces  [][]byte
	end     []byte
	err     error
	done    bool
	stored  bool          // it was in the store
	keeps   bool          // somebody wants it kept
	put     chan struct{} // closed once it is kept; nil before that begins
	waiting int
	left    bool // nobody waits any more
}

func (f *flight) add(keeps bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting++
	f.keeps = f.keeps || keeps
}

func (f *flight) remove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting--; f.waiting == 0 && !f.done {
		f.left = true
		f.cancel()
	}
}

func (f *flight) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *flight) append(piece []byte) error {
	f.change(func() { f.pieces = append(f.pieces, piece) })
	return nil
}

func (f *flight) finish(end []byte, err error) {
	f.change(func() { f.end, f.err, f.done = end, err, true })
}

func (f *flight) found(r recording) {
	f.change(func() { f.pieces, f.end, f.done, f.stored = r.pieces, r.end, true, true })
}

func (f *flight) recording(now time.Time) recording {
	f.mu.Lock()
	defer f.mu.Unlock()
	return recording{made: now, end: f.end, pieces: f.pieces}
}

// keep says whether the flight is to be kept. The caller closes put when it is.
func (f *flight) keep() (put chan struct{}, keeps bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeps {
		f.put = make(chan struct{})
	}
	return f.put, f.keeps
}

// forget has the flight not kept. If that has begun, the channel tells its end.
func (f *flight) forget() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keeps = false
	return f.put
}

// origin is where the flight's pieces come from, for the call that it began with or another one.
func (f *flight) origin(leads bool) Origin {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.stored:
		return Kept
	case leads:
		return Made
	default:
		return Shared
	}
}

// abandoned says whether a flight failed because others had no more time or use for it.
func (f *flight) abandoned(err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// follow hands over pieces as they come, until the answer ends or ctx does.
func (f *flight) follow(ctx context.Context, leads bool, to func(Origin, []byte) error) (end []byte, delivered int, err error) {
	for {
		f.mu.Lock()
		pieces, changed, done := f.pieces[delivered:], f.changed, f.done
		end, err = f.end, f.err
		f.mu.Unlock()
		from := f.origin(leads)
		for _, piece := range pieces {
			if err := to(from, piece); err != nil {
				return nil, delivered, err
			}
			delivered++
		}
		if done {
			return end, delivered, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, delivered, ctx.Err()
		}
	}
}

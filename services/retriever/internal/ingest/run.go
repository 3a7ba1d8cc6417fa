package ingest

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

const (
	sweepEvery = 10 * time.Minute
	// forgotten is how long a queued document may be without news before its job is queued once more. A second job for the
	// same version does no harm.
	forgotten = 15 * time.Minute
	// unsure is how many documents are queued once more when the process starts: those that were recorded last, since a crash
	// may have come between their record and their job. It is more than commits run at once.
	unsure = 512
)

// Pulse is told that the work goes on.
type Pulse interface {
	Beat()
	Interval() time.Duration
}

// Run works on jobs and sweeps up after crashes until ctx ends. It stops beating when a job is wedged.
func (in *Ingester) Run(ctx context.Context, pulse Pulse) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		in.every(ctx, pulse.Interval(), func(context.Context) {
			if in.stages.longest() < in.config.MaxStage && !in.stages.stuck() {
				pulse.Beat()
			}
		})
		return nil
	})
	select {
	case <-ctx.Done():
		return group.Wait()
	case <-in.deps.Catalog.Synced():
	}
	consume := func() error { return in.deps.Queue.Consume(ctx, in.work, in.dead) }
	if in.deps.Leases == nil {
		// What a crash has left comes first: then work begins with everything known.
		in.requeue(ctx)
		checked := in.check(ctx)
		group.Go(consume)
		group.Go(func() error { return in.tidy(ctx, checked) })
		return group.Wait()
	}
	group.Go(consume)
	group.Go(func() error {
		return in.deps.Leases.Alone(ctx, "retriever-housekeeping", func(ctx context.Context) error {
			in.requeue(ctx)
			return in.tidy(ctx, in.check(ctx))
		})
	})
	return group.Wait()
}

// tidy restores what the store lacks and sweeps up until ctx ends. It is told how the first check went.
func (in *Ingester) tidy(ctx context.Context, checked error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		in.restore(ctx, checked)
		return nil
	})
	group.Go(func() error {
		in.every(ctx, sweepEvery, in.sweep)
		return nil
	})
	return group.Wait()
}

// every calls do at once and then at every interval until ctx ends.
func (in *Ingester) every(ctx context.Context, interval time.Duration, do func(context.Context)) {
	ticker := time.NewTicker(max(interval, time.Second))
	defer ticker.Stop()
	for {
		do(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// requeue queues the documents that were recorded last and are not ready. Most have their job: this one is then dropped as a
// repetition, or finds nothing to do.
func (in *Ingester) requeue(ctx context.Context) {
	waiting := in.deps.Catalog.Select(func(d document.Document) bool {
		return !d.Deleting && (d.State == document.Queued || d.State == document.Processing)
	})
	slices.SortFunc(waiting, func(a, b document.Document) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
	for _, d := range waiting[:min(unsure, len(waiting))] {
		if err := in.enqueue(ctx, d); err != nil {
			in.deps.Observer.Warn(ctx, "queue document "+d.ID+" again", err)
			return // the sweep does it later
		}
	}
}

// sweep finishes what a crash or an outage has left: deletions half done, documents whose job was never queued, parts of
// uploads that nobody committed.
func (in *Ingester) sweep(ctx context.Context) {
	now := in.deps.Clock()
	for _, d := range in.deps.Catalog.Select(func(d document.Document) bool { return d.Deleting }) {
		if _, err := in.erase(ctx, d); err != nil {
			in.deps.Observer.Warn(ctx, "erase document "+d.ID, err)
		}
	}
	waiting := func(d document.Document) bool {
		return !d.Deleting && (d.State == document.Queued || d.State == document.Processing) && now.Sub(d.UpdatedAt) > forgotten
	}
	in.requeueLost(ctx, in.deps.Catalog.Select(waiting))
	uploads, err := in.deps.Uploads.List(ctx)
	if err != nil {
		in.deps.Observer.Warn(ctx, "list uploads", err)
	}
	for _, u := range uploads {
		if now.After(u.ExpiresAt) {
			if err := in.expire(ctx, u); err != nil {
				in.deps.Observer.Warn(ctx, "drop upload "+u.ID, err)
			}
		}
	}
}

// requeueLost queues documents again that have waited for long, where there are fewer jobs than such documents: some were lost, and nobody
// knows which. Where there are as many, the queue is long and that is all.
func (in *Ingester) requeueLost(ctx context.Context, waiting []document.Document) {
	if len(waiting) == 0 {
		return
	}
	jobs, err := in.deps.Queue.Jobs(ctx)
	if err != nil {
		in.deps.Observer.Warn(ctx, "count jobs", err)
		return
	}
	of := map[string]int{}
	for _, d := range waiting {
		of[d.Workspace]++
	}
	for _, d := range waiting {
		if jobs[d.Workspace] >= of[d.Workspace] {
			continue
		}
		if err := in.enqueue(ctx, d); err != nil {
			in.deps.Observer.Warn(ctx, "queue document "+d.ID+" again", err)
			return
		}
	}
}

// expire drops an upload, and its parts unless they have become a document's.
func (in *Ingester) expire(ctx context.Context, u Upload) error {
	d, err := in.deps.Catalog.Current(ctx, u.Workspace, u.DocumentID, 0)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if d.Newest.Hash != u.Hash && d.Live.Hash != u.Hash {
		d.Workspace, d.ID = u.Workspace, u.DocumentID
		if err := in.removeOriginal(ctx, d, document.Original{Hash: u.Hash, Parts: u.parts()}); err != nil {
			return err
		}
	}
	return in.deps.Uploads.Delete(ctx, u.Workspace, u.ID)
}

// memory bounds the originals that are held in memory at once.
type memory struct {
	limit int64
	free  *semaphore.Weighted
}

func newMemory(limit int64) *memory { return &memory{limit, semaphore.NewWeighted(limit)} }

// acquire waits until size bytes are free. An original larger than the limit waits until nothing else is held.
func (m *memory) acquire(ctx context.Context, size int64) (release func(), err error) {
	size = min(max(size, 1), m.limit)
	if err := m.free.Acquire(ctx, size); err != nil {
		return nil, err
	}
	return func() { m.free.Release(size) }, nil
}

// stages knows in which stage the running jobs are, and since when.
type stages struct {
	mu      sync.Mutex
	running map[*stage]struct{}
	clock   func() time.Time
	left    func(stage document.Stage, took time.Duration)
}

type stage struct {
	mu    sync.Mutex
	at    document.Stage
	since time.Time
	until time.Time // by when what this process does alone has to end; zero while it waits for others

	waits bool // for memory or another process: however long, that is no sign of being wedged

	quiet bool // the stages don't show on the record
}

func (s *stage) name() document.Stage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *stages) begin() *stage {
	at := &stage{at: document.Stored, since: s.clock()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[at] = struct{}{}
	return at
}

func (s *stages) enter(at *stage, next document.Stage) {
	at.mu.Lock()
	defer at.mu.Unlock()
	now := s.clock()
	s.left(at.at, now.Sub(at.since))
	at.at, at.since = next, now
}

func (s *stages) end(at *stage) {
	at.mu.Lock()
	s.left(at.at, s.clock().Sub(at.since))
	at.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, at)
}

// longest is how long a running job has been in its stage at most.
func (s *stages) longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest := time.Duration(0)
	for at := range s.running {
		at.mu.Lock()
		if !at.waits {
			longest = max(longest, s.clock().Sub(at.since))
		}
		at.mu.Unlock()
	}
	return longest
}

const (
	// patience is how long a worker may be at work on its own, and with it perMegabyte for each megabyte of the document,
	// before it counts as stuck: many times what it takes.
	patience    = 30 * time.Second
	perMegabyte = 5 * time.Second
)

// wait begins what other jobs or processes decide the length of, and have bounds for.
func (s *stages) wait(at *stage) (resume func()) {
	at.mu.Lock()
	defer at.mu.Unlock()
	at.waits = true
	return func() {
		at.mu.Lock()
		defer at.mu.Unlock()
		at.waits, at.since = false, s.clock()
	}
}

// work begins what this process does alone: parsing, cutting, indexing. Waiting for NATS is not that, and no sign of being
// stuck.
func (s *stages) work(at *stage, size int64) (done func()) {
	at.mu.Lock()
	defer at.mu.Unlock()
	at.until = s.clock().Add(patience + time.Duration(size>>20)*perMegabyte)
	return func() {
		at.mu.Lock()
		defer at.mu.Unlock()
		at.until = time.Time{}
	}
}

// stuck says whether a worker has been at work on its own for too long.
func (s *stages) stuck() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	for at := range s.running {
		at.mu.Lock()
		late := !at.until.IsZero() && now.After(at.until)
		at.mu.Unlock()
		if late {
			return true
		}
	}
	return false
}

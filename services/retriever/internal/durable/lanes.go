package durable

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
)

const (
	// group names the consumers of jobs, one for each workspace that has some.
	group = "retriever-ingest"
	// lookEvery is how often the queue is looked through for workspaces with jobs. New jobs are heard of before.
	lookEvery = 10 * time.Second
	// laneIdle is how long a workspace's consumer is kept that has no jobs.
	laneIdle = time.Minute
	// forgetLane is how long the server keeps a consumer that no process uses.
	forgetLane = 10 * time.Minute
	// maxLanes bounds the workspaces that are consumed at once. Others wait until one of them has no more jobs.
	maxLanes = 1000
)

// lanes are the workspaces whose jobs are consumed.
type lanes struct {
	queue  *Queue
	handle func(context.Context, ingest.Job, int) error
	dead   func(context.Context, ingest.Job, error)

	alone   bool // there is no consumer of an earlier release
	running sync.WaitGroup
	failed  chan error // capacity 1

	mu   sync.Mutex
	open map[string]*lane
}

type lane struct {
	end   context.CancelFunc
	since time.Time // when it was last seen to have jobs
}

// Consume works on jobs until ctx ends, on those of different workspaces by turns.
func (q *Queue) Consume(
	ctx context.Context, handle func(context.Context, ingest.Job, int) error, dead func(context.Context, ingest.Job, error),
) error {
	ctx, cancel := context.WithCancel(ctx)
	l := &lanes{queue: q, handle: handle, dead: dead, failed: make(chan error, 1), open: map[string]*lane{}}
	defer l.running.Wait()
	defer cancel()
	heard := make(chan string, 256)
	l.running.Go(func() {
		_ = q.bus.Overhear(ctx, bus.JobSubject("ingest", "*"), func(subject string, _ []byte) {
			select {
			case heard <- workspaceOf(subject):
			default: // seen when it is looked for
			}
		})
	})
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	l.look(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-l.failed:
			return err
		case workspace := <-heard:
			l.serve(ctx, workspace)
		case <-ticker.C:
			l.look(ctx)
		}
	}
}

// Jobs returns how many jobs of each workspace are not done.
func (q *Queue) Jobs(ctx context.Context) (map[string]int, error) {
	subjects, err := q.bus.Backlog(ctx, group, bus.Jobs, bus.JobSubject("ingest", "*"))
	if err != nil {
		return nil, err
	}
	out := make(map[string]int, len(subjects))
	for subject, n := range subjects {
		out[workspaceOf(subject)] = int(n)
	}
	return out, nil
}

// workspaceOf returns whose job a subject is of.
func workspaceOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// look opens a lane for every workspace that has jobs, and closes those that have had none for a while.
func (l *lanes) look(ctx context.Context) {
	// Earlier releases had one consumer for all workspaces; on a work queue no two may be for the same jobs.
	if !l.alone {
		if err := l.queue.bus.Forget(ctx, bus.Jobs, group); err != nil {
			return // NATS is away
		}
		l.alone = true
	}
	waiting, err := l.queue.bus.Backlog(ctx, group, bus.Jobs, bus.JobSubject("ingest", "*"))
	if err != nil {
		return
	}
	for subject := range waiting {
		l.serve(ctx, workspaceOf(subject))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, open := range l.open {
		if time.Since(open.since) > laneIdle {
			open.end()
		}
	}
}

// serve opens a workspace's lane unless it is.
func (l *lanes) serve(ctx context.Context, workspace string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if open, ok := l.open[workspace]; ok {
		open.since = time.Now()
		return
	}
	if len(l.open) == maxLanes {
		return
	}
	ctx, end := context.WithCancel(ctx)
	l.open[workspace] = &lane{end, time.Now()}
	l.running.Go(func() {
		defer end()
		err := l.run(ctx, workspace)
		l.mu.Lock()
		delete(l.open, workspace)
		l.mu.Unlock()
		if err != nil {
			select {
			case l.failed <- err:
			default:
			}
		}
	})
}

// run works on a workspace's jobs until ctx ends. As many as may run are taken from the queue; they wait for their turn with their
// leases kept.
func (l *lanes) run(ctx context.Context, workspace string) error {
	consumer := bus.Consumer{
		Stream: bus.Jobs, Durable: group + "-" + workspace, Group: group, Subject: bus.JobSubject("ingest", workspace), Forget: forgetLane,
		AckWait: lease, MaxDeliver: ingest.MaxAttempts(), MaxInFlight: l.queue.ofWorkspace, Backoff: ingest.Backoff(),
		OnDead: func(ctx context.Context, m bus.Message, cause error) {
			if j, err := job(m); err == nil {
				l.dead(principal(ctx, j), j, cause)
			}
		},
	}
	return l.queue.bus.Consume(ctx, consumer, func(work context.Context, m bus.Message) error {
		j, err := job(m)
		if err != nil {
			return bus.Terminate(err)
		}
		stop := extend(work, m)
		defer stop()
		leave, err := l.queue.line.Enter(work, line.Party{Workspace: j.Workspace}, ctx.Done(), nil)
		if err != nil {
			return errors.Join(bus.ErrInterrupted, err)
		}
		defer leave()
		return l.handle(principal(work, j), j, int(m.Deliveries))
	})
}

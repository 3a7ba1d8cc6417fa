package ingest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// Backoff is the wait before each further attempt at a job that something else failed: a store or NATS that is away. In all it is
// somewhat more than an hour; a document that was failed by an outage longer than that is queued again by [Ingester.RetryAll].
func Backoff() []time.Duration {
	return []time.Duration{
		time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 15 * time.Minute, 15 * time.Minute,
	}
}

// MaxAttempts is how often a job is tried in all, as long as its attempts end.
func MaxAttempts() int { return len(Backoff()) + 1 }

// maxErrors is how often a job is tried that fails of nothing that is known to pass.
const maxErrors = 5

// passes says whether what an attempt failed of is something that is away, and may be back.
func passes(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Exhausted:
		return true
	default:
		return false
	}
}

// errDied is the cause of a failure that nobody lived to tell.
var errDied = errors.New("worker died")

// maxDeaths is how many attempts at a job may end with the end of their process. Documents are read in child processes, so a worker
// seldom dies of one: a machine that is short of memory, or rolled again and again, must not cost a large document that was at work.
const maxDeaths = 7

// again records what an attempt failed of that is to be followed by another.
func (in *Ingester) again(ctx context.Context, j Job, at document.Stage, attempt int, cause error) {
	wait := Backoff()[min(max(attempt, 1), MaxAttempts()-1)-1]
	now := in.deps.Clock().UTC()
	_, err := in.deps.Catalog.Change(ctx, j.Workspace, j.DocumentID, func(d *document.Document) error {
		if d.ID == "" || d.Deleting || d.Newest.Sequence != j.Sequence || d.State == document.Ready || d.State == document.Failed {
			return errSuperseded
		}
		d.State, d.LastError, d.RetryAt, d.UpdatedAt = document.Queued, failure(cause, at, now), now.Add(wait), now
		d.Attempts, d.Errors = max(d.Attempts, attempt), d.Errors+1
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) && ctx.Err() == nil {
		in.deps.Observer.Warn(ctx, "record the failed attempt at document "+j.DocumentID, err)
	}
}

// failure is a cause as it is recorded.
func failure(cause error, at document.Stage, now time.Time) *document.Failure {
	shown := fault.As(cause)
	return &document.Failure{
		Stage: at, Reason: fault.ReasonName(shown.Reason), Message: bounded(shown.Message), At: now, Permanent: shown.Kind == fault.Invalid || errors.Is(cause, errDied),
	}
}

// room refuses a document for which there is no place in its workspace's queue.
func (in *Ingester) room(workspace string, size int64) error {
	most, mostBytes := in.config.MaxQueue, in.config.MaxQueued
	if most == 0 && mostBytes == 0 {
		return nil
	}
	documents, bytes, perSecond, bytesPerSecond := in.deps.Catalog.Waiting(workspace, in.deps.Clock())
	full := most > 0 && documents >= most
	heavy := mostBytes > 0 && documents > 0 && bytes+size > mostBytes // one alone is let in, whatever its size
	if !full && !heavy {
		return nil
	}
	// A tenth of the queue is worth coming back for; at least a second, at most a minute.
	wait := time.Minute
	switch {
	case full && perSecond > 0:
		wait = time.Duration(float64(most) / 10 / perSecond * float64(time.Second))
	case heavy && bytesPerSecond > 0:
		wait = time.Duration(float64(mostBytes) / 10 / bytesPerSecond * float64(time.Second))
	}
	return fault.New(fault.Exhausted, fault.QueueFull,
		"%d documents of this workspace, of %d MiB, wait to be taken in, as many as may; send more when some of them are done", documents, bytes>>20).
		WithRetryAfter(min(max(wait, time.Second), time.Minute))
}

// Retry queues a failed document again.
func (in *Ingester) Retry(ctx context.Context, by document.Reader, workspace, id string) (document.Document, error) {
	if _, err := in.deps.Catalog.Get(workspace, id, by); err != nil {
		return document.Document{}, err
	}
	d, err := in.deps.Catalog.Change(ctx, workspace, id, func(d *document.Document) error {
		switch {
		case d.Deleting:
			return errDeleting
		case d.State != document.Failed:
			return fault.New(fault.Precondition, fault.ReasonConflict, "only a failed document can be tried again; this one is %s", d.State)
		}
		if err := in.room(workspace, d.Newest.Size); err != nil {
			return err
		}
		d.Newest.Sequence = in.sequence(*d)
		in.renew(d, in.deps.Clock().UTC())
		return nil
	})
	if err != nil {
		return document.Document{}, err
	}
	return d, in.enqueue(ctx, d)
}

// maxRetries is how many documents one call queues again.
const maxRetries = 1000

// Retried says what became of failed documents.
type Retried struct {
	Retried   int
	Permanent int // left, since trying again can't help
	Remaining int // left for another call
}

// RetryAll queues failed documents again that a filter takes. Without their ids, or the reasons they failed of, being named it leaves
// those that trying again can't help, or that somebody has canceled, unless permanent is set.
func (in *Ingester) RetryAll(ctx context.Context, workspace string, f catalog.Filter, permanent bool) (Retried, error) {
	f.State = document.Failed
	failed, err := in.deps.Catalog.Matching(workspace, f)
	if err != nil {
		return Retried{}, err
	}
	var out Retried
	if !permanent && len(f.IDs) == 0 {
		all := len(failed)
		failed = slices.DeleteFunc(failed, func(d document.Document) bool {
			named := d.Failure != nil && slices.Contains(f.Reasons, d.Failure.Reason)
			return !named && d.Failure != nil && (d.Failure.Permanent || d.Failure.Reason == fault.ReasonName(fault.ReasonCanceled))
		})
		out.Permanent = all - len(failed)
	}
	out.Remaining = max(0, len(failed)-maxRetries)
	var retried, left atomic.Int64
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(eraseAtOnce)
	for _, d := range failed[:min(len(failed), maxRetries)] {
		group.Go(func() error {
			_, err := in.Retry(work, f.Reader, workspace, d.ID)
			switch kind := fault.KindOf(err); {
			case err == nil:
				retried.Add(1)
			case kind == fault.NotFound, kind == fault.Precondition, kind == fault.Conflict: // somebody else was at it
			case fault.ReasonOf(err) == fault.QueueFull && retried.Load() > 0:
				left.Add(1)
			default:
				return err
			}
			return nil
		})
	}
	err = group.Wait()
	out.Retried, out.Remaining = int(retried.Load()), out.Remaining+int(left.Load())
	return out, err
}

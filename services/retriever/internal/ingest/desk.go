package ingest

import (
	"context"
	"errors"
	"sync"
)

// What ends a job from outside.
var (
	errCanceled = errors.New("ingestion was canceled")
	errDeleted  = errors.New("document was deleted")
)

// desk lets one goroutine at a time work on a document: two versions that are taken in at once would each remove the other's
// chunks as leftovers. It also knows how to stop the job that is at work.
type desk struct {
	mu    sync.Mutex
	seats map[string]*seat
}

type seat struct {
	free  chan struct{} // capacity 1: whoever puts something in has the document
	users int           // under desk.mu, with those who wait
	stop  context.CancelCauseFunc
}

// sit waits for a document and returns a context that [desk.stop] ends.
func (d *desk) sit(ctx context.Context, workspace, id string) (_ context.Context, leave func(), err error) {
	key := workspace + "/" + id
	d.mu.Lock()
	s, ok := d.seats[key]
	if !ok {
		s = &seat{free: make(chan struct{}, 1)}
		d.seats[key] = s
	}
	s.users++
	d.mu.Unlock()
	rise := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(d.seats, key)
		}
	}
	select {
	case s.free <- struct{}{}:
	case <-ctx.Done():
		rise()
		return nil, nil, context.Cause(ctx)
	}
	work, stop := context.WithCancelCause(ctx)
	d.mu.Lock()
	s.stop = stop
	d.mu.Unlock()
	return work, func() {
		d.mu.Lock()
		s.stop = nil
		d.mu.Unlock()
		stop(nil)
		<-s.free
		rise()
	}, nil
}

// stop ends the context of whoever works on a document, if anybody does.
func (d *desk) stop(workspace, id string, cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.seats[workspace+"/"+id]; ok && s.stop != nil {
		s.stop(cause)
	}
}

// atDeskOf waits until nobody else works on a document, in this process or another one.
func (in *Ingester) atDeskOf(ctx context.Context, workspace, id string) (_ context.Context, leave func(), err error) {
	ctx, rise, err := in.desk.sit(ctx, workspace, id)
	if err != nil || in.deps.Leases == nil {
		return ctx, rise, err
	}
	held, release, err := in.deps.Leases.Document(ctx, workspace, id)
	if err != nil {
		rise()
		return nil, nil, err
	}
	return held, func() {
		release()
		rise()
	}, nil
}

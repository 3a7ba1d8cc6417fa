package rpc

import (
	"context"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/message"
)

// maxRead is the most text one ReadDocument returns, bytes.
const maxRead = 256 << 10

// clip cuts a requested range to what is there and what one answer may hold, at character boundaries.
func clip(s string, r *retrieverv1.ByteRange) (start, end int) {
	size := uint64(len(s))
	start, end = int(min(r.GetStart(), size)), len(s)
	if r != nil {
		end = int(min(max(r.GetEnd(), r.GetStart()), size))
	}
	end = min(end, start+maxRead)
	return boundary(s, start), boundary(s, end)
}

// boundary moves at back to where a character starts.
func boundary(s string, at int) int {
	for at > 0 && at < len(s) && !utf8.RuneStart(s[at]) {
		at--
	}
	return at
}

// heartbeat is how often an idle watch says that it is still there.
const heartbeat = 15 * time.Second

// watch sends what there is, then every change, with heartbeats between, until the caller goes.
func (h *Handler) watch(ctx context.Context, r *retrieverv1.WatchRequest, send func(*retrieverv1.WatchResponse) error) error {
	changes, err := h.Catalog.Watch(r.GetWorkspace(), reader(ctx))
	if err != nil {
		return err
	}
	defer changes.Stop()
	out := watchStream{send: send, only: r.GetDocumentIds()}
	tick, stop := queueTicks(r.GetQueue())
	defer stop()
	for synced := false; ; {
		events, err := next(ctx, changes, tick)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errTick):
			err = out.tick(h.queue(ctx, r.GetWorkspace()))
		case errors.Is(err, context.DeadlineExceeded):
			err = out.tell(&retrieverv1.WatchResponse{Event: &retrieverv1.WatchResponse_Heartbeat{Heartbeat: &retrieverv1.Heartbeat{}}})
		case err == nil:
			err = out.changes(events)
		}
		if err == nil && !synced {
			synced = true
			err = out.tell(&retrieverv1.WatchResponse{Event: &retrieverv1.WatchResponse_Synced{Synced: &retrieverv1.Synced{}}})
		}
		if err != nil {
			return err
		}
	}
}

// queueEvery is how often a watch tells how much waits, at most.
const queueEvery = time.Second

// queueTicks returns when to tell, never when that is not asked for.
func queueTicks(wanted bool) (ticks <-chan time.Time, stop func()) {
	if !wanted {
		return nil, func() {}
	}
	ticker := time.NewTicker(queueEvery)
	return ticker.C, ticker.Stop
}

// watchStream numbers what it sends.
type watchStream struct {
	send func(*retrieverv1.WatchResponse) error
	only []string // documents; empty for all
	seq  uint64

	queue *retrieverv1.Queue // as it was told last
	quiet time.Duration      // since the last tick that had something to tell
}

// tick tells how much waits when that has changed, and that there is nothing to tell when it was so for long.
func (s *watchStream) tick(q *retrieverv1.Queue) error {
	s.quiet += queueEvery
	switch {
	case !proto.Equal(q, s.queue):
		s.queue, s.quiet = q, 0
		return s.tell(&retrieverv1.WatchResponse{Event: &retrieverv1.WatchResponse_Queue{Queue: q}})
	case s.quiet >= heartbeat:
		s.quiet = 0
		return s.tell(&retrieverv1.WatchResponse{Event: &retrieverv1.WatchResponse_Heartbeat{Heartbeat: &retrieverv1.Heartbeat{}}})
	}
	return nil
}

func (s *watchStream) tell(m *retrieverv1.WatchResponse) error {
	s.seq++
	m.Seq = s.seq
	return s.send(m)
}

func (s *watchStream) changes(events []catalog.Event) error {
	for _, e := range events {
		if len(s.only) > 0 && !slices.Contains(s.only, e.Document.ID) {
			continue
		}
		m := &retrieverv1.WatchResponse{Event: &retrieverv1.WatchResponse_Changed{Changed: message.Document(e.Document)}}
		if e.Deleted {
			m = &retrieverv1.WatchResponse{Event: &retrieverv1.WatchResponse_Deleted{Deleted: e.Document.ID}}
		}
		if err := s.tell(m); err != nil {
			return err
		}
	}
	return nil
}

var errTick = errors.New("tick")

// next waits for changes, for a tick (errTick), or until a heartbeat is due (context.DeadlineExceeded).
func next(ctx context.Context, w *catalog.Watch, tick <-chan time.Time) ([]catalog.Event, error) {
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	select {
	case <-w.Ready():
		return w.Take(), nil
	case <-tick:
		return nil, errTick
	case <-timer.C:
		return nil, context.DeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

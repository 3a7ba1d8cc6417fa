// Package audit tells the events stream who was let in, who was not, and what they changed. Writing an event never holds up
// the call it is about: events wait in a bounded queue, and one that finds it full is logged and counted instead.
package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

const (
	queued  = 512
	publish = 2 * time.Second
)

// Event is something worth knowing later.
type Event struct {
	Workspace      string // empty when it concerns none
	Actor, Action  string
	Target, Reason string
	Allowed        bool
	At             time.Time
}

// Publisher writes an event durably. The id makes writing it twice count once.
type Publisher func(ctx context.Context, id string, e Event) error

// Trail takes events. It is safe for concurrent use.
type Trail struct {
	publish Publisher
	newID   func() string
	now     func() time.Time
	log     zerolog.Logger
	queue   chan Event
	lost    prometheus.Counter
}

// New returns a Trail. Run writes its events.
func New(p Publisher, newID func() string, now func() time.Time, registry prometheus.Registerer, log zerolog.Logger) (*Trail, error) {
	t := &Trail{publish: p, newID: newID, now: now, log: log, queue: make(chan Event, queued), lost: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "ragmesh_dialog_audit_lost_total", Help: "Audit events that could not be written; they are in the log.",
	})}
	if registry != nil {
		if err := registry.Register(t.lost); err != nil {
			return nil, fmt.Errorf("register audit metrics: %w", err)
		}
	}
	return t, nil
}

// Note queues an event.
func (t *Trail) Note(e Event) {
	if e.Workspace == "" {
		e.Workspace = "-"
	}
	e.At = t.now()
	select {
	case t.queue <- e:
	default:
		t.lose(e, "the queue is full")
	}
}

// Write writes an event before it returns: for those that others act on, such as a deletion.
func (t *Trail) Write(ctx context.Context, e Event) error {
	e.At = t.now()
	if err := t.publish(ctx, t.newID(), e); err != nil {
		return fmt.Errorf("write audit event: %w", err)
	}
	return nil
}

// Run writes events until ctx ends, then those that still wait.
func (t *Trail) Run(ctx context.Context) error {
	for {
		select {
		case e := <-t.queue:
			t.write(ctx, e)
		case <-ctx.Done():
			for {
				select {
				case e := <-t.queue:
					t.write(context.WithoutCancel(ctx), e)
				default:
					return nil
				}
			}
		}
	}
}

func (t *Trail) write(ctx context.Context, e Event) {
	ctx, cancel := context.WithTimeout(ctx, publish)
	defer cancel()
	if err := t.publish(ctx, t.newID(), e); err != nil {
		t.lose(e, err.Error())
	}
}

func (t *Trail) lose(e Event, why string) {
	t.lost.Inc()
	t.log.Warn().Str("workspace", e.Workspace).Str("actor", e.Actor).Str("action", e.Action).Str("target", e.Target).
		Bool("allowed", e.Allowed).Str("reason", e.Reason).Str("why", why).Msg("audit event was not written")
}

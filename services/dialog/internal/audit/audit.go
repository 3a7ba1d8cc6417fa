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
	Address        string // the client's; empty where there is none
	Count          uint32 // how often it happened; 0 is once
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
	denials *denials
}

// New returns a Trail. Run writes its events.
func New(p Publisher, newID func() string, now func() time.Time, registry prometheus.Registerer, log zerolog.Logger) (*Trail, error) {
	t := &Trail{publish: p, newID: newID, now: now, log: log, queue: make(chan Event, queued), denials: newDenials(), lost: prometheus.NewCounter(prometheus.CounterOpts{
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

// Deny queues an event about something that was refused. Whoever is refused all the time fills no disk: of what is the same
// within [denyEvery], the first is written at once, and how many followed is written after it.
func (t *Trail) Deny(e Event) {
	if t.denials.first(e, t.now()) {
		t.Note(e)
	}
}

// Run writes events until ctx ends, then those that still wait.
func (t *Trail) Run(ctx context.Context) error {
	ticker := time.NewTicker(denyEvery)
	defer ticker.Stop()
	for {
		select {
		case e := <-t.queue:
			t.write(ctx, e)
		case <-ticker.C:
			for _, e := range t.denials.over(t.now()) {
				t.Note(e)
			}
		case <-ctx.Done():
			for _, e := range t.denials.over(t.now().Add(denyEvery)) {
				t.Note(e)
			}
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

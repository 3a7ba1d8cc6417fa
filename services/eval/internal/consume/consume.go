// Package consume takes turns and spans from the streams into the store. Messages may come more than once and in any order:
// what is there already stays as it is. What can't be decoded is given up and counted, so that it never holds up the rest.
package consume

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

// Stream is where messages come from.
type Stream interface {
	Consume(ctx context.Context, c bus.Consumer, handle bus.Handler) error
	// Forget makes a consumer begin from the start.
	Forget(ctx context.Context, stream, durable string) error
}

// Store is where they go.
type Store interface {
	AddTurn(ctx context.Context, t store.Turn) (bool, error)
	AddSpans(ctx context.Context, spans []store.Span) (int, error)
	Delete(ctx context.Context, workspace, session string, at time.Time) (int, error)
	// Follows says whether the consumers have begun with this store, Follow that they do now.
	Follows(ctx context.Context) (bool, error)
	Follow(ctx context.Context, at time.Time) error
}

// Consumer takes everything in. It is for one Run.
type Consumer struct {
	stream  Stream
	store   Store
	clock   func() time.Time
	live    *health.Liveness
	log     zerolog.Logger
	metrics *metrics
}

// maxHandling is how long one message may take before the process counts as wedged: far longer than a busy disk makes it
// wait.
const maxHandling = 45 * time.Second

// New returns a Consumer.
func New(s Stream, st Store, clock func() time.Time, live *health.Liveness, t *telemetry.Telemetry) (*Consumer, error) {
	m, err := newMetrics(t)
	if err != nil {
		return nil, err
	}
	return &Consumer{stream: s, store: st, clock: clock, live: live, log: t.Log, metrics: m}, nil
}

// A store that fails has no space, or its disk has a problem that a person has to solve: a turn is tried for hours. Spans may
// be lost, and are worth a few minutes.
const (
	turnDeliveries = 500
	spanDeliveries = 10
	maxRetry       = time.Minute
	// turnsAtOnce and spansAtOnce are how many messages are being stored at the same time: the store takes those that come
	// together in one transaction.
	turnsAtOnce = 64
	spansAtOnce = 16
	// lease is how long a message stays with a process that has died. Storing one takes milliseconds, and twice does no harm.
	lease = 5 * time.Second
)

// part is one of the consumers.
type part struct {
	consumer bus.Consumer
	handle   bus.Handler
}

func (c *Consumer) parts() []part {
	backoff := []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, maxRetry}
	parts := []part{
		{bus.Consumer{Stream: bus.Turns, Durable: "eval-turns", Subject: "ragmesh.turn.v1.>", MaxDeliver: turnDeliveries, MaxInFlight: turnsAtOnce}, c.turn},
		{bus.Consumer{Stream: bus.SpanStream, Durable: "eval-spans", Subject: "ragmesh.span.v1.>", MaxDeliver: spanDeliveries, MaxInFlight: spansAtOnce}, c.spans},
		{bus.Consumer{Stream: bus.Events, Durable: "eval-deletions", Subject: bus.EventSubject("audit", "*"), MaxDeliver: turnDeliveries}, c.audit},
	}
	for i := range parts {
		parts[i].consumer.Backoff, parts[i].consumer.AckWait = backoff, lease
	}
	return parts
}

// Run consumes until ctx ends.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.begin(ctx) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range c.parts() {
		group.Go(func() error { return c.stream.Consume(ctx, p.consumer, c.watched(p.consumer.Durable, p.handle)) })
	}
	return group.Wait()
}

// beginEvery is how long to wait after a failure to begin.
const beginEvery = 2 * time.Second

// begin makes the consumers start over when the store is a new one. It tries until ctx ends, and says whether it is done.
func (c *Consumer) begin(ctx context.Context) bool {
	for failures := 0; ; failures++ {
		err := c.follow(ctx)
		if err == nil {
			return true
		}
		if failures == 0 && ctx.Err() == nil {
			c.log.Warn().Err(err).Msg("cannot begin to consume yet")
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(beginEvery):
		}
	}
}

func (c *Consumer) follow(ctx context.Context) error {
	follows, err := c.store.Follows(ctx)
	if err != nil || follows {
		return err
	}
	for _, p := range c.parts() {
		if err := c.stream.Forget(ctx, p.consumer.Stream, p.consumer.Durable); err != nil {
			return err
		}
	}
	return c.store.Follow(ctx, c.clock())
}

// watched makes a handler that hangs show: each message has its time.
func (c *Consumer) watched(name string, handle bus.Handler) bus.Handler {
	return func(ctx context.Context, m bus.Message) error {
		pulse := c.live.NewPulse(name, maxHandling)
		defer pulse.Stop()
		return handle(ctx, m)
	}
}

func (c *Consumer) turn(ctx context.Context, m bus.Message) error {
	turn, err := decodeTurn(m.Subject, m.Data)
	if err != nil {
		c.metrics.turns.WithLabelValues(malformed).Inc()
		return bus.Terminate(err)
	}
	added, err := c.store.AddTurn(ctx, turn)
	if err != nil {
		return err
	}
	c.metrics.turns.WithLabelValues(outcome(added)).Inc()
	return nil
}

func (c *Consumer) spans(ctx context.Context, m bus.Message) error {
	spans, dropped, err := decodeSpans(m.Data)
	if err != nil {
		c.metrics.batches.Inc()
		return bus.Terminate(err)
	}
	added, err := c.store.AddSpans(ctx, spans)
	if err != nil {
		return err
	}
	c.metrics.spans.WithLabelValues(malformed).Add(float64(dropped))
	c.metrics.spans.WithLabelValues(stored).Add(float64(added))
	c.metrics.spans.WithLabelValues(repeated).Add(float64(len(spans) - added))
	return nil
}

// The audited actions that take turns away.
const (
	sessionDeleted   = "session.delete"
	workspaceDeleted = "workspace.delete"
	maxAuditBytes    = 64 << 10
)

// audit removes what people delete at the edge. Everything else in the audit trail is none of eval's business.
func (c *Consumer) audit(ctx context.Context, m bus.Message) error {
	var event eventv1.Audited
	if len(m.Data) > maxAuditBytes {
		return bus.Terminate(errors.New("audit event is too large"))
	}
	if err := (proto.UnmarshalOptions{RecursionLimit: maxNesting}).Unmarshal(m.Data, &event); err != nil {
		return bus.Terminate(err)
	}
	session := ""
	switch {
	case !event.GetAllowed() || event.GetWorkspace() == "" || m.Subject != bus.EventSubject("audit", event.GetWorkspace()):
		return nil
	case event.GetAction() == sessionDeleted && event.GetTarget() != "":
		session = event.GetTarget()
	case event.GetAction() == workspaceDeleted:
	default:
		return nil
	}
	at := m.Time
	if event.GetAt().IsValid() && event.GetAt().AsTime().Before(at) {
		at = event.GetAt().AsTime()
	}
	removed, err := c.store.Delete(ctx, event.GetWorkspace(), session, at)
	if err != nil {
		return err
	}
	c.log.Info().Str("workspace", event.GetWorkspace()).Str("session", session).Int("turns", removed).Msg("deleted turns")
	return nil
}

// Package audit publishes a record of every tool call on the events stream. Calls never wait for it: records go through a
// bounded queue, and one that can't be published ends up whole in the log, and counted.
package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/tools/internal/registry"
)

// Publisher is the part of the bus that takes records.
type Publisher interface {
	Publish(ctx context.Context, subject, msgID string, payload []byte) error
}

// Meter counts records that could not be published.
type Meter interface{ Unpublished() }

// Options configures a Log.
type Options struct {
	// Subject returns where a workspace's records go.
	Subject func(workspace string) string
	// Queue is how many records may wait.
	Queue int
	// Timeout bounds one try to publish, and the wait for what is queued at the end.
	Timeout time.Duration
}

// Log publishes records. Run must run.
type Log struct {
	bus   Publisher
	opts  Options
	meter Meter
	log   zerolog.Logger
	queue chan queued
}

// queued is a record with the context of its call, for the trace.
type queued struct {
	ctx    context.Context
	record registry.Record
}

var _ registry.Auditor = (*Log)(nil)

// New returns a Log on bus.
func New(bus Publisher, o Options, meter Meter, log zerolog.Logger) *Log {
	return &Log{bus: bus, opts: o, meter: meter, log: log, queue: make(chan queued, max(1, o.Queue))}
}

// Record queues r. It never blocks.
func (l *Log) Record(ctx context.Context, r registry.Record) {
	select {
	case l.queue <- queued{ctx: context.WithoutCancel(ctx), record: r}:
	default:
		l.unpublished(r, nil)
	}
}

// Run publishes until ctx ends, and then what is queued, within the timeout.
func (l *Log) Run(ctx context.Context) error {
	for {
		select {
		case q := <-l.queue:
			l.publish(q, l.opts.Timeout)
		case <-ctx.Done():
			l.drain()
			return nil
		}
	}
}

func (l *Log) drain() {
	for end := time.Now().Add(l.opts.Timeout); ; {
		select {
		case q := <-l.queue:
			l.publish(q, time.Until(end))
		default:
			return
		}
	}
}

func (l *Log) publish(q queued, timeout time.Duration) {
	payload, err := proto.Marshal(&eventv1.Audited{
		Workspace: q.record.Workspace, Actor: q.record.Actor, Action: "tool.call", Target: q.record.Tool,
		Allowed: q.record.Allowed, Reason: q.record.Reason, At: timestamppb.New(q.record.At),
	})
	if err == nil {
		ctx, cancel := context.WithTimeout(q.ctx, timeout)
		defer cancel()
		err = l.bus.Publish(ctx, l.opts.Subject(q.record.Workspace), newID(), payload)
	}
	if err != nil {
		l.unpublished(q.record, err)
	}
}

// unpublished keeps a record where it is not lost: in the log.
func (l *Log) unpublished(r registry.Record, err error) {
	l.meter.Unpublished()
	l.log.Warn().Err(err).Str("workspace", r.Workspace).Str("actor", r.Actor).Str("tool", r.Tool).Bool("allowed", r.Allowed).
		Str("reason", r.Reason).Time("at", r.At).Msg("audit record not published")
}

// newID returns a message id, which keeps the stream from storing a record twice.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

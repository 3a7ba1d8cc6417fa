package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Follow calls fn for every message of a stream, first those that are there, then each that comes, until ctx ends. A Message
// without a sequence marks the moment when everything that was there has been shown. After a lost connection it goes on where it
// was, or from the start in a stream that was made anew, and marks again. fn is called by one goroutine and holds up what
// follows. No durable consumer is made: every process that follows sees everything.
func (b *Bus) Follow(ctx context.Context, stream string, fn func(Message)) error {
	var after uint64
	for failures := 0; ; {
		shown, err := b.follow(ctx, stream, &after, fn)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // what ended it is what the caller wanted
		case err == nil: // connected again
			failures = 0
			continue
		case shown:
			failures = 0
		}
		failures++
		b.log.WithLevel(levelOf(failures)).Err(err).Str("stream", stream).Int("attempt", failures).Msg("cannot follow yet")
		b.pause(ctx, failures)
	}
}

// follow reports whether what was there has been shown.
func (b *Bus) follow(ctx context.Context, stream string, after *uint64, fn func(Message)) (shown bool, err error) {
	ctx, cancel := b.untilUp(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return false, fmt.Errorf("follow %s: %w", stream, err)
	}
	last := s.CachedInfo().State.LastSeq
	if last < *after { // a new one under the old name
		*after = 0
	}
	if *after == last {
		shown = true
		fn(Message{})
	}
	// An ordered consumer of the library's would do, but can't be stopped while it makes itself anew.
	consumer, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *after + 1,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: followForgotten, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return shown, fmt.Errorf("follow %s: %w", stream, err)
	}
	for expected := uint64(1); ; {
		err := fetchNext(ctx, consumer, func(msg jetstream.Msg) error {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			if meta.Sequence.Consumer != expected {
				return fmt.Errorf("message %d came where %d was expected", meta.Sequence.Consumer, expected)
			}
			expected, *after = expected+1, meta.Sequence.Stream
			fn(Message{
				Subject: msg.Subject(), ID: msg.Headers().Get(jetstream.MsgIDHeader), Data: msg.Data(), Sequence: meta.Sequence.Stream,
				Deliveries: meta.NumDelivered, Time: meta.Timestamp,
			})
			if !shown && (meta.NumPending == 0 || *after >= last) {
				shown = true
				fn(Message{})
			}
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return shown, nil // whoever follows has ended it, or the connection is another one
		case err != nil:
			return shown, fmt.Errorf("follow %s: %w", stream, err)
		}
	}
}

const (
	// followBatch is how many messages are asked for at once.
	followBatch = 256
	// followForgotten is how long the server keeps the consumer of a process that is gone.
	followForgotten = time.Minute
)

// fetchNext calls fn for messages as they come, for a while.
func fetchNext(ctx context.Context, consumer jetstream.Consumer, fn func(jetstream.Msg) error) error {
	wait, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := consumer.Fetch(followBatch, jetstream.FetchContext(wait), jetstream.FetchHeartbeat(fetchHeartbeat))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		if err == nil { // the rest of a batch that is given up is asked for again
			err = fn(msg)
		}
	}
	if err == nil && wait.Err() == nil {
		err = batch.Error()
	}
	return err
}

// Swap stores a message on a subject whose newest one still has the sequence given, or gives [ErrConflict].
func (b *Bus) Swap(ctx context.Context, subject string, sequence uint64, payload []byte) error {
	start := time.Now()
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := b.js.PublishMsg(bound, b.message(ctx, subject, payload), jetstream.WithExpectLastSequencePerSubject(sequence))
	b.metrics.published(err, time.Since(start))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return fmt.Errorf("swap %s: %w", subject, ErrConflict)
	}
	if err != nil {
		return wrap(ctx, err, "swap "+subject)
	}
	return nil
}

package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

const (
	// fetchWait is how long one request for messages stays open on the server when there are none.
	fetchWait = 20 * time.Second
	// fetchHeartbeat notices a server that forgot the request, e.g. after a restart, within twice its length.
	fetchHeartbeat = 2 * time.Second
)

// Consumer says what to consume and how.
type Consumer struct {
	// Stream is one of the topology's.
	Stream string
	// Durable names the consumer. Processes that use one name share its messages.
	Durable string
	// Group, when set, names the consumers of which this is one, in metrics; their backlog is watched by [Bus.Backlog].
	Group string
	// Forget is after how long without any process that consumes the server forgets the consumer; 0 for never. On a work queue
	// nothing is lost by that.
	Forget time.Duration
	// Subject filters; empty takes all of the stream.
	Subject string
	// AckWait is the lease: a message not done within it, and not extended by [Message.InProgress], goes to another
	// process. Default 30 s.
	AckWait time.Duration
	// MaxDeliver is how often a message is tried before it is given up. Default 5.
	MaxDeliver int
	// MaxInFlight is how many handlers run at once in this process. Default 1, which also keeps the order.
	MaxInFlight int
	// Backoff is the wait before each further delivery after a failure; the last one repeats. Default 1 s, 5 s, 30 s.
	Backoff []time.Duration
	// Drain is how long running handlers may go on when the consumer's context has ended, before theirs ends too.
	// Default 5 s.
	Drain time.Duration
	// OnDead, when set, is called for a message that is given up: after its last failure, or instead of the handler when
	// the process died in each of its deliveries (cause is nil then). It records the failure where people see it.
	OnDead func(ctx context.Context, m Message, cause error)
}

func (c Consumer) withDefaults() Consumer {
	if c.AckWait <= 0 {
		c.AckWait = 30 * time.Second
	}
	if c.MaxDeliver <= 0 {
		c.MaxDeliver = 5
	}
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 1
	}
	if len(c.Backoff) == 0 {
		c.Backoff = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}
	}
	if c.Drain <= 0 {
		c.Drain = 5 * time.Second
	}
	return c
}

// Handler does the work of one message. Nil acknowledges it; an error, or a panic, brings it again after a backoff; an error
// from [Terminate] gives it up. It may see a message more than once and must be idempotent. Its context carries the
// publisher's trace.
type Handler func(ctx context.Context, m Message) error

// Terminate wraps an error so that the message is not delivered again: trying again can't help.
func Terminate(err error) error {
	if err == nil {
		return nil
	}
	return &terminal{err}
}

// ErrInterrupted is what a handler returns that has not begun, because its process is leaving: the next one may have the message at
// once.
var ErrInterrupted = errors.New("interrupted")

type terminal struct{ err error }

func (t *terminal) Error() string { return t.err.Error() }
func (t *terminal) Unwrap() error { return t.err }

// Consume calls handle for each message until ctx ends, then lets the running handlers finish (Consumer.Drain) and returns
// nil. It asks only for as many messages as it has free handlers, so that no lease runs while a message waits. A NATS that is
// away, or a consumer that was deleted, is waited for; only a Consumer that can't work is an error.
func (b *Bus) Consume(ctx context.Context, c Consumer, handle Handler) error {
	if c.Stream == "" || c.Durable == "" {
		return errors.New("consume: stream and durable name are needed")
	}
	c = c.withDefaults()
	w := &worker{
		bus: b, consumer: c, handle: handle,
		log:   b.log.With().Str("consumer", c.Durable).Logger(),
		slots: make(chan struct{}, c.MaxInFlight),
	}
	return w.run(ctx)
}

// Forget removes a durable consumer with its position: the next [Bus.Consume] under its name begins with the oldest message. One
// that is not there is no error.
func (b *Bus) Forget(ctx context.Context, stream, durable string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := b.js.DeleteConsumer(ctx, stream, durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return wrap(ctx, err, "forget consumer "+durable)
	}
	return nil
}

// worker is one call of Consume.
type worker struct {
	bus      *Bus
	consumer Consumer
	handle   Handler
	log      zerolog.Logger
	slots    chan struct{} // one token per running handler
	running  sync.WaitGroup
}

func (w *worker) run(ctx context.Context) error {
	// Handlers outlive ctx by the drain time.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for failures := 0; ctx.Err() == nil; {
		err := w.session(ctx, work)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errProgress) {
			failures = 0
			continue
		}
		failures++
		// The first failures of an outage are one line each, then it is known.
		w.log.WithLevel(levelOf(failures)).Err(err).Int("attempt", failures).Msg("cannot consume yet")
		w.bus.pause(ctx, failures)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.running.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(w.consumer.Drain):
		cancel()
		<-ended
	}
	return nil
}

func levelOf(failures int) zerolog.Level {
	if failures <= 3 {
		return zerolog.WarnLevel
	}
	return zerolog.DebugLevel
}

// errProgress ends a session that worked for a while.
var errProgress = errors.New("connection to the consumer ended")

// session makes sure of the consumer, then fetches until something breaks or ctx ends.
func (w *worker) session(ctx, work context.Context) error {
	c := w.consumer
	connected, cancel := w.bus.untilUp(ctx)
	defer cancel()
	consumer, err := w.bus.js.CreateOrUpdateConsumer(connected, c.Stream, jetstream.ConsumerConfig{
		Durable:       c.Durable,
		FilterSubject: c.Subject,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.AckWait,

		InactiveThreshold: c.Forget,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		// Without a bound of the server's: it would leave a given-up message in a work queue for ever. handleOne counts.
		MaxDeliver: -1,
	})
	if err != nil {
		return fmt.Errorf("ensure consumer %s: %w", c.Durable, err)
	}
	watch, unwatch := context.WithCancel(connected)
	var watching sync.WaitGroup
	if c.Group == "" {
		watching.Go(func() { w.watchLag(watch, consumer) })
	}
	defer watching.Wait()
	defer unwatch()
	for worked := false; ; worked = true {
		free, ok := w.acquire(ctx)
		if !ok {
			return nil
		}
		used, err := w.fetch(connected, work, consumer, free)
		for range free - used {
			<-w.slots
		}
		switch {
		case connected.Err() != nil:
			return errProgress
		case err == nil:
		case worked:
			return fmt.Errorf("%w: %w", errProgress, err)
		default:
			return fmt.Errorf("fetch: %w", err)
		}
	}
}

// acquire waits for a free slot and takes all that are free.
func (w *worker) acquire(ctx context.Context) (int, bool) {
	select {
	case <-ctx.Done():
		return 0, false
	case w.slots <- struct{}{}:
	}
	for n := 1; ; n++ {
		select {
		case w.slots <- struct{}{}:
		default:
			return n, true
		}
	}
}

// fetch asks for up to n messages, for as long as ctx or fetchWait lasts, and starts a handler for each as it comes. It returns how many it started.
func (w *worker) fetch(ctx, work context.Context, consumer jetstream.Consumer, n int) (int, error) {
	wait, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	options := []jetstream.FetchOpt{jetstream.FetchContext(wait)}
	if deadline, ok := wait.Deadline(); ok && time.Until(deadline) > 2*fetchHeartbeat {
		options = append(options, jetstream.FetchHeartbeat(fetchHeartbeat))
	}
	batch, err := consumer.Fetch(n, options...)
	if err != nil {
		return 0, err
	}
	used := 0
	for msg := range batch.Messages() {
		used++
		w.running.Go(func() {
			defer func() { <-w.slots }()
			w.handleOne(work, msg)
		})
	}
	if err := batch.Error(); err != nil && wait.Err() == nil {
		return used, err
	}
	return used, nil
}

// handleOne runs the handler for one delivery and tells the server what became of it.
func (w *worker) handleOne(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		w.log.Error().Err(err).Str("subject", msg.Subject()).Msg("message without metadata")
		return
	}
	m := Message{
		Subject: msg.Subject(), ID: msg.Headers().Get(nats.MsgIdHdr), Data: msg.Data(),
		Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered, Time: meta.Timestamp,
		inProgress: msg.InProgress,
	}
	ctx = w.bus.trace.Extract(ctx, headers(msg.Headers()))
	log := w.log.With().Str("subject", m.Subject).Uint64("sequence", m.Sequence).Uint64("delivery", m.Deliveries).Logger()
	limit := uint64(w.consumer.MaxDeliver)
	start := time.Now()

	if m.Deliveries > limit {
		w.giveUp(ctx, log, msg, m, nil)
		w.observe("dead", start)
		return
	}
	err = w.call(ctx, log, m)
	outcome := "ok"
	var answer error
	terminate, _ := errors.AsType[*terminal](err)
	switch {
	case err == nil:
		answer = msg.Ack()
	case terminate != nil:
		outcome = "terminated"
		log.Warn().Err(err).Msg("message given up by its handler")
		answer = msg.TermWithReason(outcome)
	case ctx.Err() != nil, errors.Is(err, ErrInterrupted):
		// We are leaving; the next process may have it at once.
		outcome = "interrupted"
		answer = msg.Nak()
	case m.Deliveries >= limit:
		outcome = "dead"
		w.giveUp(ctx, log, msg, m, err)
	default:
		outcome = "failed"
		delay := w.consumer.Backoff[min(int(m.Deliveries)-1, len(w.consumer.Backoff)-1)]
		log.Warn().Err(err).Dur("retry_in", delay).Msg("message failed")
		answer = msg.NakWithDelay(delay)
	}
	if answer != nil {
		// It comes again when its lease ends, and handlers are idempotent.
		log.Debug().Err(answer).Msg("acknowledgement not sent")
	}
	w.observe(outcome, start)
}

func (w *worker) giveUp(ctx context.Context, log zerolog.Logger, msg jetstream.Msg, m Message, cause error) {
	log.Error().Err(cause).Msg("message given up after its last delivery")
	if w.consumer.OnDead != nil {
		dead := func(ctx context.Context, m Message) error { w.consumer.OnDead(ctx, m, cause); return nil }
		if err := guard(ctx, log, m, dead); err != nil {
			return // comes again when its lease ends
		}
	}
	if err := msg.TermWithReason("given up"); err != nil {
		log.Debug().Err(err).Msg("acknowledgement not sent")
	}
}

func (w *worker) call(ctx context.Context, log zerolog.Logger, m Message) error {
	return guard(ctx, log, m, w.handle)
}

// guard turns a panic into an error, with its stack in the log.
func guard(ctx context.Context, log zerolog.Logger, m Message, handle Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("handler panicked")
			err = fmt.Errorf("handler panicked: %v", p)
		}
	}()
	return handle(ctx, m)
}

func (w *worker) observe(outcome string, start time.Time) {
	w.bus.metrics.handled.WithLabelValues(cmp.Or(w.consumer.Group, w.consumer.Durable), outcome).Observe(time.Since(start).Seconds())
}

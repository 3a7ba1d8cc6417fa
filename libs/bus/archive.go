package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Archived is a message of a stream as a backup keeps it.
type Archived struct {
	Subject  string
	Header   map[string][]string
	Data     []byte
	Sequence uint64
	Time     time.Time
}

// KeyValueStream and ObjectStream return the stream that is behind a bucket and an object store.
func KeyValueStream(bucket string) string { return "KV_" + bucket }

// ObjectStream is [KeyValueStream] for an object store.
func ObjectStream(store string) string { return "OBJ_" + store }

const (
	// dumpBatch and dumpBytes bound what is read, and held in memory, at once.
	dumpBatch = 512
	dumpBytes = 4 * mib
)

// Dump calls fn for the messages of a stream after a sequence, in their order, and returns the sequence of the last one. It
// ends when the stream's leader says that there are no more.
//
// Whatever the stream holds when it ends has been shown, and whatever was acknowledged before it began, unless it was deleted
// since. That holds for the last value of a subject too, however often it is written meanwhile: a value goes away only
// because a newer one stands further on. JetStream's own snapshot does not have this property: it ends at the sequence at
// which it began, so that a key that is written while it runs is not in it at all.
//
// It makes no consumer and holds nothing up: fn may take as long as it likes.
func (b *Bus) Dump(ctx context.Context, stream string, after uint64, fn func(Archived) error) (uint64, error) {
	patient := failsafe.With(election()).WithContext(ctx)
	for {
		batch, err := patient.Get(func() ([]Archived, error) { return b.following(ctx, stream, after) })
		if err != nil {
			return after, wrap(ctx, err, "read "+stream)
		}
		if len(batch) == 0 {
			return after, nil
		}
		for _, m := range batch {
			if err := fn(m); err != nil {
				return after, err
			}
			after = m.Sequence
		}
	}
}

// election returns how long a stream is waited for that nobody answers for: while its servers elect a new leader nobody does, or a
// request that came just then is lost. The caller's own end ends it too.
func election() failsafe.Policy[[]Archived] {
	return retrypolicy.NewBuilder[[]Archived]().
		HandleIf(func(_ []Archived, err error) bool { return err != nil && translate(err) == nil }).
		WithBackoff(50*time.Millisecond, time.Second).
		WithMaxRetries(-1).
		WithMaxDuration(6 * requestTimeout).
		ReturnLastFailure().
		Build()
}

// following returns the next messages after a sequence, none when there are no more.
func (b *Bus) following(ctx context.Context, stream string, after uint64) ([]Archived, error) {
	batch, err := b.batch(ctx, stream, after+1)
	if err != nil || len(batch) > 0 {
		return batch, err
	}
	// A replica answered, which may be behind; its leader knows.
	next, err := b.fromLeader(ctx, stream, map[string]any{"seq": after + 1, "next_by_subj": ">"})
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []Archived{next}, nil
}

// batch reads the messages from a sequence on, as many as fit.
func (b *Bus) batch(ctx context.Context, stream string, from uint64) ([]Archived, error) {
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	messages, err := jetstreamext.GetBatch(bound, b.js, stream, dumpBatch, jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchMaxBytes(dumpBytes))
	if err != nil {
		return nil, err
	}
	var out []Archived
	for raw, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Archived{Subject: raw.Subject, Header: sentHeaders(raw.Header), Data: raw.Data, Sequence: raw.Sequence, Time: raw.Time})
	}
	// The iterator ends without a word when time runs out in its middle.
	if err := bound.Err(); err != nil {
		return nil, opaque{err}
	}
	return out, nil
}

// fromLeader asks a stream's leader for one message.
func (b *Bus) fromLeader(ctx context.Context, stream string, question map[string]any) (Archived, error) {
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := json.Marshal(question)
	if err != nil {
		return Archived{}, err
	}
	answer, err := b.conn.RequestWithContext(bound, "$JS.API.STREAM.MSG.GET."+stream, request)
	if err != nil {
		return Archived{}, err
	}
	var result struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &result); err != nil {
		return Archived{}, err
	}
	if result.Error != nil {
		return Archived{}, orError(translate(result.Error), result.Error)
	}
	m := result.Message
	out := Archived{Subject: m.Subject, Data: m.Data, Sequence: m.Sequence, Time: m.Time}
	if len(m.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(m.Header)
		if err != nil {
			return Archived{}, err
		}
		out.Header = sentHeaders(header)
	}
	return out, nil
}

func orError(first, otherwise error) error {
	if first != nil {
		return first
	}
	return otherwise
}

// sentHeaders returns the headers that a message was published with and that mean something later: without those that the
// server adds to its answer, and without those that were conditions of that one publication.
func sentHeaders(h nats.Header) map[string][]string {
	out := maps.Clone(map[string][]string(h))
	for _, name := range []string{
		jetstream.StreamHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer, jetstream.SubjectHeader, jetstream.LastSequenceHeader,
		"Nats-Num-Pending", "Nats-UpTo-Sequence", jetstream.MsgIDHeader, jetstream.ExpectedStreamHeader, jetstream.ExpectedLastSeqHeader,
		jetstream.ExpectedLastSubjSeqHeader, jetstream.ExpectedLastMsgIDHeader,
	} {
		delete(out, name)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// unacknowledged is how many messages a [Filler] has under way at most.
const unacknowledged = 128

// Filler writes archived messages into a stream. It is for one goroutine.
type Filler struct {
	ctx    context.Context //nolint:containedctx // of the whole filling, as a writer's is
	bus    *Bus
	js     jetstream.JetStream
	stream string
	under  []jetstream.PubAckFuture
	stored uint64
}

// Fill returns a Filler of a stream, which should be empty.
func (b *Bus) Fill(ctx context.Context, stream string) (*Filler, error) {
	js, err := jetstream.New(b.conn, jetstream.WithPublishAsyncMaxPending(2*unacknowledged))
	if err != nil {
		return nil, fmt.Errorf("fill %s: %w", stream, err)
	}
	return &Filler{ctx: ctx, bus: b, js: js, stream: stream}, nil
}

// Add sends a message.
func (f *Filler) Add(m Archived) error {
	if len(f.under) >= unacknowledged {
		if err := f.await(); err != nil {
			return err
		}
	}
	future, err := f.js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Data}, jetstream.WithExpectStream(f.stream))
	if err != nil {
		return wrap(f.ctx, err, "fill "+f.stream)
	}
	f.under = append(f.under, future)
	return nil
}

// await waits for the oldest message under way.
func (f *Filler) await() error {
	future := f.under[0]
	f.under = f.under[1:]
	select {
	case <-future.Ok():
		f.stored++
		return nil
	case err := <-future.Err():
		return wrap(f.ctx, err, "fill "+f.stream)
	case <-time.After(4 * requestTimeout):
		return wrap(f.ctx, errors.New("no acknowledgement"), "fill "+f.stream)
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

// Close waits until everything is stored, and says how many messages that were.
func (f *Filler) Close() (uint64, error) {
	for len(f.under) > 0 {
		if err := f.await(); err != nil {
			return f.stored, err
		}
	}
	return f.stored, nil
}

// Replicas says how many copies a stream has.
func (b *Bus) Replicas(ctx context.Context, stream string) (int, error) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return 0, wrap(ctx, err, "look at "+stream)
	}
	return s.CachedInfo().Config.Replicas, nil
}

// Up waits until NATS is connected, for as long as ctx allows.
func (b *Bus) Up(ctx context.Context) error {
	up := b.comesUp()
	if b.connected() {
		return nil
	}
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return wrap(context.Background(), orError(b.conn.LastError(), ctx.Err()), "connect to NATS")
	}
}

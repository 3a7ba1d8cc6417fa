package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Archived is a message of a stream as a backup keeps it.
type Archived struct {
	Subject  string
	Header   map[string][]string
	Data     []byte
	Sequence uint64
	Time     time.Time
}

// Removal says that the message of a bucket takes its key away.
func (m Archived) Removal() bool { return len(m.Header["KV-Operation"]) > 0 }

// KeyValueStream and ObjectStream return the stream that is behind a bucket and an object store.
func KeyValueStream(bucket string) string { return "KV_" + bucket }

// ObjectStream is [KeyValueStream] for an object store.
func ObjectStream(store string) string { return "OBJ_" + store }

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

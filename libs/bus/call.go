package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// callSubject is where somebody who listens under a name is called. These are plain messages: nothing is kept.
func callSubject(name string) string { return subject("ragmesh.call.v1", name) }

// Listen has whoever calls one of names ([Bus.Call]) answered, until stop is called. answer has atMost of time; calls under one name
// are answered one after the other. Once Listen has returned, calls from everywhere come here; when ctx ends first, or the
// server does not answer, they do so later.
func (b *Bus) Listen(ctx context.Context, names []string, atMost time.Duration, answer func(ctx context.Context, name string, payload []byte) []byte) (stop func(), err error) {
	var subs []*nats.Subscription
	stop = func() {
		for _, sub := range subs {
			// Drained, so that a call that is on its way is answered: nobody else will. Of a connection that is gone there is nothing to end.
			_ = sub.Drain()
		}
	}
	for _, name := range names {
		sub, err := b.conn.Subscribe(callSubject(name), func(m *nats.Msg) {
			ctx, cancel := context.WithTimeout(context.Background(), atMost)
			defer cancel()
			_ = m.Respond(answer(ctx, name, m.Data)) // who asks has a time limit
		})
		if err != nil {
			stop()
			return nil, wrap(ctx, err, "listen as "+name)
		}
		subs = append(subs, sub)
	}
	if b.connected() {
		bound, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		_ = b.conn.FlushWithContext(bound) // until then the server may say that nobody listens
	}
	return stop, nil
}

// Call asks who listens under a name, in whatever process, for an answer within atMost. Nobody listening is [ErrNotFound],
// which NATS knows at once; somebody who does not answer in time is an error of another kind.
func (b *Bus) Call(ctx context.Context, name string, atMost time.Duration, payload []byte) ([]byte, error) {
	if !b.connected() {
		return nil, fault.New(fault.Unavailable, fault.StoreUnavailable, "the message store does not answer; try again shortly").WithRetryAfter(retryAfter)
	}
	bound, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	m, err := b.conn.RequestWithContext(bound, callSubject(name), payload)
	switch {
	case err == nil:
		return m.Data, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrNotFound
	default:
		return nil, wrap(ctx, err, "call "+name)
	}
}

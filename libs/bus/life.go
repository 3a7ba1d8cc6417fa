package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// lifeTimeout is how long somebody may take to say that they are there.
const lifeTimeout = 200 * time.Millisecond

// lifeSubject is where somebody is asked whether they are there. These are plain messages: nothing is kept.
func lifeSubject(name string) string { return subject("ragmesh.life.v1", name) }

// Announce says to whoever asks ([Bus.Lives]) that name is there, for as long as this connection is.
func (b *Bus) Announce(name string) error {
	_, err := b.conn.Subscribe(lifeSubject(name), func(m *nats.Msg) { _ = m.Respond(nil) }) // who asks has a time limit
	if err != nil {
		return wrap(context.Background(), err, "announce "+name)
	}
	return nil
}

// Lives asks whether name, which was announced over some connection, is there. It is not when nobody is connected under that
// name, which NATS knows as soon as a process has ended. Somebody who is connected but does not answer is an error: their
// machine may be lost, or slow.
func (b *Bus) Lives(ctx context.Context, name string) (bool, error) {
	if !b.connected() {
		return false, fault.New(fault.Unavailable, fault.StoreUnavailable, "the message store does not answer; try again shortly").WithRetryAfter(retryAfter)
	}
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	_, err := b.conn.RequestWithContext(ctx, lifeSubject(name), nil)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, nats.ErrNoResponders):
		return false, nil
	default:
		return false, wrap(ctx, err, "ask whether "+name+" is there")
	}
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Backlog returns how many messages a work queue holds by subject, those under way included, and keeps the metrics of the
// backlog of a group of consumers of it.
func (b *Bus) Backlog(ctx context.Context, group, stream, filter string) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, wrap(ctx, err, "read backlog of "+stream)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, wrap(ctx, err, "read backlog of "+stream)
	}
	waiting, age := uint64(0), time.Duration(0)
	for _, n := range info.State.Subjects {
		waiting += n
	}
	if waiting > 0 {
		oldest, err := s.GetMsg(ctx, info.State.FirstSeq, jetstream.WithGetMsgSubject(filter))
		switch {
		case err == nil:
			age = max(0, time.Since(oldest.Time))
		case !errors.Is(err, jetstream.ErrMsgNotFound): // done meanwhile
			return nil, wrap(ctx, err, "read backlog of "+stream)
		}
	}
	b.metrics.pending.WithLabelValues(group).Set(float64(waiting))
	b.metrics.lag.WithLabelValues(group).Set(age.Seconds())
	return info.State.Subjects, nil
}

// Overhear calls heard with the subject and the content of every message that is published to a filter from now on until ctx ends. It is a hint to look:
// messages of the time in which NATS is away are not told.
func (b *Bus) Overhear(ctx context.Context, filter string, heard func(subject string, data []byte)) error {
	s, err := b.conn.Subscribe(filter, func(m *nats.Msg) { heard(m.Subject, m.Data) })
	if err != nil {
		return fmt.Errorf("overhear %s: %w", filter, err)
	}
	<-ctx.Done()
	_ = s.Unsubscribe() // or it ends with the connection
	return nil
}

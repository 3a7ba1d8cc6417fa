package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lagEvery is how often a consumer looks how far behind it is. It is two requests to the server, one when nothing waits.
const lagEvery = 10 * time.Second

// watchLag keeps the metrics of a consumer's backlog until ctx ends. It asks the server rather than count here, so that they hold
// for a consumer that several processes share, and for one whose handlers hang.
func (w *worker) watchLag(ctx context.Context, consumer jetstream.Consumer) {
	ticker := time.NewTicker(lagEvery)
	defer ticker.Stop()
	for {
		if waiting, age, err := w.lag(ctx, consumer); err == nil {
			w.bus.metrics.pending.WithLabelValues(w.consumer.Durable).Set(float64(waiting))
			w.bus.metrics.lag.WithLabelValues(w.consumer.Durable).Set(age.Seconds())
		} else if ctx.Err() == nil {
			w.log.Debug().Err(err).Msg("backlog is not known just now")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// lag returns how many messages are not done, and how long the oldest of them has waited.
func (w *worker) lag(ctx context.Context, consumer jetstream.Consumer) (waiting uint64, age time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := consumer.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	waiting = info.NumPending + uint64(info.NumAckPending)
	if waiting == 0 {
		return 0, 0, nil
	}
	stream, err := w.bus.stream(ctx, w.consumer.Stream)
	if err != nil {
		return 0, 0, err
	}
	var options []jetstream.GetMsgOpt
	if w.consumer.Subject != "" {
		options = append(options, jetstream.WithGetMsgSubject(w.consumer.Subject))
	}
	oldest, err := stream.GetMsg(ctx, info.AckFloor.Stream+1, options...)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound): // done meanwhile
		return waiting, 0, nil
	case err != nil:
		return 0, 0, err
	}
	return waiting, max(0, time.Since(oldest.Time)), nil
}

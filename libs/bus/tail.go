package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Count says how many messages a stream holds whose subjects match the filter.
func (b *Bus) Count(ctx context.Context, stream, subjectFilter string) (uint64, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return 0, wrap(ctx, err, "count "+subjectFilter)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjectFilter))
	if err != nil {
		return 0, wrap(ctx, err, "count "+subjectFilter)
	}
	var n uint64
	for _, messages := range info.State.Subjects {
		n += messages
	}
	return n, nil
}

// Tail returns the messages of a stream among its last n sequences, the oldest first; with beforeSeq above 0, among the n
// before it. Where messages were deleted there are fewer; start is the first sequence that was looked at, 0 when there is
// nothing before. It costs what it returns, however large the stream is.
func (b *Bus) Tail(ctx context.Context, stream string, n int, beforeSeq uint64) (messages []Message, start uint64, err error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, 0, wrap(ctx, err, "read end of "+stream)
	}
	info, err := s.Info(ctx)
	if err != nil {
		return nil, 0, wrap(ctx, err, "read end of "+stream)
	}
	end := info.State.LastSeq + 1
	if beforeSeq > 0 {
		end = min(end, beforeSeq)
	}
	first := max(info.State.FirstSeq, 1)
	if n < 1 || end <= first {
		return nil, 0, nil
	}
	start = first
	if end-first > uint64(n) {
		start = end - uint64(n)
	}
	bound, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	batch, err := jetstreamext.GetBatch(bound, b.js, stream, int(end-start), jetstreamext.GetBatchSeq(start))
	if err != nil {
		return nil, 0, wrap(ctx, err, "read end of "+stream)
	}
	for raw, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, 0, wrap(ctx, err, "read end of "+stream)
		}
		if raw.Sequence < end { // the batch counts messages, not sequences
			messages = append(messages, read(raw))
		}
	}
	if err := bound.Err(); err != nil { // the iterator ends without a word when time runs out in its middle
		return nil, 0, wrap(ctx, opaque{err}, "read end of "+stream)
	}
	if start == first {
		start = 0
	}
	return messages, start, nil
}

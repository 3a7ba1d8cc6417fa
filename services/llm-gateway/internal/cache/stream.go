package cache

import (
	"context"
	"errors"

	"github.com/ragmesh/ragmesh/libs/bus"
)

// Stream keeps answers in RAGMESH_ANSWERS, where every replica finds them. It is bounded by age and size, the oldest go first:
// what is not there is made again.
type Stream struct{ bus *bus.Bus }

var _ Store = (*Stream)(nil)

// NewStream returns a Stream.
func NewStream(b *bus.Bus) *Stream { return &Stream{bus: b} }

// Get implements [Store].
func (s *Stream) Get(ctx context.Context, workspace, key string) ([]byte, error) {
	m, err := s.bus.Last(ctx, bus.Answers, bus.AnswerSubject(workspace, key))
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	return m.Data, err
}

// Put implements [Store].
func (s *Stream) Put(ctx context.Context, workspace, key string, value []byte) error {
	return s.bus.Replace(ctx, bus.Answers, bus.AnswerSubject(workspace, key), "", value)
}

// Forget implements [Store]. The bytes go too.
func (s *Stream) Forget(ctx context.Context, workspace string) error {
	_, err := s.bus.Erase(ctx, bus.Answers, bus.AnswerSubject(workspace, "*"))
	return err
}

package consume

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
)

// Head looks at the end of the turns stream, which may be ahead of the store.
type Head struct {
	stream interface {
		Last(ctx context.Context, stream, subject string) (bus.Message, error)
	}
}

// NewHead returns a Head of b's stream.
func NewHead(b *bus.Bus) *Head { return &Head{stream: b} }

// Newest returns the id of the turn that was recorded last in a workspace, and when. None is an error.
func (h *Head) Newest(ctx context.Context, workspace string) (string, time.Time, error) {
	m, err := h.stream.Last(ctx, bus.Turns, bus.TurnSubject(workspace, "*", "*"))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read end of turns: %w", err)
	}
	return m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], m.Time, nil
}

package store

import (
	"context"
	"errors"
	"time"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Switchboard reaches turns in other processes over NATS.
type Switchboard struct{ bus *bus.Bus }

var _ turn.Switchboard = Switchboard{}

// NewSwitchboard returns b's.
func NewSwitchboard(b *bus.Bus) Switchboard { return Switchboard{bus: b} }

// answerFor bounds an answer, and the wait for one: what is called may have to be written first.
const answerFor = 25 * time.Second

// Listen implements [turn.Switchboard].
func (s Switchboard) Listen(ctx context.Context, names []string, answer func(ctx context.Context, name, caller string) bool) (func(), error) {
	return s.bus.Listen(ctx, names, answerFor, func(ctx context.Context, name string, caller []byte) []byte {
		if answer(ctx, name, string(caller)) {
			return []byte{1}
		}
		return nil
	})
}

// Call implements [turn.Switchboard].
func (s Switchboard) Call(ctx context.Context, name, caller string) (bool, error) {
	answer, err := s.bus.Call(ctx, name, answerFor, []byte(caller))
	if errors.Is(err, bus.ErrNotFound) {
		return false, fault.New(fault.NotFound, fault.TurnNotFound, "nobody listens as %s", name)
	}
	return len(answer) == 1, err
}

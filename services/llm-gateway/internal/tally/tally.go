// Package tally has limits a minute hold over all processes of llm-gateway. Twice a second each says what it has taken of them, and
// the others take as much off theirs. No request waits for that: what others take in the meantime passes beside the limit, and is
// missing from it afterwards. Nothing is kept: while NATS is away, each process's limits are its own.
package tally

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/bus"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
)

// Bus is where processes hear of each other; *[bus.Bus] is one.
type Bus interface {
	PublishLossy(ctx context.Context, subject string, payload []byte) error
	Overhear(ctx context.Context, filter string, heard func(subject string, data []byte)) error
	Healthy() (bool, string)
}

// Book is who holds requests against limits; *[account.Book] is one.
type Book interface {
	Taken() []account.Taken
	Others(taken []account.Taken)
}

// Deps is what processes are told of each other with.
type Deps struct {
	Book Book
	Bus  Bus
	// Node is this process's own name.
	Node string
	Log  zerolog.Logger
}

const (
	// every is how often others are told.
	every = 500 * time.Millisecond
	// together is how many rows go into a message, which is then far below what NATS takes.
	together = 1000
)

// Run tells others, and hears them, until ctx ends.
func Run(ctx context.Context, d Deps) error {
	hearing, stop := context.WithCancel(ctx)
	defer stop()
	heard := make(chan error, 1)
	go func() { heard <- d.Bus.Overhear(hearing, bus.LimitSubject("*"), d.hear) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return <-heard
		case err := <-heard:
			if ctx.Err() == nil {
				return errors.Join(errors.New("hear of others' limits: it ended"), err)
			}
			return err
		case <-tick.C:
			d.tell(ctx)
		}
	}
}

// tell says what was taken. What can't be said now is not said later: it has flowed back by then.
func (d *Deps) tell(ctx context.Context) {
	taken := d.Book.Taken()
	if ok, _ := d.Bus.Healthy(); !ok {
		return
	}
	for rows := range slices.Chunk(taken, together) {
		payload, err := encode(d.Node, rows)
		if err == nil {
			err = d.Bus.PublishLossy(ctx, bus.LimitSubject(d.Node), payload)
		}
		if err != nil {
			d.Log.Debug().Err(err).Msg("others do not hear what was taken of limits")
			return
		}
	}
}

func (d *Deps) hear(_ string, data []byte) {
	node, taken, err := decode(data)
	switch {
	case err != nil:
		d.Log.Warn().Err(err).Msg("what others have taken of limits can't be read")
	case node != d.Node:
		d.Book.Others(taken)
	}
}

func encode(node string, taken []account.Taken) ([]byte, error) {
	m := &eventv1.LimitsTaken{Node: node, Rows: make([]*eventv1.LimitTaken, len(taken))}
	for i, t := range taken {
		m.Rows[i] = &eventv1.LimitTaken{Workspace: t.Workspace, Key: t.Key, Requests: t.Requests, Tokens: t.Tokens}
	}
	payload, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode limits: %w", err)
	}
	return payload, nil
}

func decode(payload []byte) (node string, taken []account.Taken, err error) {
	var m eventv1.LimitsTaken
	if err := proto.Unmarshal(payload, &m); err != nil {
		return "", nil, fmt.Errorf("decode limits: %w", err)
	}
	for _, r := range m.GetRows() {
		taken = append(taken, account.Taken{Who: account.Who{Workspace: r.GetWorkspace(), Key: r.GetKey()}, Requests: r.GetRequests(), Tokens: r.GetTokens()})
	}
	return m.GetNode(), taken, nil
}

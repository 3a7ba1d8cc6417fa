package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/backup"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/audit"
)

const (
	// maxData is how much of an archive goes into one message.
	maxData = 256 << 10
	// spoolWait is how long a backup waits for turns that are in the spool to reach the stream: they were acknowledged.
	spoolWait = 15 * time.Second
	spoolPoll = 100 * time.Millisecond
)

// TakeBackup writes an archive of everything.
type TakeBackup func(ctx context.Context, to io.Writer, progress func(backup.Part)) (backup.Header, backup.Manifest, error)

// Operations serves OperationsService.
type Operations struct {
	take    TakeBackup
	spooled func() int
	trail   *audit.Trail
	running chan struct{} // capacity 1
}

var _ dialogv1connect.OperationsServiceHandler = (*Operations)(nil)

// NewOperations returns the handler. spooled says how many turns are not on their stream yet.
func NewOperations(take TakeBackup, spooled func() int, trail *audit.Trail) *Operations {
	return &Operations{take: take, spooled: spooled, trail: trail, running: make(chan struct{}, 1)}
}

// Backup implements the contract. Who took everything along is written down before it goes.
func (o *Operations) Backup(ctx context.Context, _ *dialogv1.BackupRequest, out *connect.ServerStream[dialogv1.BackupResponse]) error {
	select {
	case o.running <- struct{}{}:
		defer func() { <-o.running }()
	default:
		return fault.New(fault.Exhausted, fault.ReasonConflict, "a backup is being taken already; one runs at a time").WithRetryAfter(time.Minute)
	}
	if err := o.awaitSpool(ctx); err != nil {
		return err
	}
	if err := o.trail.Write(ctx, audit.Event{Workspace: "-", Actor: user(ctx), Action: "backup", Allowed: true}); err != nil {
		return err
	}
	to := &pieces{out: out, sum: sha256.New()}
	header, manifest, err := o.take(ctx, to, func(p backup.Part) {
		to.send(&dialogv1.BackupResponse{Event: &dialogv1.BackupResponse_Part{Part: backedUp(p)}})
	})
	if err != nil {
		return err
	}
	done := &dialogv1.BackupCompleted{BeganAt: timestamppb.New(header.BeganAt), Sha256: hex.EncodeToString(to.sum.Sum(nil)), SizeBytes: to.size}
	for _, p := range manifest.Streams {
		done.Parts = append(done.Parts, backedUp(p))
	}
	to.send(&dialogv1.BackupResponse{Event: &dialogv1.BackupResponse_Completed{Completed: done}})
	return to.failed
}

func backedUp(p backup.Part) *dialogv1.BackedUp {
	return &dialogv1.BackedUp{Stream: p.Stream, Messages: p.Messages, Bytes: p.Bytes}
}

// awaitSpool waits until turns that were spooled are on their stream.
func (o *Operations) awaitSpool(ctx context.Context) error {
	end := time.After(spoolWait)
	tick := time.NewTicker(spoolPoll)
	defer tick.Stop()
	for {
		n := o.spooled()
		if n == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return fault.New(fault.Unavailable, fault.StoreUnavailable, "%d turns wait in the spool for NATS, and would not be in the backup; try again when it is empty", n).
				WithRetryAfter(time.Minute)
		}
	}
}

// pieces sends an archive as it is written.
type pieces struct {
	out    *connect.ServerStream[dialogv1.BackupResponse]
	sum    hash.Hash
	size   uint64
	failed error
}

func (p *pieces) send(m *dialogv1.BackupResponse) {
	if p.failed == nil {
		p.failed = p.out.Send(m)
	}
}

// Write implements [io.Writer].
func (p *pieces) Write(data []byte) (int, error) {
	sent := 0
	for sent < len(data) {
		piece := data[sent:min(len(data), sent+maxData)]
		p.send(&dialogv1.BackupResponse{Event: &dialogv1.BackupResponse_Data{Data: piece}})
		if p.failed != nil {
			return sent, p.failed
		}
		sent += len(piece)
	}
	p.sum.Write(data)
	p.size += uint64(len(data))
	return sent, nil
}

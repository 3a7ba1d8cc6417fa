package durable

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/line"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/message"
)

const (
	// lease is how long a job stays with a worker that gives no sign; extended as long as it works.
	lease = 20 * time.Second
	// maxWork is how long a job may keep its lease in all. After it another worker gets it, whatever the first is doing.
	maxWork = 30 * time.Minute
)

// Queue is the ingest part of RAGMESH_JOBS. Each workspace has a consumer of its own, so that its jobs wait behind nobody else's, and
// all of them share this process's places by turns.
type Queue struct {
	bus         *bus.Bus
	line        *line.Line
	ofWorkspace int
}

var _ ingest.Queue = (*Queue)(nil)

// NewQueue returns the queue on a bus. Workers is how many jobs this process works on at once, ofWorkspace how many of them may be
// one workspace's.
func NewQueue(b *bus.Bus, workers, ofWorkspace int) *Queue {
	return &Queue{bus: b, ofWorkspace: min(workers, ofWorkspace), line: line.New(line.Bounds{
		Places: workers, OfWorkspace: min(workers, ofWorkspace), Waiting: maxLanes * ofWorkspace, Patience: maxWork, What: "jobs",
	}, line.Observer{Waiting: func(int) {}, Refused: func(fault.Reason) {}})}
}

// Add queues a job.
func (q *Queue) Add(ctx context.Context, j ingest.Job) error {
	payload, err := proto.Marshal(&eventv1.IngestJob{Workspace: j.Workspace, DocumentId: j.DocumentID, Version: j.Hash, Sequence: j.Sequence})
	if err != nil {
		return fmt.Errorf("encode job: %w", err)
	}
	id := "ingest-" + j.DocumentID + "-" + strconv.FormatUint(j.Sequence, 10)
	if j.Again != "" {
		id += "-" + j.Again
	}
	return q.bus.Publish(ctx, bus.JobSubject("ingest", j.Workspace), id, payload)
}

// principal makes the retriever itself, in the job's workspace, the one in whose name the work is done.
func principal(ctx context.Context, j ingest.Job) context.Context {
	return identity.NewContext(ctx, identity.Background(identity.Retriever, j.Workspace))
}

// extend keeps a message's lease until stop is called or maxWork has passed.
func extend(ctx context.Context, m bus.Message) (stop func()) {
	ctx, cancel := context.WithTimeout(ctx, maxWork)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(lease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				_ = m.InProgress() // if NATS is away, the job comes again; work is idempotent
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func job(m bus.Message) (ingest.Job, error) {
	var payload eventv1.IngestJob
	if err := proto.Unmarshal(m.Data, &payload); err != nil {
		return ingest.Job{}, fmt.Errorf("decode job: %w", err)
	}
	return ingest.Job{
		Workspace: payload.GetWorkspace(), DocumentID: payload.GetDocumentId(), Hash: payload.GetVersion(), Sequence: payload.GetSequence(),
	}, nil
}

// Events are the documents' part of RAGMESH_EVENTS.
type Events struct{ bus *bus.Bus }

var _ ingest.Events = Events{}

// NewEvents returns the events on a bus.
func NewEvents(b *bus.Bus) Events { return Events{b} }

// Changed tells of a document's new state.
func (e Events) Changed(ctx context.Context, d document.Document) error {
	return e.publish(ctx, d, &eventv1.DocumentChanged{Document: message.Document(d), At: timestamppb.New(d.UpdatedAt)})
}

// Deleted tells that a document is gone, and takes back what was told of it: its names are as secret as its text.
func (e Events) Deleted(ctx context.Context, d document.Document) error {
	if _, err := e.bus.EraseAll(ctx, bus.Events, bus.DocumentSubject(d.Workspace, d.ID)); err != nil && !errors.Is(err, bus.ErrNotFound) {
		return fmt.Errorf("erase events: %w", err)
	}
	return e.publish(ctx, d, &eventv1.DocumentChanged{
		Document: &retrieverv1.Document{DocumentId: d.ID, Workspace: d.Workspace},
		Deleted:  true, At: timestamppb.New(d.UpdatedAt),
	})
}

func (e Events) publish(ctx context.Context, d document.Document, event *eventv1.DocumentChanged) error {
	payload, err := proto.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	id := fmt.Sprintf("document-%s-%d-%s-%t", d.ID, d.Newest.Sequence, d.State, event.GetDeleted())
	return e.bus.Publish(ctx, bus.DocumentSubject(d.Workspace, d.ID), id, payload)
}

// Follow calls ready with every document that becomes searchable, in whatever process, until ctx ends. Some may be missed while NATS is
// away.
func (e Events) Follow(ctx context.Context, ready func(workspace, id string)) error {
	return e.bus.Overhear(ctx, bus.DocumentSubject("*", "*"), func(_ string, data []byte) {
		var event eventv1.DocumentChanged
		if proto.Unmarshal(data, &event) != nil || event.GetDeleted() || event.GetDocument().GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
			return
		}
		ready(event.GetDocument().GetWorkspace(), event.GetDocument().GetDocumentId())
	})
}

// Leases are what only one process may be at, at a time.
type Leases struct{ bus *bus.Bus }

var _ ingest.Leases = Leases{}

// NewLeases returns the leases on a bus.
func NewLeases(b *bus.Bus) Leases { return Leases{b} }

// Document implements [ingest.Leases].
func (l Leases) Document(ctx context.Context, workspace, id string) (context.Context, func(), error) {
	return l.bus.Lease(ctx, "document."+workspace+"."+id)
}

// Alone runs do while no other process does under the same name, again and again until ctx ends: do ends when the name is lost.
func (l Leases) Alone(ctx context.Context, name string, do func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		held, release, err := l.bus.Lease(ctx, name)
		if err != nil { // NATS is away, or ctx has ended
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		err = do(held)
		release()
		if err != nil && ctx.Err() == nil && held.Err() == nil {
			return err
		}
	}
	return nil
}

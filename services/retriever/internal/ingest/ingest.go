// Package ingest takes documents in. An upload's parts become the stored original; a commit checks them, records the document
// and queues a job; a worker takes the job through parsing, chunking and indexing and switches the manifest to the new
// version. Every step may be repeated after a crash, by any process, and ends in the same state.
//
// The document's record decides everything: its newest version is what a job must be for, its live version what search
// serves. A document that can't be read ends failed with its reason and never comes back to the queue by itself.
package ingest

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// PartSize is the size of every part of an original but the last, bytes.
const PartSize = 1 << 20

// ErrNotFound is what Blobs and Uploads answer for something that is not there.
var ErrNotFound = errors.New("not found")

// Blobs keep the parts of originals.
type Blobs interface {
	Put(ctx context.Context, name string, data []byte) error
	// Get returns ErrNotFound for a blob that is not there, and at most PartSize bytes.
	Get(ctx context.Context, name string) ([]byte, error)
	Exists(ctx context.Context, name string) (bool, error)
	// Delete removes a blob and its bytes. One that is not there is no error.
	Delete(ctx context.Context, name string) error
}

// Uploads keep the uploads that are under way.
type Uploads interface {
	Put(ctx context.Context, u Upload) error
	// Get returns ErrNotFound for an upload that is not there, or was for too long.
	Get(ctx context.Context, workspace, id string) (Upload, error)
	Delete(ctx context.Context, workspace, id string) error
	List(ctx context.Context) ([]Upload, error)
}

// Job asks a worker to take in a document's newest version.
type Job struct {
	Workspace  string
	DocumentID string
	Hash       string
	Sequence   uint64
	// Again tells a job for a version apart from an earlier one for the same; it is not handed to workers.
	Again string
}

// Queue hands every job to one worker until that acknowledges it.
type Queue interface {
	// Add queues a job durably. Adding it twice within minutes is adding it once.
	Add(ctx context.Context, j Job) error
	// Jobs returns how many jobs of each workspace are not done.
	Jobs(ctx context.Context) (map[string]int, error)
	// Consume calls handle for jobs, several at once, until ctx ends. A job whose handle fails comes again after a while;
	// when it failed too often, or its worker died each time (cause is nil then), dead is called instead.
	Consume(ctx context.Context, handle func(ctx context.Context, j Job, attempt int) error, dead func(ctx context.Context, j Job, cause error)) error
}

// Leases keep processes apart that work on the same documents.
type Leases interface {
	// Document waits until no other process works on a document. The context it returns ends when that may be so no longer.
	Document(ctx context.Context, workspace, id string) (held context.Context, release func(), err error)
	// Alone runs do while no other process does under the same name, until ctx ends.
	Alone(ctx context.Context, name string, do func(ctx context.Context) error) error
}

// Events tell the other services.
type Events interface {
	Changed(ctx context.Context, d document.Document) error
	Deleted(ctx context.Context, d document.Document) error
}

// Catalog is the documents' records.
type Catalog interface {
	Get(workspace, id string, r document.Reader) (document.Document, error)
	Current(ctx context.Context, workspace, id string, sequence uint64) (document.Document, error)
	Change(ctx context.Context, workspace, id string, edit func(*document.Document) error) (document.Document, error)
	Remove(ctx context.Context, workspace, id string) error
	Select(condition func(document.Document) bool) []document.Document
	Matching(workspace string, f catalog.Filter) ([]document.Document, error)
	Waiting(workspace string, now time.Time) (documents int, bytes int64, perSecond, bytesPerSecond float64)
	Synced() <-chan struct{}
}

var _ Catalog = (*catalog.Catalog)(nil)

// Store keeps what is derived from documents.
type Store interface {
	Put(ctx context.Context, workspace string, v store.Version) error
	Prune(ctx context.Context, workspace, documentID, keep string) (chunks int, err error)
	Drop(ctx context.Context, workspace string) error
	Lacks(ctx context.Context, workspace, revision string, versions []store.Key) ([]store.Key, error)
}

// Parser turns originals into text.
type Parser interface {
	Parse(ctx context.Context, s parse.Source) (parse.Document, error)
	ContentType(s parse.Source) string
	// Isolated reports whether Parse reads s in another process, within bounds of its own.
	Isolated(s parse.Source) bool
}

// Config is what can be chosen about ingestion.
type Config struct {
	MaxDocument int64         // bytes of an original
	MaxMemory   int64         // bytes of originals worked on at once
	UploadTTL   time.Duration // how long an upload may take
	MaxStage    time.Duration // a job longer than this in one stage is wedged
	MaxQueue    int           // documents of a workspace that may wait; 0 for no bound
	MaxQueued   int64         // bytes of them; 0 for no bound
	Embeds      bool          // vectors follow: a document that is ready is at that stage until it has them
}

// Deps is what ingestion works with.
type Deps struct {
	Catalog  Catalog
	Store    Store
	Parser   Parser
	Blobs    Blobs
	Uploads  Uploads
	Queue    Queue
	Events   Events
	Observer Observer
	Clock    func() time.Time
	// Leases are for a store that other processes work on too; nil for one of this process's own.
	Leases Leases
}

// Observer is told what becomes of jobs.
type Observer interface {
	// Ended is called for every job: outcome is ready, failed, retry or superseded.
	Ended(ctx context.Context, j Job, outcome string, took time.Duration, err error)
	// Stage is called when a job leaves a stage, be it for the next one or because it ended there.
	Stage(stage document.Stage, took time.Duration)
	// Warn is called for work that failed and will be done later.
	Warn(ctx context.Context, what string, err error)
}

// Ingester takes documents in. It is safe for concurrent use.
type Ingester struct {
	config Config
	deps   Deps
	memory *memory
	stages stages
	desk   desk

	alone   chan struct{} // capacity 1: whoever puts something in works on a suspect
	recheck chan struct{} // capacity 1
	missing missing
}

// New returns an ingester. Run makes it work on jobs.
func New(c Config, d Deps) *Ingester {
	return &Ingester{config: c, deps: d, memory: newMemory(c.MaxMemory), stages: stages{running: map[*stage]struct{}{}, clock: d.Clock, left: d.Observer.Stage}, desk: desk{seats: map[string]*seat{}}, alone: make(chan struct{}, 1), recheck: make(chan struct{}, 1)}
}

// blobName names a part of an original, from 1.
func blobName(workspace, documentID, hash string, part int) string {
	return workspace + "/" + documentID + "/" + hash + "/" + strconv.Itoa(part)
}

// removeOriginal deletes an original's bytes.
func (in *Ingester) removeOriginal(ctx context.Context, d document.Document, o document.Original) error {
	for part := 1; part <= o.Parts; part++ {
		if err := in.deps.Blobs.Delete(ctx, blobName(d.Workspace, d.ID, o.Hash, part)); err != nil {
			return err
		}
	}
	return nil
}

// busy is the error for content whose earlier copy is being removed.
func busy() error {
	return fault.New(fault.Conflict, fault.ReasonConflict, "an earlier version with this content is being removed; commit again shortly").WithRetryAfter(time.Second)
}

// sequence returns the sequence of the next version of d: the time, so that sequences ascend in a workspace, and more than the
// one before whatever the clocks say.
func (in *Ingester) sequence(d document.Document) uint64 {
	return max(uint64(in.deps.Clock().UnixMicro()), d.Newest.Sequence+1)
}

var errDeleting = fault.New(fault.Conflict, fault.ReasonConflict, "the document is being deleted; try again shortly").
	WithRetryAfter(time.Second)

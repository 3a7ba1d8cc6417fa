// Package ingest takes documents in through the edge: it uploads them in parts, several at a time, and waits until the server
// has made each searchable or given it up. Repeating it is cheap and changes nothing: content the server has is not sent.
package ingest

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/repeat"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

const (
	// Concurrency is how many documents are uploaded at the same time.
	Concurrency = 32
	// attempts is how often a step is tried while the server is busy or away.
	attempts = 6
	// firstRetry is the wait after the first failure; it doubles, unless the server says when to come back.
	firstRetry = 250 * time.Millisecond
	maxRetry   = 10 * time.Second
	// patience is how long no document may end before waiting is given up. The server goes on by itself.
	patience = 5 * time.Minute
	// window is how many documents are asked for at once.
	window = 500
	// poll is the wait between rounds that found nothing new, at first and at most.
	firstPoll = 20 * time.Millisecond
	maxPoll   = time.Second
	// maxPartBytes is the largest part the contract allows.
	maxPartBytes = 1 << 20
	// maxWhole is the size up to which a document is sent with one call.
	maxWhole = 1 << 20
)

// Retriever is the part of the edge that takes documents in.
type Retriever interface {
	CreateUpload(context.Context, *retrieverv1.CreateUploadRequest) (*retrieverv1.CreateUploadResponse, error)
	PutPart(context.Context, *retrieverv1.PutPartRequest) (*retrieverv1.PutPartResponse, error)
	CommitUpload(context.Context, *retrieverv1.CommitUploadRequest) (*retrieverv1.CommitUploadResponse, error)
	PutDocument(context.Context, *retrieverv1.PutDocumentRequest) (*retrieverv1.PutDocumentResponse, error)
	ListDocuments(context.Context, *retrieverv1.ListDocumentsRequest) (*retrieverv1.ListDocumentsResponse, error)
}

// Item is a document to take in.
type Item struct {
	URI, Title, ContentType string
	// Open returns the document's bytes from the start. It is called once to hash them and once to send them.
	Open func() (io.ReadCloser, error)
}

// Item returns the file as an item.
func (f File) Item() Item {
	return Item{URI: f.URI, ContentType: f.ContentType, Open: func() (io.ReadCloser, error) { return os.Open(f.Path) }}
}

// Text returns an item that holds a text.
func Text(uri, title, text string) Item {
	return Item{URI: uri, Title: title, ContentType: "text/plain", Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(text))), nil
	}}
}

// Result is what became of an item.
type Result struct {
	URI string
	// Document is its last known state; nil when the upload failed.
	Document *retrieverv1.Document
	// Unchanged says that the server had it already.
	Unchanged bool
	// Err is why it could not be uploaded, or why nobody waited to the end. A document that the server gave up says so itself.
	Err error
}

// Failed says whether the item is not, and will not be, searchable as it was given.
func (r Result) Failed() bool {
	return r.Err != nil || r.Document.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_FAILED
}

// Ingester takes items in.
type Ingester struct {
	retriever Retriever
	workspace string
	access    *retrieverv1.AccessList
	report    func(Result)
	queue     func(*retrieverv1.Queue)
	known     map[string]*retrieverv1.Document // by source URI, as they were before the start
	wait      bool
	vectors   bool
	sleep     func(context.Context, time.Duration) error
	now       func() time.Time
	// reached says that the server has answered: from then on its absence is an outage to sit out, before it is a mistake
	// to report at once.
	reached atomic.Bool
	// progress is when a document was accepted last: a full queue is waited for while there is some.
	progress atomic.Pointer[time.Time]
}

// Options configures an Ingester.
type Options struct {
	Workspace string
	// NoWait ends an item when the server has it safely, not when it is searchable.
	NoWait bool
	// Vectors ends an item when it has its vectors too, where the server makes any.
	Vectors bool
	// Readers are who may read the documents; none leaves that as it is.
	Readers []string
	// Report is called once for every item when it has ended; by one goroutine at a time. Nil for none.
	Report func(Result)
	// Queue is told how much the workspace has waiting, now and then; by one goroutine at a time. Nil for none.
	Queue func(*retrieverv1.Queue)
}

// New returns an Ingester.
func New(r Retriever, o Options) *Ingester {
	if o.Report == nil {
		o.Report = func(Result) {}
	}
	if o.Queue == nil {
		o.Queue = func(*retrieverv1.Queue) {}
	}
	var access *retrieverv1.AccessList
	if len(o.Readers) > 0 {
		access = &retrieverv1.AccessList{Readers: o.Readers}
	}
	return &Ingester{retriever: r, workspace: o.Workspace, access: access, report: o.Report, queue: o.Queue, wait: !o.NoWait, vectors: o.Vectors, sleep: repeat.Pause, now: time.Now}
}

// Run takes all items in and returns their results in the order of the items. The error is for what stops the whole: the
// server is away, refuses the caller, or ctx has ended.
func (in *Ingester) Run(ctx context.Context, items []Item) ([]Result, error) {
	if err := in.look(ctx, items); err != nil {
		return nil, err
	}
	results := make([]Result, len(items))
	uploaded := make(chan int, len(items))
	var once sync.Mutex // one report at a time
	end := func(i int) {
		once.Lock()
		defer once.Unlock()
		in.report(results[i])
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(uploaded)
		uploads, ctx := errgroup.WithContext(ctx)
		uploads.SetLimit(Concurrency)
		for i, item := range items {
			uploads.Go(func() error {
				r, err := in.upload(ctx, item)
				if err != nil {
					return err
				}
				results[i] = r
				if !in.wait || r.Err != nil || in.ended(r.Document) {
					end(i)
				} else {
					uploaded <- i
				}
				return nil
			})
		}
		return uploads.Wait()
	})
	group.Go(func() error {
		return in.await(ctx, uploaded, results, end)
	})
	return results, group.Wait()
}

func (in *Ingester) ended(d *retrieverv1.Document) bool {
	switch d.GetState() {
	case retrieverv1.DocumentState_DOCUMENT_STATE_READY:
		return !in.vectors || d.GetStage() != retrieverv1.Stage_STAGE_EMBED
	case retrieverv1.DocumentState_DOCUMENT_STATE_FAILED:
		return true
	}
	return false
}

// Package ingest takes documents in through the edge: it uploads them in parts, several at a time, and waits until the server
// has made each searchable or given it up. Repeating it is cheap and changes nothing: content the server has is not sent.
package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

const (
	// Concurrency is how many documents are uploaded at the same time.
	Concurrency = 8
	// attempts is how often a step is tried while the server is busy or away.
	attempts = 6
	// firstRetry is the wait after the first failure; it doubles, unless the server says when to come back.
	firstRetry = 250 * time.Millisecond
	maxRetry   = 10 * time.Second
	// patience is how long no document may end before waiting is given up. The server goes on by itself.
	patience = 5 * time.Minute
	// window is how many unfinished documents are asked for in one round.
	window = 32
	// poll is the wait between rounds that found nothing new, at first and at most.
	firstPoll = 20 * time.Millisecond
	maxPoll   = time.Second
	// maxPartBytes is the largest part the contract allows.
	maxPartBytes = 1 << 20
)

// Retriever is the part of the edge that takes documents in.
type Retriever interface {
	CreateUpload(context.Context, *retrieverv1.CreateUploadRequest) (*retrieverv1.CreateUploadResponse, error)
	PutPart(context.Context, *retrieverv1.PutPartRequest) (*retrieverv1.PutPartResponse, error)
	CommitUpload(context.Context, *retrieverv1.CommitUploadRequest) (*retrieverv1.CommitUploadResponse, error)
	GetDocument(context.Context, *retrieverv1.GetDocumentRequest) (*retrieverv1.GetDocumentResponse, error)
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
	wait      bool
	vectors   bool
	sleep     func(context.Context, time.Duration) error
	now       func() time.Time
	// reached says that the server has answered: from then on its absence is an outage to sit out, before it is a mistake
	// to report at once.
	reached atomic.Bool
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
}

// New returns an Ingester.
func New(r Retriever, o Options) *Ingester {
	if o.Report == nil {
		o.Report = func(Result) {}
	}
	var access *retrieverv1.AccessList
	if len(o.Readers) > 0 {
		access = &retrieverv1.AccessList{Readers: o.Readers}
	}
	return &Ingester{retriever: r, workspace: o.Workspace, access: access, report: o.Report, wait: !o.NoWait, vectors: o.Vectors, sleep: sleep, now: time.Now}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run takes all items in and returns their results in the order of the items. The error is for what stops the whole: the
// server is away, refuses the caller, or ctx has ended.
func (in *Ingester) Run(ctx context.Context, items []Item) ([]Result, error) {
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

// await asks for the state of what was uploaded, a window at a time and in turn, so that documents that take long hold up
// no news of the others.
func (in *Ingester) await(ctx context.Context, uploaded <-chan int, results []Result, end func(int)) error {
	var open []int
	more := true
	wait, last := firstPoll, in.now()
	for more || len(open) > 0 {
		if open, more = collect(ctx, uploaded, open, more); len(open) == 0 {
			last = in.now() // nothing to wait for yet
			continue
		}
		round := open[:min(len(open), window)]
		open = slices.Clone(open[len(round):])
		news := false
		for _, i := range round {
			d, err := in.state(ctx, results[i].Document.GetDocumentId())
			switch {
			case fault.ReasonOf(err) == fault.DocumentNotFound:
				results[i].Err = fault.New(fault.NotFound, fault.DocumentNotFound, "it was deleted while it was taken in")
			case err != nil:
				return err
			case !in.ended(d):
				open = append(open, i)
				continue
			default:
				results[i].Document = d
			}
			news = true
			end(i)
		}
		if news {
			wait, last = firstPoll, in.now()
			continue
		}
		if len(open) > 0 && in.now().Sub(last) > patience {
			return in.giveUp(open, results, end)
		}
		if err := in.sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, maxPoll)
	}
	return nil
}

// collect takes over what has been uploaded since; while there is nothing to ask for, it waits for the first.
func collect(ctx context.Context, uploaded <-chan int, open []int, more bool) ([]int, bool) {
	if more && len(open) == 0 {
		select {
		case i, ok := <-uploaded:
			if !ok {
				return open, false
			}
			open = append(open, i)
		case <-ctx.Done():
			return open, false
		}
	}
	for more {
		select {
		case i, ok := <-uploaded:
			if !ok {
				return open, false
			}
			open = append(open, i)
		default:
			return open, true
		}
	}
	return open, false
}

func (in *Ingester) giveUp(open []int, results []Result, end func(int)) error {
	for _, i := range open {
		results[i].Err = fault.New(fault.Timeout, fault.DeadlineExceeded,
			"still in the queue after %s without progress; the server goes on with it, see `ragmesh docs list`", patience)
		end(i)
	}
	return nil
}

func (in *Ingester) state(ctx context.Context, id string) (*retrieverv1.Document, error) {
	var document *retrieverv1.Document
	err := in.retry(ctx, func() error {
		resp, err := in.retriever.GetDocument(ctx, &retrieverv1.GetDocumentRequest{Workspace: in.workspace, DocumentId: id})
		document = resp.GetDocument()
		return err
	})
	return document, err
}

// upload sends one item. A failure that concerns this item alone is in the result.
func (in *Ingester) upload(ctx context.Context, item Item) (Result, error) {
	r := Result{URI: item.URI}
	resp, err := in.send(ctx, item)
	switch {
	case err == nil:
		r.Document, r.Unchanged = resp.GetDocument(), resp.GetUnchanged()
	case ctx.Err() != nil:
		return r, ctx.Err()
	case stopsAll(err):
		return r, err
	default:
		r.Err = err
	}
	return r, nil
}

// stopsAll says whether an error would meet every other item as well.
func stopsAll(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return false
	}
	switch f.Kind {
	case fault.Unauthenticated, fault.Denied, fault.Unavailable, fault.Exhausted, fault.Unimplemented:
		return true
	case fault.NotFound:
		return f.Reason == fault.WorkspaceNotFound
	case fault.Precondition:
		return f.Reason == fault.ServiceUnavailable
	default:
		return false
	}
}

func (in *Ingester) send(ctx context.Context, item Item) (*retrieverv1.CommitUploadResponse, error) {
	sum, size, err := digest(item)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", item.URI, err)
	}
	var up *retrieverv1.CreateUploadResponse
	err = in.retry(ctx, func() (err error) {
		up, err = in.retriever.CreateUpload(ctx, &retrieverv1.CreateUploadRequest{
			Workspace: in.workspace, SourceUri: item.URI, Title: item.Title, ContentType: item.ContentType, SizeBytes: uint64(size), Sha256: sum,
			Access: in.access,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := in.parts(ctx, item, up); err != nil {
		return nil, err
	}
	var resp *retrieverv1.CommitUploadResponse
	err = in.retry(ctx, func() (err error) {
		resp, err = in.retriever.CommitUpload(ctx, &retrieverv1.CommitUploadRequest{Workspace: in.workspace, UploadId: up.GetUploadId()})
		return err
	})
	return resp, err
}

func digest(item Item) (sum string, size int64, err error) {
	r, err := item.Open()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	h := sha256.New()
	size, err = io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// parts sends the parts the server does not have.
func (in *Ingester) parts(ctx context.Context, item Item, up *retrieverv1.CreateUploadResponse) error {
	if up.GetPartCount() == 0 {
		return nil
	}
	if up.GetPartSizeBytes() == 0 || up.GetPartSizeBytes() > maxPartBytes {
		return fmt.Errorf("upload %s: the server wants parts of %d bytes", item.URI, up.GetPartSizeBytes())
	}
	r, err := item.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", item.URI, err)
	}
	defer r.Close()
	buffer := make([]byte, up.GetPartSizeBytes())
	for number := uint32(1); number <= up.GetPartCount(); number++ {
		n, err := io.ReadFull(r, buffer)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("read %s, which changed meanwhile: %w", item.URI, err)
		}
		if slices.Contains(up.GetStoredParts(), number) {
			continue
		}
		err = in.retry(ctx, func() error {
			_, err := in.retriever.PutPart(ctx, &retrieverv1.PutPartRequest{
				Workspace: in.workspace, UploadId: up.GetUploadId(), PartNumber: number, Data: buffer[:n],
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// retry repeats a step, all of which may be repeated, while the server is busy or briefly away.
func (in *Ingester) retry(ctx context.Context, step func() error) error {
	wait := firstRetry
	for attempt := 1; ; attempt++ {
		err := step()
		f, ok := errors.AsType[*fault.Error](err)
		away := ok && f.Kind == fault.Unavailable
		if !away {
			in.reached.Store(true)
		}
		if !ok || attempt == attempts || !in.reached.Load() || (!away && f.Kind != fault.Exhausted) {
			return err
		}
		if err := in.sleep(ctx, min(max(wait, f.RetryAfter), maxRetry)); err != nil {
			return err
		}
		wait *= 2
	}
}

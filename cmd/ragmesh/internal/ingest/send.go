package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// upload sends one item. A failure that concerns this item alone is in the result.
func (in *Ingester) upload(ctx context.Context, item Item) (Result, error) {
	r := Result{URI: item.URI}
	var err error
	r.Document, r.Unchanged, err = in.send(ctx, item)
	switch {
	case err == nil:
		now := in.now()
		in.progress.Store(&now)
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

// send sends one item, unless the server has it.
func (in *Ingester) send(ctx context.Context, item Item) (d *retrieverv1.Document, unchanged bool, err error) {
	c, err := read(item)
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", item.URI, err)
	}
	if d := in.known[item.URI]; d.GetVersion() == c.sum && (item.Title == "" || d.GetTitle() == item.Title) && in.access == nil &&
		d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_FAILED {
		return d, d.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_READY, nil
	}
	if c.whole {
		var resp *retrieverv1.PutDocumentResponse
		err = in.retry(ctx, func() (err error) {
			resp, err = in.retriever.PutDocument(ctx, &retrieverv1.PutDocumentRequest{
				Workspace: in.workspace, SourceUri: item.URI, Title: item.Title, ContentType: item.ContentType, Data: c.data, Sha256: c.sum, Access: in.access,
			})
			return err
		})
		if fault.KindOf(err) != fault.Unimplemented { // an older server
			return resp.GetDocument(), resp.GetUnchanged(), err
		}
	}
	resp, err := in.inParts(ctx, item, c)
	return resp.GetDocument(), resp.GetUnchanged(), err
}

// inParts announces an item, sends its parts and commits them.
func (in *Ingester) inParts(ctx context.Context, item Item, c content) (*retrieverv1.CommitUploadResponse, error) {
	var up *retrieverv1.CreateUploadResponse
	err := in.retry(ctx, func() (err error) {
		up, err = in.retriever.CreateUpload(ctx, &retrieverv1.CreateUploadRequest{
			Workspace: in.workspace, SourceUri: item.URI, Title: item.Title, ContentType: item.ContentType, SizeBytes: uint64(c.size), Sha256: c.sum,
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

// content is what an item's bytes are.
type content struct {
	sum   string
	size  int64
	whole bool // data is all of it
	data  []byte
}

// read reads an item, and keeps what is small.
func read(item Item) (content, error) {
	r, err := item.Open()
	if err != nil {
		return content{}, err
	}
	defer r.Close()
	var head bytes.Buffer
	h := sha256.New()
	n, err := io.CopyN(io.MultiWriter(h, &head), r, maxWhole+1)
	c := content{size: n, whole: n <= maxWhole, data: head.Bytes()}
	switch {
	case err == nil: // there is more
		c.data = nil
		rest, err := io.Copy(h, r)
		if err != nil {
			return content{}, err
		}
		c.size += rest
	case !errors.Is(err, io.EOF):
		return content{}, err
	}
	c.sum = hex.EncodeToString(h.Sum(nil))
	return c, nil
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

// retry repeats a step, all of which may be repeated, while the server is busy or briefly away; and as long as it takes while the
// workspace's queue is full but moves.
func (in *Ingester) retry(ctx context.Context, step func() error) error {
	wait, began := firstRetry, in.now()
	for attempt := 1; ; attempt++ {
		err := step()
		f, ok := errors.AsType[*fault.Error](err)
		away := ok && f.Kind == fault.Unavailable
		if !away {
			in.reached.Store(true)
		}
		if ok && f.Reason == fault.QueueFull && in.moves(began) {
			if err := in.sleep(ctx, min(max(f.RetryAfter, firstRetry), maxFull)); err != nil {
				return err
			}
			attempt--
			continue
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

// moves says whether a document was accepted since a step began or not long ago: then a full queue is worth waiting for.
func (in *Ingester) moves(began time.Time) bool {
	if last := in.progress.Load(); last != nil && last.After(began) {
		began = *last
	}
	return in.now().Sub(began) < fullPatience
}

const (
	// maxFull is the longest wait until a full queue is asked again, fullPatience how long none of our documents may be accepted.
	maxFull      = time.Minute
	fullPatience = 30 * time.Minute
)

// maxLook is how many of the workspace's documents are looked through for each of this run. Beyond, the server is told everything, and
// says by itself what is unchanged.
const maxLook = 4

// look asks which documents the server has, so that what it has is not sent.
func (in *Ingester) look(ctx context.Context, items []Item) error {
	in.known = map[string]*retrieverv1.Document{}
	if len(items) == 0 || in.access != nil {
		return nil
	}
	wanted := make(map[string]struct{}, len(items))
	prefix := items[0].URI
	for _, item := range items {
		wanted[item.URI] = struct{}{}
		for !strings.HasPrefix(item.URI, prefix) {
			_, size := utf8.DecodeLastRuneInString(prefix)
			prefix = prefix[:len(prefix)-size]
		}
	}
	err := Each(ctx, in.workspace, prefix, maxLook*len(items)+1000, in.list, func(d *retrieverv1.Document) {
		if _, ok := wanted[d.GetSourceUri()]; ok {
			in.known[d.GetSourceUri()] = d
		}
	})
	if kind := fault.KindOf(err); err != nil && ctx.Err() == nil && (kind == fault.Denied || !stopsAll(err)) {
		return nil // with a key that may only write, nobody looks
	}
	return err
}

func (in *Ingester) list(ctx context.Context, req *retrieverv1.ListDocumentsRequest) (resp *retrieverv1.ListDocumentsResponse, err error) {
	err = in.retry(ctx, func() (err error) {
		resp, err = in.retriever.ListDocuments(ctx, req)
		return err
	})
	return resp, err
}

// Each calls f with the documents of a workspace whose source URI starts with a prefix, as many as most.
func Each(
	ctx context.Context, workspace, prefix string, most int,
	list func(context.Context, *retrieverv1.ListDocumentsRequest) (*retrieverv1.ListDocumentsResponse, error), f func(*retrieverv1.Document),
) error {
	const page = 1000
	req := &retrieverv1.ListDocumentsRequest{Workspace: workspace, SourcePrefix: prefix, PageSize: page}
	for range most/page + 1 {
		resp, err := list(ctx, req)
		if err != nil {
			return err
		}
		for _, d := range resp.GetDocuments() {
			f(d)
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	return nil
}

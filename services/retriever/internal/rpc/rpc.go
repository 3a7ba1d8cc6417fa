// Package rpc serves the retriever's procedures. A handler takes its request apart, calls the domain and puts the answer
// together; who may call, and what a well-formed request is, has been checked before it.
package rpc

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/message"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Searcher finds passages.
type Searcher interface {
	Search(ctx context.Context, r search.Request) (search.Result, error)
}

// Ingester takes documents in and removes them.
type Ingester interface {
	Create(ctx context.Context, by ingest.Caller, u ingest.Upload) (ingest.Created, error)
	PutPart(ctx context.Context, by ingest.Caller, workspace, uploadID string, part int, data []byte) (stored int, err error)
	Commit(ctx context.Context, by ingest.Caller, workspace, uploadID string) (d document.Document, unchanged bool, err error)
	SetAccess(ctx context.Context, by document.Reader, workspace, id string, access *document.Access) (document.Document, error)
	Put(ctx context.Context, by ingest.Caller, u ingest.Upload, data []byte) (d document.Document, unchanged bool, err error)
	Retry(ctx context.Context, by document.Reader, workspace, id string) (document.Document, error)
	RetryAll(ctx context.Context, workspace string, f catalog.Filter, permanent bool) (ingest.Retried, error)
	Cancel(ctx context.Context, by document.Reader, workspace, id string) (document.Document, error)
	Delete(ctx context.Context, by document.Reader, workspace, id string) (chunks int, err error)
	DeleteWorkspace(ctx context.Context, workspace string) (documents int, err error)
}

// Catalog knows the documents.
type Catalog interface {
	Get(workspace, id string, r document.Reader) (document.Document, error)
	Readable(workspace string, ids []string, r document.Reader) ([]string, error)
	List(workspace string, f catalog.Filter, size int, token string) (catalog.Page, error)
	Watch(workspace string, r document.Reader) (*catalog.Watch, error)
	Queue(workspace string, r document.Reader, now time.Time) catalog.Queue
	Remaining(workspace string, documents []document.Document, now time.Time) []time.Duration
}

// Texts keep canonical text.
type Texts interface {
	Text(ctx context.Context, workspace, documentID, hash string) (string, error)
}

// Serving is what searches are answered with. It does not change; a configuration that does makes another one.
type Serving struct {
	Searcher Searcher
	Revision string // of the configuration, for answers
}

// Handler implements RetrieverService. Use says what searches are answered with.
type Handler struct {
	// Later procedures answer Unimplemented until they are here.
	retrieverv1connect.UnimplementedRetrieverServiceHandler

	Ingester Ingester
	Catalog  Catalog
	Texts    Texts
	Clock    func() time.Time
	Bounds   message.Bounds // of what a workspace may have waiting

	serving atomic.Pointer[Serving]
}

var _ retrieverv1connect.RetrieverServiceHandler = (*Handler)(nil)

// Use has searches from now on answered with s.
func (h *Handler) Use(s Serving) { h.serving.Store(&s) }

// Revision returns the revision that answers carry.
func (h *Handler) Revision() string { return h.serving.Load().Revision }

// reader is who a call is made for. Without anybody it is one who reads what everybody may.
func reader(ctx context.Context) document.Reader {
	p, _ := identity.FromContext(ctx)
	return p
}

func caller(ctx context.Context) ingest.Caller {
	p, _ := identity.FromContext(ctx)
	return ingest.Caller{Reader: p, Subject: p.Subject}
}

// Search answers a query.
func (h *Handler) Search(ctx context.Context, r *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
	serving := h.serving.Load()
	result, err := serving.Searcher.Search(ctx, search.Request{
		Workspace: r.GetWorkspace(), Query: r.GetQuery(), Strategy: r.GetStrategy(), TopK: int(r.GetTopK()), Filter: filter(r.GetFilter()),
		Reader: reader(ctx),
	})
	if err != nil {
		return nil, err
	}
	out := &retrieverv1.SearchResponse{
		Strategy: result.Strategy, IndexSequence: result.Sequence, ConfigRevision: serving.Revision,
		Candidates: uint32(result.Candidates), EmbeddingModel: result.Embedding, RerankModel: result.Reranker,
	}
	for _, p := range result.Passages {
		out.Passages = append(out.Passages, passage(p))
	}
	for _, d := range result.Degradations {
		out.Degradations = append(out.Degradations, &retrieverv1.Degradation{Stage: d.Stage, Reason: d.Reason, Message: d.Message})
	}
	return out, nil
}

func filter(f *retrieverv1.Filter) store.Filter {
	return store.Filter{DocumentIDs: f.GetDocumentIds(), SourcePrefixes: f.GetSourcePrefixes(), Languages: f.GetLanguages()}
}

func passage(p search.Passage) *retrieverv1.Passage {
	return &retrieverv1.Passage{
		ChunkId: p.ID, DocumentId: p.DocumentID, Version: p.Hash, SourceUri: p.SourceURI, Title: p.Title, HeadingPath: p.HeadingPath, Pages: pages(p.Pages),
		Range: byteRange(p.Start, p.End), Text: p.Text, Language: p.Language, Score: p.Score, ScoreParts: p.Parts,
	}
}

// pages says where on its pages a passage stands.
func pages(all []document.Page) []*retrieverv1.PageRegion {
	out := make([]*retrieverv1.PageRegion, 0, len(all))
	for _, p := range all {
		region := &retrieverv1.PageRegion{Page: uint32(p.Number)}
		for _, b := range p.Boxes {
			region.Boxes = append(region.Boxes, &retrieverv1.Box{Left: b[0], Bottom: b[1], Right: b[2], Top: b[3]})
		}
		out = append(out, region)
	}
	return out
}

func byteRange(start, end int) *retrieverv1.ByteRange {
	return &retrieverv1.ByteRange{Start: uint64(start), End: uint64(end)}
}

// GetDocument returns one document.
func (h *Handler) GetDocument(ctx context.Context, r *retrieverv1.GetDocumentRequest) (*retrieverv1.GetDocumentResponse, error) {
	d, err := h.Catalog.Get(r.GetWorkspace(), r.GetDocumentId(), reader(ctx))
	if err != nil {
		return nil, err
	}
	return &retrieverv1.GetDocumentResponse{Document: h.documents(r.GetWorkspace(), d)[0]}, nil
}

// documents returns documents as others see them, with how long those take that wait.
func (h *Handler) documents(workspace string, all ...document.Document) []*retrieverv1.Document {
	remaining := h.Catalog.Remaining(workspace, all, h.Clock())
	out := make([]*retrieverv1.Document, 0, len(all))
	for i, d := range all {
		m := message.Document(d)
		m.EtaSeconds = message.Seconds(remaining[i])
		out = append(out, m)
	}
	return out
}

func (h *Handler) queue(ctx context.Context, workspace string) *retrieverv1.Queue {
	return message.Queue(h.Catalog.Queue(workspace, reader(ctx), h.Clock()), h.Bounds)
}

// GetQueue says how much waits to be taken in.
func (h *Handler) GetQueue(ctx context.Context, r *retrieverv1.GetQueueRequest) (*retrieverv1.GetQueueResponse, error) {
	return &retrieverv1.GetQueueResponse{Queue: h.queue(ctx, r.GetWorkspace())}, nil
}

// defaultPage is how many documents a list holds when the request doesn't say.
const defaultPage = 100

// ListDocuments returns a page of documents.
func (h *Handler) ListDocuments(ctx context.Context, r *retrieverv1.ListDocumentsRequest) (*retrieverv1.ListDocumentsResponse, error) {
	size := int(r.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	f := catalog.Filter{State: message.State(r.GetState()), SourcePrefix: r.GetSourcePrefix(), IDs: r.GetDocumentIds(), Reasons: r.GetReasons(), Reader: reader(ctx)}
	page, err := h.Catalog.List(r.GetWorkspace(), f, size, r.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.ListDocumentsResponse{
		Documents: h.documents(r.GetWorkspace(), page.Documents...), NextPageToken: page.Next, Total: uint32(page.Total), Queue: h.queue(ctx, r.GetWorkspace()),
	}, nil
}

// ReadDocument returns canonical text.
func (h *Handler) ReadDocument(ctx context.Context, r *retrieverv1.ReadDocumentRequest) (*retrieverv1.ReadDocumentResponse, error) {
	d, err := h.Catalog.Get(r.GetWorkspace(), r.GetDocumentId(), reader(ctx))
	if err != nil {
		return nil, err
	}
	version := r.GetVersion()
	if version == "" {
		version = d.Live.Hash
	}
	if version == "" {
		return nil, fault.New(fault.Precondition, fault.DocumentNotFound, "the document has no text yet; it is %s", d.State)
	}
	whole, err := h.Texts.Text(ctx, d.Workspace, d.ID, version)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.New(fault.NotFound, fault.DocumentNotFound, "this version of the document is not kept any more")
	}
	if err != nil {
		return nil, err
	}
	start, end := clip(whole, r.GetRange())
	return &retrieverv1.ReadDocumentResponse{
		Text: whole[start:end], Range: byteRange(start, end), TotalBytes: uint64(len(whole)), Version: version,
	}, nil
}

// DeleteDocument removes a document.
func (h *Handler) DeleteDocument(ctx context.Context, r *retrieverv1.DeleteDocumentRequest) (*retrieverv1.DeleteDocumentResponse, error) {
	chunks, err := h.Ingester.Delete(ctx, reader(ctx), r.GetWorkspace(), r.GetDocumentId())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.DeleteDocumentResponse{RemovedChunks: uint32(chunks)}, nil
}

// CancelIngestion stops a document's job.
func (h *Handler) CancelIngestion(ctx context.Context, r *retrieverv1.CancelIngestionRequest) (*retrieverv1.CancelIngestionResponse, error) {
	d, err := h.Ingester.Cancel(ctx, reader(ctx), r.GetWorkspace(), r.GetDocumentId())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.CancelIngestionResponse{Document: message.Document(d)}, nil
}

// RetryIngestion queues a failed document again.
func (h *Handler) RetryIngestion(ctx context.Context, r *retrieverv1.RetryIngestionRequest) (*retrieverv1.RetryIngestionResponse, error) {
	d, err := h.Ingester.Retry(ctx, reader(ctx), r.GetWorkspace(), r.GetDocumentId())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.RetryIngestionResponse{Document: message.Document(d)}, nil
}

// RetryDocuments queues failed documents again.
func (h *Handler) RetryDocuments(ctx context.Context, r *retrieverv1.RetryDocumentsRequest) (*retrieverv1.RetryDocumentsResponse, error) {
	f := catalog.Filter{IDs: r.GetDocumentIds(), SourcePrefix: r.GetSourcePrefix(), Reasons: r.GetReasons(), Reader: reader(ctx)}
	done, err := h.Ingester.RetryAll(ctx, r.GetWorkspace(), f, r.GetIncludePermanent())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.RetryDocumentsResponse{Retried: uint32(done.Retried), Permanent: uint32(done.Permanent), Remaining: uint32(done.Remaining)}, nil
}

// DeleteWorkspace removes every document of a workspace.
func (h *Handler) DeleteWorkspace(ctx context.Context, r *retrieverv1.DeleteWorkspaceRequest) (*retrieverv1.DeleteWorkspaceResponse, error) {
	if p, _ := identity.FromContext(ctx); p.Role < identity.Admin { // it takes along what others keep for themselves
		return nil, catalog.NotFound()
	}
	documents, err := h.Ingester.DeleteWorkspace(ctx, r.GetWorkspace())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.DeleteWorkspaceResponse{RemovedDocuments: uint32(documents)}, nil
}

// Watch streams a workspace's changes.
func (h *Handler) Watch(ctx context.Context, r *retrieverv1.WatchRequest, stream *connect.ServerStream[retrieverv1.WatchResponse]) error {
	return h.watch(ctx, r, stream.Send)
}

// SetDocumentAccess says who may read a document.
func (h *Handler) SetDocumentAccess(ctx context.Context, r *retrieverv1.SetDocumentAccessRequest) (*retrieverv1.SetDocumentAccessResponse, error) {
	d, err := h.Ingester.SetAccess(ctx, reader(ctx), r.GetWorkspace(), r.GetDocumentId(), message.Access(r.GetAccess()))
	if err != nil {
		return nil, err
	}
	return &retrieverv1.SetDocumentAccessResponse{Document: message.Document(d)}, nil
}

// CheckDocuments says which documents the caller may read.
func (h *Handler) CheckDocuments(ctx context.Context, r *retrieverv1.CheckDocumentsRequest) (*retrieverv1.CheckDocumentsResponse, error) {
	ids, err := h.Catalog.Readable(r.GetWorkspace(), r.GetDocumentIds(), reader(ctx))
	if err != nil {
		return nil, err
	}
	return &retrieverv1.CheckDocumentsResponse{ReadableDocumentIds: ids}, nil
}

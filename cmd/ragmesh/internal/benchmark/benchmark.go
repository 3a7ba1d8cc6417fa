// Package benchmark runs a test collection against a server: it brings a workspace in step with the collection's documents
// and asks its queries.
package benchmark

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/dataset"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// Prefix begins the ids of workspaces that are made for measuring and hold nothing else.
const Prefix = "eval-"

const (
	// MaxConcurrency is how many queries may be under way at the same time.
	MaxConcurrency = 64
	// maxTop is the most passages the contract allows in one answer.
	maxTop = 100
	// page is how many documents are listed at once.
	page = 1000
)

// Documents is the part of the edge that lists and removes documents.
type Documents interface {
	ListDocuments(context.Context, *retrieverv1.ListDocumentsRequest) (*retrieverv1.ListDocumentsResponse, error)
	DeleteDocument(context.Context, *retrieverv1.DeleteDocumentRequest) (*retrieverv1.DeleteDocumentResponse, error)
}

// Missing returns the documents that the workspace does not hold as the collection has them. Documents that the collection
// does not have would take places in rankings: they are removed from a workspace made for this ([Prefix]); any other workspace
// that holds some is refused, for they are somebody's. A document's source URI is its id in the collection.
func Missing(ctx context.Context, d Documents, workspace string, documents []dataset.Document) ([]ingest.Item, error) {
	wanted := make(map[string]dataset.Document, len(documents))
	for _, doc := range documents {
		wanted[doc.ID] = doc
	}
	var surplus []string
	have := map[string]bool{}
	req := &retrieverv1.ListDocumentsRequest{Workspace: workspace, PageSize: page}
	for {
		resp, err := d.ListDocuments(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, stored := range resp.GetDocuments() {
			doc, ok := wanted[stored.GetSourceUri()]
			if !ok {
				surplus = append(surplus, stored.GetDocumentId())
			}
			have[stored.GetSourceUri()] = ok && same(stored, doc)
		}
		if resp.GetNextPageToken() == "" || resp.GetNextPageToken() == req.GetPageToken() {
			break
		}
		req.PageToken = resp.GetNextPageToken()
	}
	if len(surplus) > 0 && !strings.HasPrefix(workspace, Prefix) {
		return nil, fault.New(fault.Precondition, fault.ReasonConflict,
			"workspace %s holds %d documents that are not the collection's; measure in a workspace of its own, which is the default", workspace, len(surplus))
	}
	for _, id := range surplus {
		if _, err := d.DeleteDocument(ctx, &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: id}); err != nil {
			return nil, fmt.Errorf("remove what the collection does not have: %w", err)
		}
	}
	var items []ingest.Item
	for _, doc := range documents {
		if !have[doc.ID] {
			items = append(items, ingest.Text(doc.ID, doc.Title, doc.Text))
		}
	}
	return items, nil
}

// same says whether a document is searchable with this text and title. Without a title in the collection the server makes one.
func same(stored *retrieverv1.Document, doc dataset.Document) bool {
	sum := sha256.Sum256([]byte(doc.Text))
	return stored.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_READY && stored.GetLiveVersion() == hex.EncodeToString(sum[:]) &&
		(doc.Title == "" || stored.GetTitle() == doc.Title)
}

// Searcher is the part of the edge that answers queries.
type Searcher interface {
	Search(context.Context, *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error)
}

// Options configures Search.
type Options struct {
	Workspace, Strategy string
	// Concurrency is how many queries are under way at the same time.
	Concurrency int
	// Report is called after each query; nil for not at all.
	Report func()
}

// Query is one question.
type Query struct {
	ID, Text string
}

// Outcome is what came back.
type Outcome struct {
	// Rankings holds at most measure.Depth documents by query id, best first.
	Rankings map[string][]measure.Hit
	// Took is how long each query's first request took, which asks for measure.Depth passages, as one that a person waits for.
	Took []time.Duration
	// Degraded is how many queries were not answered in full.
	Degraded int
	// Strategy and Revision are what the server searched with.
	Strategy, Revision string
}

// Search asks every query.
func Search(ctx context.Context, s Searcher, o Options, queries []Query) (*Outcome, error) {
	out := &Outcome{Rankings: make(map[string][]measure.Hit, len(queries)), Took: make([]time.Duration, len(queries))}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Concurrency)
	for i, q := range queries {
		group.Go(func() error {
			begin := time.Now()
			resp, err := search(ctx, s, o, q, measure.Depth)
			took := time.Since(begin)
			if err != nil {
				return err
			}
			hits, err := deepen(ctx, s, o, q, resp)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			out.Rankings[q.ID], out.Took[i] = hits, took
			out.Strategy, out.Revision = resp.GetStrategy(), resp.GetConfigRevision()
			if len(resp.GetDegradations()) > 0 {
				out.Degraded++
			}
			if o.Report != nil {
				o.Report()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// deepen asks for more passages until they come from enough documents, or there are no more.
func deepen(ctx context.Context, s Searcher, o Options, q Query, resp *retrieverv1.SearchResponse) ([]measure.Hit, error) {
	for top := measure.Depth; ; {
		hits := make([]measure.Hit, 0, len(resp.GetPassages()))
		for _, p := range resp.GetPassages() {
			hits = append(hits, measure.Hit{Document: p.GetSourceUri(), Score: p.GetScore()})
		}
		documents := measure.Best(hits)
		if len(documents) >= measure.Depth || len(hits) < top || top == maxTop {
			return documents[:min(len(documents), measure.Depth)], nil
		}
		top = min(3*top, maxTop)
		var err error
		if resp, err = search(ctx, s, o, q, top); err != nil {
			return nil, err
		}
	}
}

func search(ctx context.Context, s Searcher, o Options, q Query, top int) (*retrieverv1.SearchResponse, error) {
	resp, err := s.Search(ctx, &retrieverv1.SearchRequest{Workspace: o.Workspace, Query: q.Text, Strategy: o.Strategy, TopK: uint32(top)})
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", q.ID, err)
	}
	return resp, nil
}

package benchmark_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/benchmark"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/dataset"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// shelf holds documents of which each has several passages, in a fixed ranking.
type shelf struct {
	mu       sync.Mutex
	stored   []*retrieverv1.Document
	deleted  []string
	passages []string // document ids, best passage first
	tops     []uint32
	err      error
}

func (s *shelf) ListDocuments(_ context.Context, req *retrieverv1.ListDocumentsRequest) (*retrieverv1.ListDocumentsResponse, error) {
	if req.GetPageToken() == "" && len(s.stored) > 1 {
		return &retrieverv1.ListDocumentsResponse{Documents: s.stored[:1], NextPageToken: "rest"}, s.err
	}
	return &retrieverv1.ListDocumentsResponse{Documents: s.stored[min(len(s.stored), 1):]}, s.err
}

func (s *shelf) DeleteDocument(_ context.Context, req *retrieverv1.DeleteDocumentRequest) (*retrieverv1.DeleteDocumentResponse, error) {
	s.deleted = append(s.deleted, req.GetDocumentId())
	return &retrieverv1.DeleteDocumentResponse{}, s.err
}

func (s *shelf) Search(_ context.Context, req *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tops = append(s.tops, req.GetTopK())
	resp := &retrieverv1.SearchResponse{Strategy: "keyword"}
	for i, id := range s.passages[:min(len(s.passages), int(req.GetTopK()))] {
		resp.Passages = append(resp.Passages, &retrieverv1.Passage{SourceUri: id, Score: 100 - float64(i)})
	}
	return resp, s.err
}

func stored(id, title, text string) *retrieverv1.Document {
	sum := sha256.Sum256([]byte(text))
	return &retrieverv1.Document{
		DocumentId: "uuid-" + id, SourceUri: id, Title: title, LiveVersion: hex.EncodeToString(sum[:]), State: retrieverv1.DocumentState_DOCUMENT_STATE_READY,
	}
}

func TestMissingIsWhatDiffers(t *testing.T) {
	t.Parallel()
	failed := stored("failed", "", "text")
	failed.State = retrieverv1.DocumentState_DOCUMENT_STATE_FAILED
	s := &shelf{stored: []*retrieverv1.Document{
		stored("gone", "", "x"), stored("same", "Title", "text"), stored("text", "", "old"), stored("title", "Old", "text"), stored("untitled", "made up", "text"), failed,
	}}
	items, err := benchmark.Missing(t.Context(), s, "eval-w", []dataset.Document{
		{ID: "same", Title: "Title", Text: "text"}, {ID: "text", Text: "new"}, {ID: "title", Title: "New", Text: "text"}, {ID: "untitled", Text: "text"},
		{ID: "failed", Text: "text"}, {ID: "added", Text: "text"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range items {
		got = append(got, item.URI)
	}
	if diff := cmp.Diff([]string{"text", "title", "failed", "added"}, got); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"uuid-gone"}, s.deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

func TestMissingLeavesOtherWorkspacesAlone(t *testing.T) {
	t.Parallel()
	s := &shelf{stored: []*retrieverv1.Document{stored("handbook", "", "text"), stored("d", "", "text")}}
	if _, err := benchmark.Missing(t.Context(), s, "default", []dataset.Document{{ID: "d", Text: "text"}}); fault.KindOf(err) != fault.Precondition {
		t.Errorf("a workspace with other documents gives %v", err)
	}
	if len(s.deleted) > 0 {
		t.Errorf("deleted %v", s.deleted)
	}
}

func TestSearchAsksForMoreUntilThereAreTenDocuments(t *testing.T) {
	t.Parallel()
	repeat := func(documents, passages int) []string {
		var ids []string
		for d := range documents {
			for range passages {
				ids = append(ids, fmt.Sprintf("d%d", d))
			}
		}
		return ids
	}
	tests := map[string]struct {
		passages  []string
		documents int
		tops      []uint32
	}{
		"one passage each":           {repeat(20, 1), 10, []uint32{10}},
		"three passages each":        {repeat(20, 3), 10, []uint32{10, 30}},
		"few documents":              {repeat(4, 4), 4, []uint32{10, 30}},
		"one huge document, bounded": {repeat(1, 500), 1, []uint32{10, 30, 90, 100}},
		"nothing":                    {nil, 0, []uint32{10}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &shelf{passages: tt.passages}
			out, err := benchmark.Search(t.Context(), s, benchmark.Options{Workspace: "w", Concurrency: 1}, []benchmark.Query{{ID: "q", Text: "?"}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.tops, s.tops); diff != "" {
				t.Errorf("asked for (-want +got):\n%s", diff)
			}
			if got := measure.Documents(out.Rankings["q"]); len(got) != tt.documents || len(got) > 0 && got[0] != "d0" {
				t.Errorf("ranking = %v, want %d documents", got, tt.documents)
			}
		})
	}
}

func TestSearchAsksEveryQueryAndReportsIt(t *testing.T) {
	t.Parallel()
	var queries []benchmark.Query
	for i := range 50 {
		queries = append(queries, benchmark.Query{ID: fmt.Sprint(i), Text: "?"})
	}
	var reported int
	var mu sync.Mutex
	s := &shelf{passages: []string{"d"}}
	out, err := benchmark.Search(t.Context(), s, benchmark.Options{Concurrency: 8, Report: func() { mu.Lock(); defer mu.Unlock(); reported++ }}, queries)
	if err != nil || len(out.Rankings) != 50 || len(out.Took) != 50 || reported != 50 || out.Strategy != "keyword" {
		t.Errorf("Search = %d rankings, %d reported, %v", len(out.Rankings), reported, err)
	}
}

func TestSearchEndsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	s := &shelf{err: errors.New("gone")}
	if _, err := benchmark.Search(t.Context(), s, benchmark.Options{Concurrency: 2}, []benchmark.Query{{ID: "q7"}}); !errors.Is(err, s.err) {
		t.Errorf("Search = %v", err)
	}
	if _, err := benchmark.Missing(t.Context(), s, "eval-w", nil); !errors.Is(err, s.err) {
		t.Errorf("Missing = %v", err)
	}
}

package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

const partSize = 4 // of an upload in parts

// shelf is a retriever in memory. A document is ready after it has been asked for a few times, unless told otherwise.
type shelf struct {
	mu      sync.Mutex
	asked   map[string]int
	parts   map[string]map[uint32]string
	sums    map[string]string
	stored  map[string][]uint32 // parts the server has already, by source URI
	failing map[string]string   // documents that fail, with the reason
	stuck   map[string]bool     // documents that never end
	errs    []error             // what the next calls fail with
	putLog  []string
	whole   bool // takes whole documents
	full    int  // how often the queue is full
	there   []*retrieverv1.Document
}

func newShelf() *shelf {
	return &shelf{
		asked: map[string]int{}, parts: map[string]map[uint32]string{}, sums: map[string]string{}, stored: map[string][]uint32{},
		failing: map[string]string{}, stuck: map[string]bool{},
	}
}

func (s *shelf) next() error {
	if len(s.errs) == 0 {
		return nil
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	return err
}

func (s *shelf) CreateUpload(_ context.Context, req *retrieverv1.CreateUploadRequest) (*retrieverv1.CreateUploadResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.next(); err != nil {
		return nil, err
	}
	s.sums[req.GetSourceUri()] = req.GetSha256()
	s.parts[req.GetSourceUri()] = map[uint32]string{}
	return &retrieverv1.CreateUploadResponse{
		UploadId: req.GetSourceUri(), PartSizeBytes: partSize, PartCount: uint32(req.GetSizeBytes()+partSize-1) / partSize,
		StoredParts: s.stored[req.GetSourceUri()],
	}, nil
}

func (s *shelf) PutPart(_ context.Context, req *retrieverv1.PutPartRequest) (*retrieverv1.PutPartResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.next(); err != nil {
		return nil, err
	}
	s.parts[req.GetUploadId()][req.GetPartNumber()] = string(req.GetData())
	s.putLog = append(s.putLog, fmt.Sprintf("%s/%d", req.GetUploadId(), req.GetPartNumber()))
	return &retrieverv1.PutPartResponse{}, nil
}

func (s *shelf) CommitUpload(_ context.Context, req *retrieverv1.CommitUploadRequest) (*retrieverv1.CommitUploadResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.next(); err != nil {
		return nil, err
	}
	return &retrieverv1.CommitUploadResponse{Document: &retrieverv1.Document{
		DocumentId: req.GetUploadId(), SourceUri: req.GetUploadId(), State: retrieverv1.DocumentState_DOCUMENT_STATE_QUEUED,
	}}, nil
}

func (s *shelf) PutDocument(_ context.Context, req *retrieverv1.PutDocumentRequest) (*retrieverv1.PutDocumentResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.whole:
		return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "not here")
	case s.full > 0:
		s.full--
		return nil, fault.New(fault.Exhausted, fault.QueueFull, "full").WithRetryAfter(20 * time.Second)
	}
	id := req.GetSourceUri()
	s.sums[id], s.parts[id] = req.GetSha256(), map[uint32]string{1: string(req.GetData())}
	s.putLog = append(s.putLog, id)
	return &retrieverv1.PutDocumentResponse{Document: &retrieverv1.Document{DocumentId: id, SourceUri: id, State: retrieverv1.DocumentState_DOCUMENT_STATE_QUEUED}}, nil
}

func (s *shelf) ListDocuments(_ context.Context, req *retrieverv1.ListDocumentsRequest) (*retrieverv1.ListDocumentsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &retrieverv1.ListDocumentsResponse{Queue: &retrieverv1.Queue{Documents: 1}}
	if len(req.GetDocumentIds()) == 0 {
		if len(s.errs) > 0 && stopsAll(s.errs[0]) {
			return nil, s.next()
		}
		for _, d := range s.there {
			if strings.HasPrefix(d.GetSourceUri(), req.GetSourcePrefix()) {
				out.Documents = append(out.Documents, d)
			}
		}
		return out, nil
	}
	for _, id := range req.GetDocumentIds() {
		s.asked[id]++
		d := &retrieverv1.Document{DocumentId: id, SourceUri: id, State: retrieverv1.DocumentState_DOCUMENT_STATE_PROCESSING}
		switch reason, fails := s.failing[id]; {
		case s.stuck[id] || s.asked[id] < 3:
		case fails:
			d.State, d.Failure = retrieverv1.DocumentState_DOCUMENT_STATE_FAILED, &retrieverv1.Failure{Reason: reason}
		default:
			d.State = retrieverv1.DocumentState_DOCUMENT_STATE_READY
		}
		out.Documents = append(out.Documents, d)
	}
	return out, nil
}

func (s *shelf) content(uri string) string {
	var b strings.Builder
	for n := uint32(1); s.parts[uri][n] != ""; n++ {
		b.WriteString(s.parts[uri][n])
	}
	return b.String()
}

func TestRunUploadsInPartsAndWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.failing["doc-07"] = "EMPTY_DOCUMENT"
		var items []Item
		for i := range 100 {
			items = append(items, Text(fmt.Sprintf("doc-%02d", i), "", fmt.Sprintf("text of document %d", i)))
		}
		reported := map[string]int{}
		results, err := New(s, Options{Workspace: "w", Report: func(r Result) { reported[r.URI]++ }}).Run(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.URI != items[i].URI || r.Failed() != (r.URI == "doc-07") || reported[r.URI] != 1 {
				t.Errorf("result %d = %+v, reported %d times", i, r, reported[r.URI])
			}
		}
		want := "text of document 42"
		sum := sha256.Sum256([]byte(want))
		if got := s.content("doc-42"); got != want || s.sums["doc-42"] != hex.EncodeToString(sum[:]) {
			t.Errorf("stored %q with sum %s", got, s.sums["doc-42"])
		}
	})
}

func TestRunSendsOnlyMissingParts(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.stored["d"] = []uint32{1, 3}
	if _, err := New(s, Options{Workspace: "w", NoWait: true}).Run(t.Context(), []Item{Text("d", "", "aaaabbbbcccc")}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d/2"}, s.putLog); diff != "" {
		t.Errorf("parts sent (-want +got):\n%s", diff)
	}
	if len(s.asked) != 0 {
		t.Errorf("--no-wait waited")
	}
}

func TestRunSitsOutAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		away := fault.New(fault.Unavailable, fault.StoreUnavailable, "away")
		s.errs = []error{nil, away, fault.New(fault.Exhausted, fault.Overloaded, "busy").WithRetryAfter(3 * time.Second), nil, away}
		begin := time.Now()
		results, err := New(s, Options{Workspace: "w", NoWait: true}).Run(t.Context(), []Item{Text("d", "", "aaaa")})
		if err != nil || results[0].Failed() {
			t.Fatalf("Run = %+v, %v", results, err)
		}
		if took := time.Since(begin); took != firstRetry+3*time.Second+firstRetry {
			t.Errorf("took %v; the server's RetryAfter must be kept", took)
		}
	})
}

func TestRunStopsAtOnce(t *testing.T) {
	t.Parallel()
	tests := map[string]error{
		"when there is no server":       fault.New(fault.Unavailable, fault.ServiceUnavailable, "nothing answers"),
		"when the key is not good":      fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "who?"),
		"when the workspace is unknown": fault.New(fault.NotFound, fault.WorkspaceNotFound, "no such workspace"),
	}
	for name, cause := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf()
			s.errs = []error{cause}
			begin := time.Now()
			_, err := New(s, Options{Workspace: "w"}).Run(t.Context(), []Item{Text("a", "", "x")})
			if !errors.Is(err, cause) || time.Since(begin) > firstRetry/2 {
				t.Errorf("Run = %v after %v", err, time.Since(begin))
			}
		})
	}
}

func TestRunGoesOnAfterOneBadDocument(t *testing.T) {
	t.Parallel()
	s := newShelf()
	broken := Item{URI: "broken", Open: func() (io.ReadCloser, error) { return nil, os.ErrPermission }}
	tooLarge := fault.New(fault.Invalid, fault.RequestTooLarge, "too large")
	s.errs = []error{tooLarge}
	results, err := New(s, Options{Workspace: "w"}).Run(t.Context(), []Item{broken, Text("large", "", "x")})
	if err != nil || !errors.Is(results[0].Err, os.ErrPermission) || !errors.Is(results[1].Err, tooLarge) {
		t.Errorf("Run = %+v, %v", results, err)
	}
}

func TestRunGivesUpWaitingForWhatNeverEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.stuck["stuck"] = true
		results, err := New(s, Options{Workspace: "w"}).Run(t.Context(), []Item{Text("stuck", "", "x"), Text("fine", "", "x")})
		if err != nil || fault.KindOf(results[0].Err) != fault.Timeout || results[1].Failed() {
			t.Errorf("Run = %+v, %v", results, err)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.stuck["stuck"] = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := New(s, Options{Workspace: "w"}).Run(ctx, []Item{Text("stuck", "", "x")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v", err)
		}
	})
}

func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func uris(files []File) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.URI)
	}
	return out
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := tree(t, "docs/b.md", "docs/a/c.TXT", "docs/.git/d.md", "docs/.hidden.md", "docs/e.bin", "f.pdf", "中文/g.markdown")
	if err := os.Symlink(filepath.Join(dir, "docs"), filepath.Join(dir, "docs", "loop")); err != nil {
		t.Fatal(err)
	}
	at := func(names ...string) []string {
		out := make([]string, len(names))
		for i, name := range names {
			out[i] = filepath.Join(dir, filepath.FromSlash(name))
		}
		return out
	}
	slash := filepath.ToSlash(dir)
	tests := map[string]struct {
		base  string
		paths []string
		want  []string
	}{
		"folder, searched for text": {"", at("docs"), []string{slash + "/docs/a/c.TXT", slash + "/docs/b.md"}},
		"file of any ending":        {"", at("f.pdf"), []string{slash + "/f.pdf"}},
		"below a base":              {dir, at("docs", "中文"), []string{"docs/a/c.TXT", "docs/b.md", "中文/g.markdown"}},
		"named twice":               {dir, at("docs", "docs/b.md"), []string{"docs/a/c.TXT", "docs/b.md"}},
		"path with detours":         {"", []string{dir + "/docs/../docs/./b.md"}, []string{slash + "/docs/b.md"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := Find(tt.base, tt.paths...)
			if diff := cmp.Diff(tt.want, uris(files)); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	if files, _ := Find(dir, at("docs/b.md")...); len(files) != 1 || files[0].ContentType != "text/markdown" {
		t.Errorf("files = %+v", files)
	}
}

func TestFindFailures(t *testing.T) {
	t.Parallel()
	dir := tree(t, "docs/a.md")
	if _, err := Find("", filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing path: %v", err)
	}
	if _, err := Find(filepath.Join(dir, "other"), filepath.Join(dir, "docs")); err == nil || !strings.Contains(err.Error(), "base folder") {
		t.Errorf("a file outside the base: %v", err)
	}
}

// What the server has is not sent, whole or in parts; what is small goes with one call.
func TestRunSendsWhatChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.whole = true
		sum := sha256.Sum256([]byte("same"))
		s.there = []*retrieverv1.Document{
			{DocumentId: "docs/a", SourceUri: "docs/a", Version: hex.EncodeToString(sum[:]), State: retrieverv1.DocumentState_DOCUMENT_STATE_READY},
			{DocumentId: "docs/b", SourceUri: "docs/b", Version: hex.EncodeToString(sum[:]), State: retrieverv1.DocumentState_DOCUMENT_STATE_FAILED},
			{DocumentId: "docs/c", SourceUri: "docs/c", Version: hex.EncodeToString(sum[:]), State: retrieverv1.DocumentState_DOCUMENT_STATE_QUEUED},
		}
		items := []Item{Text("docs/a", "", "same"), Text("docs/b", "", "same"), Text("docs/c", "", "same"), Text("docs/d", "", "new"), Text("docs/e", "", strings.Repeat("large", maxWhole))}
		results, err := New(s, Options{Workspace: "w"}).Run(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		var whole []string
		for _, put := range s.putLog {
			if !strings.Contains(put, "docs/e") {
				whole = append(whole, put)
			}
		}
		slices.Sort(whole)
		if diff := cmp.Diff([]string{"docs/b", "docs/d"}, whole); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		for i, r := range results {
			if r.Failed() || r.Unchanged != (i == 0) {
				t.Errorf("result %+v", r)
			}
		}
		if len(s.content("docs/e")) != 5*maxWhole {
			t.Errorf("the large one has %d bytes", len(s.content("docs/e")))
		}
	})
}

// A full queue is waited for as the server says, however often it is full.
func TestRunWaitsForAFullQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.whole, s.full = true, 20
		begin := time.Now()
		results, err := New(s, Options{Workspace: "w", NoWait: true}).Run(t.Context(), []Item{Text("d", "", "aaaa")})
		if err != nil || results[0].Failed() || time.Since(begin) != 20*20*time.Second {
			t.Errorf("%+v, %v after %s", results, err, time.Since(begin))
		}
		s.full = 1000
		_, err = New(s, Options{Workspace: "w", NoWait: true}).Run(t.Context(), []Item{Text("e", "", "aaaa")})
		if fault.ReasonOf(err) != fault.QueueFull {
			t.Errorf("one that never moves: %v", err)
		}
	})
}

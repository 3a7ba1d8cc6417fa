package retriever_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

const (
	ready  = retrieverv1.DocumentState_DOCUMENT_STATE_READY
	failed = retrieverv1.DocumentState_DOCUMENT_STATE_FAILED
)

// The index is derived: whatever happens to its files while the process is away, it comes back from the originals, the
// version that is live included whose successor could not be read.
func TestLostIndexIsRestored(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, index string){
		"the whole folder": func(t *testing.T, index string) {
			t.Helper()
			if err := os.RemoveAll(index); err != nil {
				t.Error(err)
			}
		},
		"a segment cut off by a crash": func(t *testing.T, index string) {
			t.Helper()
			if err := os.Remove(filepath.Join(index, workspace, "closed")); err != nil {
				t.Error(err)
			}
			segments, err := filepath.Glob(filepath.Join(index, workspace, "store", "*.zap"))
			if err != nil || len(segments) == 0 {
				t.Fatal(segments, err)
			}
			if err := os.Truncate(segments[0], 100); err != nil {
				t.Error(err)
			}
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			f.ingest("a.md", "The first walrus.")
			f.ingest("b.md", "The second walrus.")
			if d := f.ingest("b.md", "\x00"); d.GetState() != failed || d.GetLiveVersion() == "" {
				t.Fatalf("document = %v", d)
			}
			f.ingest("gone.md", "The third walrus.")
			if _, err := f.client.DeleteDocument(f.ctx(), &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: f.list("gone.md").GetDocumentId()}); err != nil {
				t.Fatal(err)
			}
			f.stop()
			damage(t, filepath.Join(f.dir, "index"))
			f = restart(t, f.bus, f.dir)
			f.until("both are found again", func() bool { return len(f.found("walrus")) == 2 })
			for source, want := range map[string]retrieverv1.DocumentState{"a.md": ready, "b.md": failed} {
				if d := f.list(source); d.GetState() != want || d.GetChunkCount() != 1 {
					t.Errorf("document = %v", d)
				}
			}
		})
	}
}

func TestDocumentWhoseOriginalIsLostTooSaysSo(t *testing.T) {
	t.Parallel()
	f := start(t)
	d := f.ingest("a.md", "The first walrus.")
	f.stop()
	originals, err := f.bus.Objects(t.Context(), bus.Originals)
	if err != nil {
		t.Fatal(err)
	}
	if err := originals.Delete(t.Context(), fmt.Sprintf("%s/%s/%s/1", workspace, d.GetDocumentId(), d.GetVersion())); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "index")); err != nil {
		t.Fatal(err)
	}
	f = restart(t, f.bus, f.dir)
	f.until("it is failed", func() bool { return f.list("a.md").GetState() == failed })
	if d := f.list("a.md"); d.GetFailure().GetReason() != "UPLOAD_INCOMPLETE" || d.GetLiveVersion() != "" {
		t.Errorf("document = %v", d)
	}
	if d := f.ingest("a.md", "The first walrus."); d.GetState() != ready {
		t.Errorf("uploaded again: %v", d)
	}
}

func (f *fixture) list(source string) *retrieverv1.Document {
	f.Helper()
	page, err := f.client.ListDocuments(f.ctx(), &retrieverv1.ListDocumentsRequest{Workspace: workspace, SourcePrefix: source})
	if err != nil || len(page.GetDocuments()) != 1 {
		f.Fatalf("list %s: %v, %v", source, page, err)
	}
	return page.GetDocuments()[0]
}

// A document that is replaced again and again is found by every search, in one version.
func TestReplacingUnderConstantSearch(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.ingest("a.md", "Walrus number 0.")
	var searches atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 25 {
			if _, err := f.tryUpload("a.md", "", fmt.Sprintf("Walrus number %d.", i+1)); err != nil {
				t.Error(err)
			}
			if i%3 == 0 { // the others are superseded, some while they are worked on
				f.settled(f.list("a.md").GetDocumentId())
				before := searches.Load() // however busy the machine, somebody searches in between
				f.until("somebody searches", func() bool { return searches.Load() > before+1 })
			}
		}
	}()
	seen := map[string]bool{}
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		got := f.found("walrus")
		if search := searches.Add(1); len(got) != 1 {
			t.Errorf("search %d finds %q", search, got)
			continue
		}
		seen[got[0]] = true
	}
	f.settled(f.list("a.md").GetDocumentId())
	f.expect("walrus", "Walrus number 25.")
	t.Logf("%d searches saw %d versions", searches.Load(), len(seen))
	if len(seen) < 3 {
		t.Errorf("only %d versions were seen", len(seen))
	}
}

func TestCancelIngestion(t *testing.T) {
	t.Parallel()
	f := start(t)
	d := f.ingest("a.md", "The first walrus.")
	cancel := func(id string) (*retrieverv1.Document, error) {
		r, err := f.client.CancelIngestion(f.ctx(), &retrieverv1.CancelIngestionRequest{Workspace: workspace, DocumentId: id})
		return r.GetDocument(), err
	}
	if got, err := cancel(d.GetDocumentId()); err != nil || got.GetState() != ready {
		t.Errorf("cancel of what is done: %v, %v", got, err)
	}
	if _, err := cancel("6d222254-505f-5cdb-9eec-296e9eaa9865"); fault.ReasonOf(err) != fault.DocumentNotFound {
		t.Errorf("cancel of nothing: %v", err)
	}
	f.upload("a.md", "", strings.Repeat("A long story about a second walrus.\n\n", 100_000))
	if got, err := cancel(d.GetDocumentId()); err != nil || got.GetState() != failed || got.GetFailure().GetReason() != "CANCELED" || got.GetLiveVersion() != d.GetVersion() {
		t.Fatalf("cancel: %v, %v", got, err)
	}
	after := f.ingest("b.md", "Something else.")
	if got := f.list("a.md"); after.GetState() != ready || got.GetState() != failed || got.GetLiveVersion() != d.GetVersion() {
		t.Errorf("after a while: %v", got)
	}
	f.expect("walrus", "The first walrus.")
	retried, err := f.client.RetryIngestion(f.ctx(), &retrieverv1.RetryIngestionRequest{Workspace: workspace, DocumentId: d.GetDocumentId()})
	if err != nil {
		t.Fatal(retried, err)
	}
	if got := f.settled(d.GetDocumentId()); got.GetState() != ready || got.GetLiveVersion() == d.GetVersion() {
		t.Errorf("tried again: %v", got)
	}
}

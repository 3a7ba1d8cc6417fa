package retriever_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	"github.com/ragmesh/ragmesh/services/retriever"
)

const workspace = "default"

// fixture is a running retriever with a bus of its own, spoken to as dialog does.
type fixture struct {
	testing.TB
	service *retriever.Service
	config  string // folder
	client  retrieverv1connect.RetrieverServiceClient
	bus     *bus.Bus
	dir     string
	stop    func()
}

func start(tb testing.TB) *fixture {
	tb.Helper()
	return restart(tb, bustest.New(tb), tb.TempDir())
}

func restart(tb testing.TB, b *bus.Bus, dir string) *fixture {
	tb.Helper()
	return run(tb, b, dir, tb.TempDir(), retriever.Defaults(), rpc.Conn{})
}

func run(tb testing.TB, b *bus.Bus, dir, configDir string, cfg retriever.Config, llm rpc.Conn) *fixture {
	tb.Helper()
	service, err := retriever.New(tb.Context(), cfg, retriever.Deps{
		Telemetry: telemetry.Nop("retriever"), Bus: b, DataDir: dir, ConfigDir: configDir, Revision: "r1", Clock: time.Now, LLM: llm, Parser: []string{os.Args[0], retriever.ParserArgument},
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("run: %v", err)
		}
	}
	conn := rpctest.Service(tb, identity.Retriever, service.Register)
	tb.Cleanup(stop)
	f := &fixture{TB: tb, service: service, config: configDir, client: retrieverv1connect.NewRetrieverServiceClient(conn.HTTP, conn.URL, conn.Options...), bus: b, dir: dir, stop: stop}
	f.until("the records have been read", func() bool { return service.Ready(ctx)[0].Ready })
	return f
}

func (f *fixture) ctx() context.Context { return rpctest.As(f.Context(), workspace) }

// until waits for something that other goroutines do.
func (f *fixture) until(what string, done func() bool) {
	f.Helper()
	f.untilWithin(longWait, what, done)
}

func (f *fixture) untilWithin(limit time.Duration, what string, done func() bool) {
	f.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			f.Fatalf("waited too long until %s", what)
		case <-tick.C:
		}
	}
}

// upload sends a document and returns what the commit says.
func (f *fixture) upload(source, title, content string) *retrieverv1.CommitUploadResponse {
	f.Helper()
	committed, err := f.tryUpload(source, title, content)
	if err != nil {
		f.Fatal(err)
	}
	return committed
}

func (f *fixture) tryUpload(source, title, content string) (*retrieverv1.CommitUploadResponse, error) {
	sum := sha256.Sum256([]byte(content))
	created, err := f.client.CreateUpload(f.ctx(), &retrieverv1.CreateUploadRequest{
		Workspace: workspace, SourceUri: source, Title: title, SizeBytes: uint64(len(content)), Sha256: hex.EncodeToString(sum[:]),
	})
	if err != nil {
		return nil, err
	}
	size := int(created.GetPartSizeBytes())
	for part := int(created.GetPartCount()); part >= 1; part-- { // backwards: the order is free
		data := content[(part-1)*size : min(part*size, len(content))]
		_, err := f.client.PutPart(f.ctx(), &retrieverv1.PutPartRequest{
			Workspace: workspace, UploadId: created.GetUploadId(), PartNumber: uint32(part), Data: []byte(data),
		})
		if err != nil {
			return nil, err
		}
	}
	return f.client.CommitUpload(f.ctx(), &retrieverv1.CommitUploadRequest{Workspace: workspace, UploadId: created.GetUploadId()})
}

func (f *fixture) get(id string) *retrieverv1.Document {
	f.Helper()
	got, err := f.client.GetDocument(f.ctx(), &retrieverv1.GetDocumentRequest{Workspace: workspace, DocumentId: id})
	if err != nil {
		f.Fatal(err)
	}
	return got.GetDocument()
}

// settled waits until a document is ready or failed.
func (f *fixture) settled(id string) *retrieverv1.Document {
	f.Helper()
	return f.settledWithin(id, longWait)
}

// How long documents may take on a busy machine: those of usual size, and the largest.
const (
	longWait  = 5 * time.Minute
	heavyWait = 10 * time.Minute
)

func (f *fixture) settledWithin(id string, limit time.Duration) *retrieverv1.Document {
	f.Helper()
	var d *retrieverv1.Document
	f.untilWithin(limit, "document "+id+" is done", func() bool {
		d = f.get(id)
		return d.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_READY || d.GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_FAILED
	})
	return d
}

func (f *fixture) ingest(source, content string) *retrieverv1.Document {
	f.Helper()
	return f.settled(f.upload(source, "", content).GetDocument().GetDocumentId())
}

func (f *fixture) search(query string) []*retrieverv1.Passage {
	f.Helper()
	got, err := f.client.Search(f.ctx(), &retrieverv1.SearchRequest{Workspace: workspace, Query: query})
	if err != nil {
		f.Fatal(err)
	}
	return got.GetPassages()
}

func (f *fixture) found(query string) []string {
	f.Helper()
	var out []string
	for _, p := range f.search(query) {
		out = append(out, p.GetText())
	}
	return out
}

func (f *fixture) expect(query string, want ...string) {
	f.Helper()
	if diff := cmp.Diff(want, f.found(query)); diff != "" {
		f.Errorf("%q finds (-want +got):\n%s", query, diff)
	}
}

func TestFromUploadToPassage(t *testing.T) {
	t.Parallel()
	f := start(t)
	content := "---\ntitle: Nodes\n---\n\n## Heartbeats {#heartbeats}\n\nA kubelet sends heartbeats every ten seconds.\n\n## 管理\n\n集群由控制面管理。\n"
	d := f.ingest("docs/nodes.md", content)
	if d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY || d.GetTitle() != "Nodes" || d.GetContentType() != "text/markdown" ||
		d.GetLiveVersion() != d.GetVersion() || d.GetChunkCount() == 0 || d.GetAttempts() != 1 || d.GetFailure() != nil {
		t.Errorf("document = %v", d)
	}
	whole, err := f.client.ReadDocument(f.ctx(), &retrieverv1.ReadDocumentRequest{Workspace: workspace, DocumentId: d.GetDocumentId()})
	if err != nil {
		t.Fatal(err)
	}
	if want := "Heartbeats\n\nA kubelet sends heartbeats every ten seconds.\n\n管理\n\n集群由控制面管理。"; whole.GetText() != want {
		t.Errorf("text = %q, want %q", whole.GetText(), want)
	}
	for _, query := range []string{"How often does a kubelet send a heartbeat?", "谁管理集群"} {
		passages := f.search(query)
		if len(passages) != 1 {
			t.Fatalf("%q finds %d passages", query, len(passages))
		}
		p := passages[0]
		if got := whole.GetText()[p.GetRange().GetStart():p.GetRange().GetEnd()]; got != p.GetText() {
			t.Errorf("passage %q is not the text in its range, %q", p.GetText(), got)
		}
		if p.GetSourceUri() != "docs/nodes.md" || p.GetTitle() != "Nodes" || p.GetVersion() != d.GetVersion() || p.GetScore() <= 0 || p.GetScoreParts()["bm25"] <= 0 {
			t.Errorf("passage = %v", p)
		}
	}
	part, err := f.client.ReadDocument(f.ctx(), &retrieverv1.ReadDocumentRequest{
		Workspace: workspace, DocumentId: d.GetDocumentId(), Range: &retrieverv1.ByteRange{Start: whole.GetTotalBytes() - 2, End: 1 << 40},
	})
	if err != nil || part.GetText() != "。" {
		t.Errorf("a range that splits a character reads %q, %v", part.GetText(), err)
	}
}

func TestReplaceAndUnchanged(t *testing.T) {
	t.Parallel()
	f := start(t)
	first := f.ingest("a.md", "The old walrus.")
	if again := f.upload("a.md", "", "The old walrus."); !again.GetUnchanged() {
		t.Errorf("the same content gives %v", again)
	}
	second := f.ingest("a.md", "The new walrus.")
	if second.GetDocumentId() != first.GetDocumentId() || second.GetSequence() <= first.GetSequence() {
		t.Errorf("replaced %v by %v", first, second)
	}
	f.expect("walrus", "The new walrus.")
	f.until("the old version is gone", func() bool {
		_, err := f.client.ReadDocument(f.ctx(), &retrieverv1.ReadDocumentRequest{
			Workspace: workspace, DocumentId: first.GetDocumentId(), Version: first.GetVersion(),
		})
		return fault.ReasonOf(err) == fault.DocumentNotFound
	})
	if renamed := f.upload("a.md", "Sea animals", "The new walrus."); renamed.GetUnchanged() {
		t.Error("another title counts as unchanged")
	}
	if d := f.settled(second.GetDocumentId()); d.GetTitle() != "Sea animals" {
		t.Errorf("title = %q", d.GetTitle())
	}
	f.expect("sea animals", "The new walrus.")
}

func TestFailuresKeepTheQueueMoving(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.ingest("good.md", "The first walrus.")
	tests := map[string]struct{ source, content, reason, stage string }{
		"empty":       {"empty.md", "", "EMPTY_DOCUMENT", "STAGE_PARSE"},
		"binary":      {"pdf.md", "%PDF-1.7", "MALFORMED_DOCUMENT", "STAGE_PARSE"},
		"not UTF-8":   {"gbk.txt", "\xbd\xda\xb5\xe3", "UNKNOWN_ENCODING", "STAGE_PARSE"},
		"new version": {"good.md", "\x00", "UNSUPPORTED_FORMAT", "STAGE_PARSE"},
	}
	for name, tc := range tests {
		d := f.ingest(tc.source, tc.content)
		if d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_FAILED || d.GetFailure().GetReason() != tc.reason ||
			d.GetFailure().GetStage().String() != tc.stage || d.GetFailure().GetMessage() == "" {
			t.Errorf("%s: document = %v", name, d)
		}
	}
	f.expect("walrus", "The first walrus.") // the earlier version is still there
	retried, err := f.client.RetryIngestion(f.ctx(), &retrieverv1.RetryIngestionRequest{Workspace: workspace, DocumentId: f.ingest("empty.md", "").GetDocumentId()})
	if err != nil || retried.GetDocument().GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_QUEUED {
		t.Errorf("retry = %v, %v", retried, err)
	}
	if d := f.ingest("after.md", "The second walrus."); d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
		t.Errorf("the queue stands: %v", d)
	}
}

func TestLargeUpload(t *testing.T) {
	t.Parallel()
	f := start(t)
	var b strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&b, "Line %d of a long log says something about number %d.\n\n", i, i*7)
	}
	d := f.ingest("long.txt", b.String())
	if d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY || d.GetSizeBytes() != uint64(b.Len()) {
		t.Fatalf("document = %v", d)
	}
	if got := f.found("Line 54321"); len(got) == 0 || !strings.Contains(got[0], "Line 54321 ") {
		t.Errorf("found %.200q", got)
	}
}

func TestUploadErrors(t *testing.T) {
	t.Parallel()
	f := start(t)
	create := func(content string, size int) *retrieverv1.CreateUploadResponse {
		t.Helper()
		sum := sha256.Sum256([]byte(content))
		got, err := f.client.CreateUpload(f.ctx(), &retrieverv1.CreateUploadRequest{
			Workspace: workspace, SourceUri: "a.txt", SizeBytes: uint64(size), Sha256: hex.EncodeToString(sum[:]),
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	put := func(id string, part uint32, data string) error {
		_, err := f.client.PutPart(f.ctx(), &retrieverv1.PutPartRequest{Workspace: workspace, UploadId: id, PartNumber: part, Data: []byte(data)})
		return err
	}
	commit := func(id string) error {
		_, err := f.client.CommitUpload(f.ctx(), &retrieverv1.CommitUploadRequest{Workspace: workspace, UploadId: id})
		return err
	}
	u := create("hello", 5)
	if again := create("hello", 5); again.GetUploadId() != u.GetUploadId() {
		t.Error("repeating a create gives another upload")
	}
	_, err := f.client.CreateUpload(f.ctx(), &retrieverv1.CreateUploadRequest{
		Workspace: workspace, SourceUri: "big", SizeBytes: 1 << 62, Sha256: strings.Repeat("0", 64),
	})
	for _, tc := range []struct {
		name string
		err  error
		want fault.Reason
	}{
		{"too large", err, fault.RequestTooLarge},
		{"part out of range", put(u.GetUploadId(), 2, "x"), fault.InvalidRequest},
		{"part of the wrong size", put(u.GetUploadId(), 1, "x"), fault.InvalidRequest},
		{"unknown upload", put("nobody", 1, "x"), fault.UploadNotFound},
		{"parts missing", commit(u.GetUploadId()), fault.UploadIncomplete},
		{"first try", put(u.GetUploadId(), 1, "hullo"), fault.Unspecified},
		{"wrong hash", commit(u.GetUploadId()), fault.ContentMismatch},
		{"sent again", put(u.GetUploadId(), 1, "hello"), fault.Unspecified},
		{"committed", commit(u.GetUploadId()), fault.Unspecified},
		{"committed again", commit(u.GetUploadId()), fault.Unspecified},
	} {
		if got := fault.ReasonOf(tc.err); got != tc.want {
			t.Errorf("%s: %v (%v), want %v", tc.name, got, tc.err, tc.want)
		}
	}
	if again := create("hello", 5); again.GetPartCount() != 0 {
		t.Errorf("content that is stored wants %d parts", again.GetPartCount())
	}
	if d := f.settled(u.GetDocumentId()); d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
		t.Errorf("document = %v", d)
	}
}

func TestDeleteIsComplete(t *testing.T) {
	t.Parallel()
	f := start(t)
	d := f.ingest("a.md", "The secret walrus.")
	f.ingest("b.md", "A public walrus.")
	deleted, err := f.client.DeleteDocument(f.ctx(), &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: d.GetDocumentId()})
	if err != nil || deleted.GetRemovedChunks() != 1 {
		t.Fatalf("delete = %v, %v", deleted, err)
	}
	f.expect("walrus", "A public walrus.")
	if _, err := f.client.GetDocument(f.ctx(), &retrieverv1.GetDocumentRequest{Workspace: workspace, DocumentId: d.GetDocumentId()}); fault.ReasonOf(err) != fault.DocumentNotFound {
		t.Errorf("get after delete: %v", err)
	}
	if _, err := f.client.DeleteDocument(f.ctx(), &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: d.GetDocumentId()}); fault.ReasonOf(err) != fault.DocumentNotFound {
		t.Errorf("delete after delete: %v", err)
	}
	originals, err := f.bus.Objects(t.Context(), bus.Originals)
	if err != nil {
		t.Fatal(err)
	}
	if there, err := originals.Exists(t.Context(), fmt.Sprintf("%s/%s/%s/1", workspace, d.GetDocumentId(), d.GetVersion())); err != nil || there {
		t.Errorf("original after delete: %v, %v", there, err)
	}
	if back := f.ingest("a.md", "The secret walrus."); back.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
		t.Errorf("uploaded again: %v", back)
	}
	if got := f.found("walrus"); len(got) != 2 {
		t.Errorf("found %q", got)
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	f := start(t)
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprintf("docs/%d.txt", i))
		f.upload(want[i], "", "text")
	}
	f.ingest("other.txt", "text")
	var got []string
	token := ""
	for pages := 0; pages == 0 || token != ""; pages++ {
		page, err := f.client.ListDocuments(f.ctx(), &retrieverv1.ListDocumentsRequest{
			Workspace: workspace, PageSize: 3, PageToken: token, SourcePrefix: "docs/",
		})
		if err != nil || page.GetTotal() != 7 {
			t.Fatalf("page = %v, %v", page, err)
		}
		for _, d := range page.GetDocuments() {
			got = append(got, d.GetSourceUri())
		}
		token = page.GetNextPageToken()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	_, err := f.client.ListDocuments(f.ctx(), &retrieverv1.ListDocumentsRequest{Workspace: workspace, PageToken: "!"})
	if fault.ReasonOf(err) != fault.InvalidRequest {
		t.Errorf("a bad token gives %v", err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	f := start(t)
	old := f.ingest("old.txt", "text")
	stream, err := f.client.Watch(f.ctx(), &retrieverv1.WatchRequest{Workspace: workspace})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	next := func() *retrieverv1.WatchResponse {
		t.Helper()
		if !stream.Receive() {
			t.Fatalf("watch ended: %v", stream.Err())
		}
		return stream.Msg()
	}
	if m := next(); m.GetChanged().GetDocumentId() != old.GetDocumentId() || m.GetSeq() != 1 {
		t.Errorf("first message %v", m)
	}
	if m := next(); m.GetSynced() == nil {
		t.Errorf("second message %v", m)
	}
	id := f.upload("new.txt", "", "more text").GetDocument().GetDocumentId()
	for m := next(); m.GetChanged().GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY; m = next() {
		if m.GetChanged().GetDocumentId() != id {
			t.Errorf("message %v", m)
		}
	}
	if _, err := f.client.DeleteDocument(f.ctx(), &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: id}); err != nil {
		t.Fatal(err)
	}
	if m := next(); m.GetDeleted() != id {
		t.Errorf("message %v", m)
	}
}

func TestRestartResumes(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.ingest("a.txt", "The first walrus.")
	id := f.upload("b.txt", "", "The second walrus.").GetDocument().GetDocumentId()
	f.stop() // perhaps amid the second
	f = restart(t, f.bus, f.dir)
	if d := f.settled(id); d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_READY {
		t.Errorf("document = %v", d)
	}
	if got := f.found("walrus"); len(got) != 2 {
		t.Errorf("found %q", got)
	}
}

func TestEventsTellOfChanges(t *testing.T) {
	t.Parallel()
	f := start(t)
	d := f.ingest("a.txt", "text")
	f.until("the event is there", func() bool {
		m, err := f.bus.Last(t.Context(), bus.Events, bus.DocumentSubject(workspace, d.GetDocumentId()))
		if err != nil {
			return false
		}
		var event eventv1.DocumentChanged
		if err := proto.Unmarshal(m.Data, &event); err != nil {
			t.Fatal(err)
		}
		return event.GetDocument().GetDocumentId() == d.GetDocumentId() && !event.GetDeleted()
	})
}

func TestSearchErrors(t *testing.T) {
	t.Parallel()
	f := start(t)
	tests := map[string]struct {
		request *retrieverv1.SearchRequest
		want    connect.Code
	}{
		"no query":           {&retrieverv1.SearchRequest{Workspace: workspace}, connect.CodeInvalidArgument},
		"unknown strategy":   {&retrieverv1.SearchRequest{Workspace: workspace, Query: "x", Strategy: "nobody"}, connect.CodeNotFound},
		"another workspace":  {&retrieverv1.SearchRequest{Workspace: "theirs", Query: "x"}, connect.CodeNotFound},
		"an empty workspace": {&retrieverv1.SearchRequest{Workspace: workspace, Query: "x"}, 0},
	}
	for name, tc := range tests {
		_, err := f.client.Search(f.ctx(), tc.request)
		if tc.want == 0 && err != nil || tc.want != 0 && connect.CodeOf(err) != tc.want && fault.KindOf(err).String() != strings.ReplaceAll(tc.want.String(), "invalid_argument", "invalid") {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestDeleteWorkspace leaves nothing: no document, no upload, no bytes; and what comes later begins anew.
func TestDeleteWorkspace(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin := as(t.Context(), identity.Admin, "user:root")
	d := f.ingest("a.md", "The walrus canary4711 sleeps.")
	f.mustPut(admin, "secret.md", "Another walrus canary4711.", "user:alice")
	half := []byte("An upload with canary4711 that nobody commits.")
	sum := sha256.Sum256(half)
	upload, err := f.client.CreateUpload(f.ctx(), &retrieverv1.CreateUploadRequest{Workspace: workspace, SourceUri: "half.md", SizeBytes: uint64(len(half)), Sha256: hex.EncodeToString(sum[:])})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.PutPart(f.ctx(), &retrieverv1.PutPartRequest{Workspace: workspace, UploadId: upload.GetUploadId(), PartNumber: 1, Data: half}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.DeleteWorkspace(f.ctx(), &retrieverv1.DeleteWorkspaceRequest{Workspace: workspace}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("by an editor: %v", err)
	}
	for want := uint32(2); ; want = 0 {
		gone, err := f.client.DeleteWorkspace(admin, &retrieverv1.DeleteWorkspaceRequest{Workspace: workspace})
		if err != nil || gone.GetRemovedDocuments() != want {
			t.Fatalf("delete: %v, %v, want %d documents", gone, err, want)
		}
		if want == 0 { // it may be repeated
			break
		}
	}
	f.expect("walrus")
	list, err := f.client.ListDocuments(admin, &retrieverv1.ListDocumentsRequest{Workspace: workspace})
	if err != nil || list.GetTotal() != 0 {
		t.Errorf("documents %v, %v", list, err)
	}
	if _, err := f.client.CommitUpload(f.ctx(), &retrieverv1.CommitUploadRequest{Workspace: workspace, UploadId: upload.GetUploadId()}); fault.ReasonOf(err) != fault.UploadNotFound {
		t.Errorf("commit afterwards: %v", err)
	}
	originals, err := f.bus.Objects(t.Context(), bus.Originals)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		fmt.Sprintf("%s/%s/%s/1", workspace, d.GetDocumentId(), d.GetVersion()), fmt.Sprintf("%s/%s/%x/1", workspace, upload.GetDocumentId(), sum),
	} {
		if there, err := originals.Exists(t.Context(), name); err != nil || there {
			t.Errorf("original %s: %v, %v", name, there, err)
		}
	}
	if files, err := os.ReadDir(filepath.Join(f.dir, "index")); err != nil || len(files) != 0 {
		t.Errorf("the index: %v, %v", files, err)
	}
	f.ingest("a.md", "The walrus sleeps again.")
	f.expect("walrus", "The walrus sleeps again.")
}

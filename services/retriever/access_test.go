package retriever_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// as returns a context whose calls are made for somebody.
func as(ctx context.Context, role identity.Role, subject string, names ...string) context.Context {
	return identity.NewContext(ctx, identity.Principal{Subject: subject, Names: names, Workspace: workspace, Role: role})
}

// put uploads a document for whoever ctx is for, and waits until it is ready.
func (f *fixture) put(ctx context.Context, source, content string, access *retrieverv1.AccessList) (string, error) {
	f.Helper()
	sum := sha256.Sum256([]byte(content))
	upload, err := f.client.CreateUpload(ctx, &retrieverv1.CreateUploadRequest{
		Workspace: workspace, SourceUri: source, SizeBytes: uint64(len(content)), Sha256: hex.EncodeToString(sum[:]), Access: access,
	})
	if err != nil {
		return "", err
	}
	if upload.GetPartCount() > 0 {
		if _, err := f.client.PutPart(ctx, &retrieverv1.PutPartRequest{Workspace: workspace, UploadId: upload.GetUploadId(), PartNumber: 1, Data: []byte(content)}); err != nil {
			return "", err
		}
	}
	if _, err := f.client.CommitUpload(ctx, &retrieverv1.CommitUploadRequest{Workspace: workspace, UploadId: upload.GetUploadId()}); err != nil {
		return "", err
	}
	id := upload.GetDocumentId()
	f.until(source+" is ready", func() bool {
		d, err := f.client.GetDocument(ctx, &retrieverv1.GetDocumentRequest{Workspace: workspace, DocumentId: id})
		return err == nil && d.GetDocument().GetState() == retrieverv1.DocumentState_DOCUMENT_STATE_READY && d.GetDocument().GetVersion() == hex.EncodeToString(sum[:])
	})
	return id, nil
}

func (f *fixture) mustPut(ctx context.Context, source, content string, readers ...string) string {
	f.Helper()
	var access *retrieverv1.AccessList
	if readers != nil {
		access = &retrieverv1.AccessList{Readers: readers}
	}
	id, err := f.put(ctx, source, content, access)
	if err != nil {
		f.Fatalf("upload %s: %v", source, err)
	}
	return id
}

// finds returns the sources that a search gives somebody.
func (f *fixture) finds(ctx context.Context, query string, topK uint32) []string {
	f.Helper()
	got, err := f.client.Search(ctx, &retrieverv1.SearchRequest{Workspace: workspace, Query: query, TopK: topK})
	if err != nil {
		f.Fatal(err)
	}
	if int(got.GetCandidates()) < len(got.GetPassages()) {
		f.Errorf("%d candidates for %d passages", got.GetCandidates(), len(got.GetPassages()))
	}
	var sources []string
	for _, p := range got.GetPassages() {
		sources = append(sources, p.GetSourceUri())
	}
	slices.Sort(sources)
	return sources
}

// TestWhoIsNotNamedFindsNothing goes through every procedure for a reader, for somebody who is not one, and for an
// administrator.
func TestWhoIsNotNamedFindsNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice, admin := as(t.Context(), identity.Editor, "user:alice"), as(t.Context(), identity.Admin, "user:root")
	bob, team := as(t.Context(), identity.Editor, "user:bob"), as(t.Context(), identity.Viewer, "user:carol", "group:team", "user:carol@example.com")
	open := f.mustPut(admin, "open.md", "The walrus sleeps on the beach.")
	secret := f.mustPut(alice, "secret.md", "The walrus budget is 4711 euros.", "user:alice", "group:team")
	sum := sha256.Sum256([]byte("another text"))

	calls := map[string]func(context.Context) error{
		"GetDocument": func(ctx context.Context) error {
			_, err := f.client.GetDocument(ctx, &retrieverv1.GetDocumentRequest{Workspace: workspace, DocumentId: secret})
			return err
		},
		"ReadDocument": func(ctx context.Context) error {
			_, err := f.client.ReadDocument(ctx, &retrieverv1.ReadDocumentRequest{Workspace: workspace, DocumentId: secret})
			return err
		},
		"ReadDocument of a version": func(ctx context.Context) error {
			text := sha256.Sum256([]byte("The walrus budget is 4711 euros."))
			_, err := f.client.ReadDocument(ctx, &retrieverv1.ReadDocumentRequest{Workspace: workspace, DocumentId: secret, Version: hex.EncodeToString(text[:])})
			return err
		},
	}
	changes := map[string]func(context.Context) error{
		"SetDocumentAccess": func(ctx context.Context) error {
			_, err := f.client.SetDocumentAccess(ctx, &retrieverv1.SetDocumentAccessRequest{Workspace: workspace, DocumentId: secret})
			return err
		},
		"DeleteDocument": func(ctx context.Context) error {
			_, err := f.client.DeleteDocument(ctx, &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: secret})
			return err
		},
		"CancelIngestion": func(ctx context.Context) error {
			_, err := f.client.CancelIngestion(ctx, &retrieverv1.CancelIngestionRequest{Workspace: workspace, DocumentId: secret})
			return err
		},
		"RetryIngestion": func(ctx context.Context) error {
			_, err := f.client.RetryIngestion(ctx, &retrieverv1.RetryIngestionRequest{Workspace: workspace, DocumentId: secret})
			return err
		},
	}
	for name, call := range calls {
		if err := call(bob); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s for somebody who is not named: %v", name, err)
		}
		for who, ctx := range map[string]context.Context{"alice": alice, "the team": team, "an administrator": admin} {
			if err := call(ctx); err != nil {
				t.Errorf("%s for %s: %v", name, who, err)
			}
		}
	}
	for name, call := range changes {
		if err := call(bob); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s for somebody who is not named: %v", name, err)
		}
	}
	_, err := f.client.CreateUpload(bob, &retrieverv1.CreateUploadRequest{Workspace: workspace, SourceUri: "secret.md", SizeBytes: 12, Sha256: hex.EncodeToString(sum[:])})
	if fault.KindOf(err) != fault.Exists {
		t.Errorf("an upload over it by somebody who is not named: %v", err)
	}
	for who, want := range map[context.Context][]string{
		bob: {"open.md"}, alice: {"open.md", "secret.md"}, team: {"open.md", "secret.md"}, admin: {"open.md", "secret.md"},
	} {
		if diff := cmp.Diff(want, f.finds(who, "walrus budget 4711", 10)); diff != "" {
			t.Errorf("search (-want +got):\n%s", diff)
		}
		list, err := f.client.ListDocuments(who, &retrieverv1.ListDocumentsRequest{Workspace: workspace})
		if err != nil || int(list.GetTotal()) != len(want) || len(list.GetDocuments()) != len(want) {
			t.Errorf("lists %d documents of %d, want %v: %v", len(list.GetDocuments()), list.GetTotal(), want, err)
		}
		check, err := f.client.CheckDocuments(who, &retrieverv1.CheckDocumentsRequest{Workspace: workspace, DocumentIds: []string{secret, open}})
		if err != nil || len(check.GetReadableDocumentIds()) != len(want) {
			t.Errorf("may read %v, want %v: %v", check.GetReadableDocumentIds(), want, err)
		}
	}
	got, err := f.client.GetDocument(alice, &retrieverv1.GetDocumentRequest{Workspace: workspace, DocumentId: secret})
	if diff := cmp.Diff([]string{"group:team", "user:alice"}, got.GetDocument().GetAccess().GetReaders()); diff != "" || err != nil {
		t.Errorf("readers (-want +got): %v\n%s", err, diff)
	}
}

// TestManyHiddenHitsLeaveTheirPlaces: somebody who may read few of many documents that match gets as many as asked for.
func TestManyHiddenHitsLeaveTheirPlaces(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin, bob := as(t.Context(), identity.Admin, "user:root"), as(t.Context(), identity.Viewer, "user:bob")
	for i := range 12 {
		f.mustPut(admin, fmt.Sprintf("secret-%d.md", i), fmt.Sprintf("# Walrus\n\nWalrus walrus walrus, number %d.", i), "user:alice")
	}
	f.mustPut(admin, "a.md", "Far down in a long text about other animals there is a word on the walrus too.")
	f.mustPut(admin, "b.md", "Another long text about the sea and its many animals, of which the walrus is one.")
	if diff := cmp.Diff([]string{"a.md", "b.md"}, f.finds(bob, "walrus", 2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestReadersStayWithTheDocument: over new versions, restarts and a change that comes with an upload.
func TestReadersStayWithTheDocument(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin, alice, bob := as(t.Context(), identity.Admin, "user:root"), as(t.Context(), identity.Editor, "user:alice"), as(t.Context(), identity.Editor, "user:bob")
	id := f.mustPut(alice, "plan.md", "The walrus plan, first version.", "user:alice")
	f.mustPut(alice, "plan.md", "The walrus plan, second version.")
	if got := f.finds(bob, "walrus plan", 5); got != nil {
		t.Errorf("after a new version bob finds %v", got)
	}
	f.stop()
	f = restart(t, f.bus, f.dir)
	if got := f.finds(bob, "walrus plan", 5); got != nil {
		t.Errorf("after a restart bob finds %v", got)
	}
	if diff := cmp.Diff([]string{"plan.md"}, f.finds(alice, "walrus plan", 5)); diff != "" {
		t.Errorf("alice finds (-want +got):\n%s", diff)
	}
	// Opened by one call, closed again by an upload of the same content: both count at once.
	if _, err := f.client.SetDocumentAccess(alice, &retrieverv1.SetDocumentAccessRequest{Workspace: workspace, DocumentId: id}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"plan.md"}, f.finds(bob, "walrus plan", 5)); diff != "" {
		t.Errorf("bob finds (-want +got):\n%s", diff)
	}
	f.mustPut(alice, "plan.md", "The walrus plan, second version.", "user:alice")
	if got := f.finds(bob, "walrus plan", 5); got != nil {
		t.Errorf("after the upload bob finds %v", got)
	}
	// An empty list leaves administrators alone.
	if _, err := f.client.SetDocumentAccess(admin, &retrieverv1.SetDocumentAccessRequest{Workspace: workspace, DocumentId: id, Access: &retrieverv1.AccessList{}}); err != nil {
		t.Fatal(err)
	}
	if got := f.finds(alice, "walrus plan", 5); got != nil {
		t.Errorf("with an empty list alice finds %v", got)
	}
	if diff := cmp.Diff([]string{"plan.md"}, f.finds(admin, "walrus plan", 5)); diff != "" {
		t.Errorf("an administrator finds (-want +got):\n%s", diff)
	}
}

func TestUploadsAreTheirCallers(t *testing.T) {
	t.Parallel()
	f := start(t)
	alice, bob := as(t.Context(), identity.Editor, "user:alice"), as(t.Context(), identity.Editor, "user:bob")
	content := []byte("The walrus plan.")
	sum := sha256.Sum256(content)
	announce := func(ctx context.Context, access *retrieverv1.AccessList) (*retrieverv1.CreateUploadResponse, error) {
		return f.client.CreateUpload(ctx, &retrieverv1.CreateUploadRequest{
			Workspace: workspace, SourceUri: "plan.md", SizeBytes: uint64(len(content)), Sha256: hex.EncodeToString(sum[:]), Access: access,
		})
	}
	if _, err := announce(bob, &retrieverv1.AccessList{Readers: []string{"user:alice"}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a list that its maker is not in: %v", err)
	}
	hers, err := announce(alice, &retrieverv1.AccessList{Readers: []string{"user:alice"}})
	if err != nil {
		t.Fatal(err)
	}
	his, err := announce(bob, nil)
	if err != nil {
		t.Fatal(err)
	}
	if hers.GetUploadId() == his.GetUploadId() {
		t.Fatal("two callers share an upload, whose readers would be those of the last one")
	}
	if _, err := f.client.PutPart(bob, &retrieverv1.PutPartRequest{Workspace: workspace, UploadId: hers.GetUploadId(), PartNumber: 1, Data: content}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a part of somebody else's upload: %v", err)
	}
	if _, err := f.client.PutPart(alice, &retrieverv1.PutPartRequest{Workspace: workspace, UploadId: hers.GetUploadId(), PartNumber: 1, Data: content}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.CommitUpload(bob, &retrieverv1.CommitUploadRequest{Workspace: workspace, UploadId: hers.GetUploadId()}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a commit of somebody else's upload: %v", err)
	}
	if _, err := f.client.CommitUpload(alice, &retrieverv1.CommitUploadRequest{Workspace: workspace, UploadId: hers.GetUploadId()}); err != nil {
		t.Fatal(err)
	}
	// His was announced while there was no document yet.
	if _, err := f.client.CommitUpload(bob, &retrieverv1.CommitUploadRequest{Workspace: workspace, UploadId: his.GetUploadId()}); fault.KindOf(err) != fault.Exists {
		t.Errorf("a commit over a document that the caller may not read: %v", err)
	}
}

// TestTakenAwayIsTakenAway changes the readers while searches run: none that begins after the change has returned finds it.
func TestTakenAwayIsTakenAway(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin, bob := as(t.Context(), identity.Admin, "user:root"), as(t.Context(), identity.Viewer, "user:bob")
	f.mustPut(admin, "open.md", "A walrus for everybody.")
	id := f.mustPut(admin, "secret.md", "The walrus budget.")
	set := func(access *retrieverv1.AccessList) {
		if _, err := f.client.SetDocumentAccess(admin, &retrieverv1.SetDocumentAccessRequest{Workspace: workspace, DocumentId: id, Access: access}); err != nil {
			t.Error(err)
		}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // searches of others, so that something is under way and remembered
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				_, _ = f.client.Search(bob, &retrieverv1.SearchRequest{Workspace: workspace, Query: "walrus budget"})
			}
		}
	}()
	for range 25 {
		set(&retrieverv1.AccessList{Readers: []string{"user:alice"}})
		if diff := cmp.Diff([]string{"open.md"}, f.finds(bob, "walrus budget", 5)); diff != "" {
			t.Errorf("after it was taken away (-want +got):\n%s", diff)
		}
		set(nil)
		if diff := cmp.Diff([]string{"open.md", "secret.md"}, f.finds(bob, "walrus budget", 5)); diff != "" {
			t.Errorf("after it was given back (-want +got):\n%s", diff)
		}
	}
	close(done)
	<-ended
}

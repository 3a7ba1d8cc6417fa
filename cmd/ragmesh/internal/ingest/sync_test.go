package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func known(uri, content string, state retrieverv1.DocumentState) *retrieverv1.Document {
	sum := sha256.Sum256([]byte(content))
	return &retrieverv1.Document{DocumentId: uri, SourceUri: uri, Version: hex.EncodeToString(sum[:]), State: state}
}

type planned struct {
	Add, Change, Delete []string
	Unchanged           int
}

func plan(t *testing.T, s *shelf, f Folder, o Options) (Plan, planned) {
	t.Helper()
	o.Workspace = "w"
	p, err := New(s, o).Plan(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	out := planned{Unchanged: p.Unchanged}
	for _, file := range p.Add {
		out.Add = append(out.Add, file.URI)
	}
	for _, file := range p.Change {
		out.Change = append(out.Change, file.URI)
	}
	for _, d := range p.Delete {
		out.Delete = append(out.Delete, d.GetSourceUri())
	}
	return p, out
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const ready, failed = retrieverv1.DocumentState_DOCUMENT_STATE_READY, retrieverv1.DocumentState_DOCUMENT_STATE_FAILED
	dir := t.TempDir()
	write(t, dir, map[string]string{"same.md": "same", "changed.md": "new", "added/x.md": "x", "failed.md": "f", "kept.log": "not one that folders are searched for"})
	f, err := NewFolder(dir, "team")
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	s.there = []*retrieverv1.Document{
		known("team/same.md", "same", ready), known("team/changed.md", "old", ready), known("team/failed.md", "f", failed), known("team/gone.md", "g", ready),
		known("team/kept.log", "k", ready), known("team/../../etc/x", "k", ready),
		known("teams/other.md", "o", ready), known("other.md", "o", ready),
	}
	s.there[5].SourceUri = "team/../escapes.md"
	p, got := plan(t, s, f, Options{})
	want := planned{Add: []string{"team/added/x.md"}, Change: []string{"team/changed.md", "team/failed.md"}, Delete: []string{"team/../escapes.md", "team/gone.md"}, Unchanged: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := p.Check(); err != nil {
		t.Errorf("two of six: %v", err)
	}
	s.there[0].Access = &retrieverv1.AccessList{Readers: []string{"user:b", "user:a"}}
	_, got = plan(t, s, f, Options{Readers: []string{"user:a", "user:b"}})
	if got.Unchanged != 1 || len(got.Change) != 2 {
		t.Errorf("with the readers it has: %+v", got)
	}
	_, got = plan(t, s, f, Options{Readers: []string{"user:a"}})
	if got.Unchanged != 0 || len(got.Change) != 3 {
		t.Errorf("with other readers: %+v", got)
	}
	p, _ = plan(t, s, Folder{Path: t.TempDir(), Prefix: "team/"}, Options{})
	if err := p.Check(); err == nil || len(p.Delete) != 6 {
		t.Errorf("an empty folder deletes %d: %v", len(p.Delete), err)
	}
}

func TestFolderNeedsAPrefix(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for prefix, want := range map[string]string{"": filepath.ToSlash(dir) + "/", "team": "team/", "team/": "team/", "/": "", ".": "", "../x": ""} {
		f, err := NewFolder(dir, prefix)
		if (err == nil) != (want != "") || f.Prefix != want {
			t.Errorf("%q: %q, %v", prefix, f.Prefix, err)
		}
	}
	if _, err := NewFolder(filepath.Join(dir, "none"), "x"); err == nil {
		t.Error("a folder that is not there")
	}
}

type remover struct {
	mu   sync.Mutex
	gone []string
}

func (r *remover) DeleteDocument(_ context.Context, req *retrieverv1.DeleteDocumentRequest) (*retrieverv1.DeleteDocumentResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = append(r.gone, req.GetDocumentId())
	if req.GetDocumentId() == "b" {
		return nil, fault.New(fault.NotFound, fault.DocumentNotFound, "gone already")
	}
	return &retrieverv1.DeleteDocumentResponse{}, nil
}

func TestRemove(t *testing.T) {
	t.Parallel()
	r := &remover{}
	err := New(newShelf(), Options{Workspace: "w"}).Remove(t.Context(), r, []*retrieverv1.Document{{DocumentId: "a"}, {DocumentId: "b"}})
	if err != nil || len(r.gone) != 2 {
		t.Errorf("removed %v: %v", r.gone, err)
	}
}

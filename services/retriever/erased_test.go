package retriever_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/identity"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
)

// Deletion is complete: of a document that was deleted, or whose workspace was, no file has a word any more once the index
// was compacted: not its text, title or name, not those of its earlier versions, in index, vectors, originals, uploads,
// jobs or events. No message of any stream has one either, but for uploads in their last hours; and bytes of titles and names
// may be left behind in the buckets' files.
func TestDeletedWordsAreInNoFile(t *testing.T) {
	t.Parallel()
	const body, title, name = "zanzibarquokka", "mombasawombat", "nairobinumbat"
	deletions := map[string]func(*testing.T, *fixture, string){
		"document": func(t *testing.T, f *fixture, id string) {
			t.Helper()
			if _, err := f.client.DeleteDocument(f.ctx(), &retrieverv1.DeleteDocumentRequest{Workspace: workspace, DocumentId: id}); err != nil {
				t.Fatal(err)
			}
		},
		"workspace": func(t *testing.T, f *fixture, _ string) {
			t.Helper()
			half := []byte("An upload about the " + body + " that nobody commits.")
			sum := sha256.Sum256(half)
			upload, err := f.client.CreateUpload(f.ctx(), &retrieverv1.CreateUploadRequest{
				Workspace: workspace, SourceUri: name + "/half.md", Title: title, SizeBytes: uint64(len(half)), Sha256: hex.EncodeToString(sum[:]),
			})
			if err == nil {
				_, err = f.client.PutPart(f.ctx(), &retrieverv1.PutPartRequest{Workspace: workspace, UploadId: upload.GetUploadId(), PartNumber: 1, Data: half})
			}
			if err == nil {
				_, err = f.client.DeleteWorkspace(as(t.Context(), identity.Admin, "user:root"), &retrieverv1.DeleteWorkspaceRequest{Workspace: workspace})
			}
			if err != nil {
				t.Fatal(err)
			}
		},
	}
	for what, deletion := range deletions {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			nats, err := natsserver.Start(t.Context(), natsserver.Options{Dir: filepath.Join(dir, "nats"), NoSync: true, Log: zerolog.Nop(), MaxStore: 4 << 30})
			if err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(dir, "retriever")
			if err := os.Mkdir(data, 0o700); err != nil {
				t.Fatal(err)
			}
			b := bustest.Join(t, nats)
			f := embedding(t, &gateway{revision: "1"}, b, data)
			for i := range 5 {
				f.ingest(fmt.Sprintf("kept/%d.md", i), fmt.Sprintf("Harbour number %d stays.", i))
			}
			var id string
			for edition := range 2 {
				d := f.settled(f.upload(name+"/a.md", title, fmt.Sprintf("The %s of edition %d looks at the moon.\n\n%s", body, edition, strings.Repeat("It sleeps on a boat. ", 50))).GetDocument().GetDocumentId())
				id = d.GetDocumentId()
			}
			f.until("there are vectors", func() bool { return f.get(id).GetEmbeddingModel() != "" })
			for _, word := range []string{body, title, name} {
				if len(filesWith(t, dir, word)) == 0 {
					t.Fatalf("%s was never there", word)
				}
			}
			deletion(t, f, id)
			f.expect(body)
			f.stop()
			s, err := index.Open(index.Config{Dir: filepath.Join(data, "index"), MaxOpen: 1})
			if err == nil {
				err = errors.Join(s.Compact(context.Background(), workspace), s.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			streams := []string{bus.Events, bus.Jobs, bus.Vectors, bus.KeyValueStream(bus.Documents), bus.ObjectStream(bus.Originals)}
			if what == "workspace" { // a document's uploads are remembered, by name and title, for a day
				streams = append(streams, bus.KeyValueStream(bus.Uploads))
			}
			for _, stream := range streams {
				if _, err := b.Dump(t.Context(), stream, 0, func(m bus.Archived) error {
					for _, word := range []string{body, title, name} {
						if strings.Contains(fmt.Sprintf("%s %v %s", m.Subject, m.Header, m.Data), word) {
							t.Errorf("%s is still in message %d of %s: %s", word, m.Sequence, stream, m.Subject)
						}
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			b.Close()
			nats.Shutdown()
			for _, word := range []string{body, title, name} {
				files := slices.DeleteFunc(filesWith(t, dir, word), func(path string) bool {
					// NATS does not overwrite what buckets held: it goes when the file is written anew, for lack of anything else in it.
					return word != body && strings.Contains(path, "/KV_")
				})
				if len(files) > 0 {
					t.Errorf("%s is still in %s", word, strings.Join(files, ", "))
				}
			}
		})
	}
}

// filesWith are the files below a folder that hold a word, in whatever case. Files come and go meanwhile.
func filesWith(tb testing.TB, dir, word string) (files []string) {
	tb.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if strings.Contains(strings.ToLower(string(content)), word) {
			files = append(files, strings.TrimPrefix(path, dir))
		}
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	slices.Sort(files)
	return files
}

package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// holding are the files below a folder that hold a word.
func holding(tb testing.TB, dir, word string) (files []string) {
	tb.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // files come and go while the index is open
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if bytes.Contains(data, []byte(word)) {
			files = append(files, path)
		}
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return files
}

// What was removed is in no file any more once its index was compacted, by the store itself some time later, whatever
// the index held beside it.
func TestRemovedWordsAreInNoFile(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]int{"alone": 0, "among others": 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, err := index.Open(index.Config{Dir: dir, MaxOpen: 2})
			if err != nil {
				t.Fatal(err)
			}
			const secret = "zanzibarquokka"
			put := func(n int, body string) string {
				id := fmt.Sprintf("%08d-0000-5000-8000-000000000000", n)
				v := store.Version{DocumentID: id, Hash: "1", SourceURI: id, Title: "About " + body, Text: "A " + body + " sleeps."}
				v.Chunks = []store.Chunk{{ID: id, End: len(v.Text), Language: "en"}}
				if err := s.Put(t.Context(), "Acme", v); err != nil {
					t.Fatal(err)
				}
				return id
			}
			for n := range others {
				put(n, "walrus")
			}
			id := put(1000, secret)
			if len(holding(t, dir, secret)) == 0 {
				t.Fatal("it was never there")
			}
			if _, err := s.Prune(t.Context(), "Acme", id, ""); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = index.Open(index.Config{Dir: dir, MaxOpen: 2}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var compacting sync.WaitGroup
			compacting.Go(func() {
				s.CompactEvery(ctx, time.Millisecond, func(workspace string, err error) { t.Errorf("%s: %v", workspace, err) })
			})
			defer compacting.Wait()
			defer cancel()
			for deadline := time.Now().Add(time.Minute); len(holding(t, dir, secret)) > 0; {
				if time.Now().After(deadline) {
					t.Fatalf("still in %v", holding(t, dir, secret))
				}
				<-time.After(10 * time.Millisecond)
			}
			if got := count(t, s, "Acme"); got != min(others, 10) {
				t.Errorf("finds %d chunks of %d", got, others)
			}
			cancel()
			compacting.Wait()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if files := holding(t, dir, secret); len(files) > 0 {
				t.Errorf("after closing, it is in %v", files)
			}
		})
	}
}

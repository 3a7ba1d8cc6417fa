package search_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/services/retriever/internal/chunk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/index"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// TestQuality holds search to the best keyword figures measured on the public sets: every document a paragraph, ranked
// through parser, chunker, index and rescorer.
func TestQuality(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("measures thousands of queries")
	}
	tests := map[string]struct{ hit1, hit5 float64 }{
		"squad-v1.1-dev": {.79, .94},
		"cmrc2018-dev":   {.968, .99},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := dataset(t, name)
			searcher := indexed(t, corpus(t, dir))
			relevant := map[string]string{}
			for _, l := range lines(t, filepath.Join(dir, "qrels.tsv")) {
				f := strings.Fields(string(l))
				relevant[f[0]] = f[1]
			}
			var mu sync.Mutex
			var first, fifth, asked int
			group, ctx := errgroup.WithContext(t.Context())
			group.SetLimit(4)
			start := time.Now()
			for _, l := range lines(t, filepath.Join(dir, "queries.jsonl")) {
				var q struct{ ID, Text string }
				decode(t, l, &q)
				group.Go(func() error {
					r, err := searcher.Search(ctx, search.Request{Workspace: "w", Query: q.Text, TopK: 20})
					if err != nil {
						return err
					}
					place := placeOf(r, relevant[q.ID])
					mu.Lock()
					defer mu.Unlock()
					asked++
					if place == 1 {
						first++
					}
					if place >= 1 && place <= 5 {
						fifth++
					}
					return nil
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			hit1, hit5 := float64(first)/float64(asked), float64(fifth)/float64(asked)
			t.Logf("hit@1 %.4f, hit@5 %.4f over %d queries, %v each", hit1, hit5, asked, (time.Since(start) / time.Duration(asked)).Round(10*time.Microsecond))
			if hit1 < want.hit1 || hit5 < want.hit5 {
				t.Errorf("hit@1 %.4f, hit@5 %.4f; want at least %v, %v", hit1, hit5, want.hit1, want.hit5)
			}
		})
	}
}

// placeOf counts documents, not passages, from 1; 0 means not found.
func placeOf(r search.Result, source string) int {
	seen := map[string]bool{}
	for _, p := range r.Passages {
		seen[p.SourceURI] = true
		if p.SourceURI == source {
			return len(seen)
		}
	}
	return 0
}

// dataset finds a public data set, or skips the test and says why.
func dataset(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("RAGMESH_DATASETS")
	if root == "" {
		at, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for ; at != filepath.Dir(at); at = filepath.Dir(at) {
			if dir := filepath.Join(at, "shared", "datasets"); isDir(dir) {
				root = dir
				break
			}
		}
	}
	if dir := filepath.Join(root, name); root != "" && isDir(dir) {
		return dir
	}
	t.Skipf("data set %s is not here; RAGMESH_DATASETS may name the folder that holds it", name)
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func lines(t *testing.T, path string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		out = append(out, bytes.Clone(s.Bytes()))
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func decode(t *testing.T, l []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(l, v); err != nil {
		t.Fatal(err)
	}
}

// page is a document to index.
type page struct {
	source parse.Source
	title  string
}

func corpus(t *testing.T, dir string) []page {
	t.Helper()
	var pages []page
	for _, l := range lines(t, filepath.Join(dir, "corpus.jsonl")) {
		var d struct{ ID, Title, Text string }
		decode(t, l, &d)
		pages = append(pages, page{parse.Source{URI: d.ID, ContentType: "text/plain", Data: []byte(d.Text)}, d.Title})
	}
	return pages
}

type allLive string

func (a allLive) Live(string) (store.Manifest, uint64) {
	return func(string) string { return string(a) }, 1
}

func (a allLive) Hidden(string, document.Reader) func(string) bool { return nil }

type nobody struct{}

func (nobody) Searched(context.Context, search.Result, time.Duration, error) {}

// indexed puts pages into a fresh index.
func indexed(t *testing.T, pages []page) *search.Searcher {
	t.Helper()
	s, err := index.Open(index.Config{Dir: t.TempDir(), MaxOpen: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	registry := parse.NewRegistry()
	group, ctx := errgroup.WithContext(context.WithoutCancel(t.Context()))
	group.SetLimit(32)
	start := time.Now()
	for _, p := range pages {
		group.Go(func() error {
			doc, err := registry.Parse(ctx, p.source)
			if err != nil {
				return err
			}
			if p.title != "" {
				doc.Title = p.title
			}
			v := store.Version{
				DocumentID: document.ID("w", p.source.URI), Hash: "1", SourceURI: p.source.URI, Title: doc.Title, Text: doc.Text,
			}
			for _, c := range chunk.Split(doc) {
				v.Chunks = append(v.Chunks, store.Chunk{
					ID: chunk.ID(v.DocumentID, "1", c.Ordinal), Ordinal: c.Ordinal, Start: c.Start, End: c.End,
					HeadingPath: c.HeadingPath, Language: c.Language,
				})
			}
			return s.Put(ctx, "w", v)
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d documents indexed in %v", len(pages), time.Since(start).Round(time.Millisecond))
	searcher, err := search.New(search.Config{Strategies: map[string]search.Strategy{"keyword": search.Defaults()}, Default: "keyword"},
		search.Deps{Store: s, Manifest: allLive("1"), Observer: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	return searcher
}

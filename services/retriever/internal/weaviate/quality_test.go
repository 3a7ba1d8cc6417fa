package weaviate_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
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
	"github.com/ragmesh/ragmesh/services/retriever/internal/weaviate"
)

// TestRanksLikeEmbedded asks both stores the questions of the public sets and holds Weaviate's answers to the embedded store's:
// hit@1 and hit@5 may be less by a thousandth, and two passages in a hundred among the ten best be others. RAGMESH_WEAVIATE_QUALITY=full
// asks all questions, sample one in ten.
func TestRanksLikeEmbedded(t *testing.T) {
	every := 1
	switch os.Getenv("RAGMESH_WEAVIATE_QUALITY") {
	case "":
		t.Skip("indexes thousands of documents twice; set RAGMESH_WEAVIATE_QUALITY to sample or full")
	case "sample":
		every = 10
	}
	h := &harness{made: map[store.Store]weaviate.Config{}}
	for _, name := range []string{"squad-v1.1-dev", "cmrc2018-dev"} {
		t.Run(name, func(t *testing.T) {
			dir := dataset(t, name)
			embedded, err := index.Open(index.Config{Dir: t.TempDir(), MaxOpen: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = embedded.Close() }()
			versions := versionsOf(t, dir)
			want := measure(t, "embedded", fill(t, "embedded", embedded, versions), dir, every)
			s := h.Store(t)
			got := measure(t, "Weaviate", fill(t, "Weaviate", s, versions), dir, every)
			h.made[s].Observer.(*observer).report(t)
			if got.first < want.first-.001 || got.fifth < want.fifth-.001 {
				t.Errorf("hit@1 %.4f and hit@5 %.4f, embedded %.4f and %.4f", got.first, got.fifth, want.first, want.fifth)
			}
			same, all := 0, 0
			for id, best := range want.best {
				for _, p := range best {
					all++
					if slices.Contains(got.best[id], p) {
						same++
					}
				}
			}
			t.Logf("%d of %d passages among the ten best are the same", same, all)
			if float64(same) < .98*float64(all) {
				t.Errorf("only %d of %d passages among the ten best are the same", same, all)
			}
		})
	}
}

func versionsOf(t *testing.T, dir string) []store.Version {
	t.Helper()
	registry := parse.NewRegistry()
	var out []store.Version
	each(t, filepath.Join(dir, "corpus.jsonl"), func(line []byte) {
		var d struct{ ID, Title, Text string }
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		doc, err := registry.Parse(t.Context(), parse.Source{URI: d.ID, ContentType: "text/plain", Data: []byte(d.Text)})
		if err != nil {
			t.Fatal(err)
		}
		if d.Title != "" {
			doc.Title = d.Title
		}
		v := store.Version{DocumentID: document.ID("w", d.ID), Hash: "1", SourceURI: d.ID, Title: doc.Title, Text: doc.Text}
		for _, c := range chunk.Split(doc) {
			v.Chunks = append(v.Chunks, store.Chunk{
				ID: chunk.ID(v.DocumentID, "1", c.Ordinal), Ordinal: c.Ordinal, Start: c.Start, End: c.End, HeadingPath: c.HeadingPath, Language: c.Language,
			})
		}
		out = append(out, v)
	})
	return out
}

func fill(t *testing.T, name string, s store.Store, versions []store.Version) store.Store {
	t.Helper()
	began, chunks := time.Now(), 0
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(64)
	for _, v := range versions {
		chunks += len(v.Chunks)
		group.Go(func() error { return s.Put(ctx, "w", v) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("%s: %d documents, %d chunks in %v, %.0f chunks/s", name, len(versions), chunks, took.Round(time.Millisecond), float64(chunks)/took.Seconds())
	return s
}

type figures struct {
	first, fifth float64
	best         map[string][]string // the ten best passages by question
}

func measure(t *testing.T, name string, s store.Store, dir string, every int) figures {
	t.Helper()
	searcher, err := search.New(search.Config{Strategies: map[string]search.Strategy{"keyword": search.Defaults()}, Default: "keyword"},
		search.Deps{Store: s, Manifest: everything{}, Observer: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	relevant := map[string]string{}
	each(t, filepath.Join(dir, "qrels.tsv"), func(line []byte) {
		f := strings.Fields(string(line))
		relevant[f[0]] = f[1]
	})
	out := figures{best: map[string][]string{}}
	var mu sync.Mutex
	var took []time.Duration
	n := 0
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(2)
	each(t, filepath.Join(dir, "queries.jsonl"), func(line []byte) {
		if n++; n%every != 0 {
			return
		}
		var q struct{ ID, Text string }
		if err := json.Unmarshal(line, &q); err != nil {
			t.Fatal(err)
		}
		group.Go(func() error {
			began := time.Now()
			r, err := searcher.Search(ctx, search.Request{Workspace: "w", Query: q.Text, TopK: 10})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
			var documents []string
			for _, p := range r.Passages {
				out.best[q.ID] = append(out.best[q.ID], p.ID)
				if !slices.Contains(documents, p.SourceURI) {
					documents = append(documents, p.SourceURI)
				}
			}
			switch place := slices.Index(documents, relevant[q.ID]); {
			case place == 0:
				out.first++
				out.fifth++
			case place > 0 && place < 5:
				out.fifth++
			}
			return nil
		})
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(took)
	asked := float64(len(took))
	out.first, out.fifth = out.first/asked, out.fifth/asked
	t.Logf("%s: %d questions, hit@1 %.4f, hit@5 %.4f, p50 %v, p95 %v", name, len(took), out.first, out.fifth,
		took[len(took)/2].Round(10*time.Microsecond), took[len(took)*95/100].Round(10*time.Microsecond))
	return out
}

// dataset finds a public data set, or skips the test and says why.
func dataset(t *testing.T, name string) string {
	t.Helper()
	roots := []string{os.Getenv("RAGMESH_DATASETS")}
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; at != filepath.Dir(at); at = filepath.Dir(at) {
		roots = append(roots, filepath.Join(at, "shared", "datasets"))
	}
	for _, root := range roots {
		if _, err := os.Stat(filepath.Join(root, name, "corpus.jsonl")); root != "" && err == nil {
			return filepath.Join(root, name)
		}
	}
	t.Skipf("data set %s is not here; RAGMESH_DATASETS may name the folder that holds it", name)
	return ""
}

func each(t *testing.T, path string, do func([]byte)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		do(s.Bytes())
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
}

type everything struct{}

func (everything) Live(string) (store.Manifest, uint64) {
	return func(string) string { return "1" }, 1
}

func (everything) Hidden(string, document.Reader) func(string) bool { return nil }

type nobody struct{}

func (nobody) Searched(context.Context, search.Result, time.Duration, error) {}

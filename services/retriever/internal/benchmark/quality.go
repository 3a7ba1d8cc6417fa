package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/services/retriever/internal/chunk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/embed"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

const workspace = "bench"

// anchors are figures of other engines on the same sets, nDCG@10 and hit@1, measured with the same questions.
func anchors(set string) [][]string {
	return map[string][][]string{
		"squad-v1.1-dev": {
			{"", "exact BM25, k1 .9 b .4", ".864", ".767"}, {"", "bleve, English analyzer", ".869", ".769"},
			{"", "SQLite FTS5, Porter", ".869", ""}, {"", "combined scorer, exhaustive", ".886", ".799"},
		},
		"cmrc2018-dev": {
			{"", "exact BM25, single + bigram", ".986", ".969"}, {"", "bleve, CJK analyzer", ".979", ".955"},
			{"", "SQLite FTS5, trigram", ".926", ""}, {"", "combined scorer, exhaustive", ".987", ".971"},
		},
	}[set]
}

// quality prints how well questions find their paragraphs.
func (o options) quality(ctx context.Context, engines []engine) error {
	for _, set := range []string{"squad-v1.1-dev", "cmrc2018-dev"} {
		dir := filepath.Join(o.datasets, set)
		if _, err := os.Stat(dir); o.datasets == "" || err != nil {
			fmt.Fprintf(o.out, "%s is not here; -datasets or RAGMESH_DATASETS names the folder that holds it\n\n", set)
			continue
		}
		rows := append([][]string{{set, "engine", "nDCG@10", "hit@1", "p50 ms", "p95 ms"}}, anchors(set)...)
		for _, e := range engines {
			measured, err := o.set(ctx, e, dir, set == "squad-v1.1-dev")
			if err != nil {
				return fmt.Errorf("%s, %s: %w", set, e.name, err)
			}
			rows = append(rows, measured...)
		}
		if err := table(o.out, rows); err != nil {
			return err
		}
	}
	return nil
}

type question struct{ ID, Text string }

// set measures one set.
func (o options) set(ctx context.Context, e engine, dir string, english bool) (rows [][]string, err error) {
	temp, err := os.MkdirTemp("", "bench-retrieval-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	s, err := e.open(ctx, temp)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	versions, err := corpus(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := put(ctx, s, versions); err != nil {
		return nil, err
	}
	queries, err := read[question](filepath.Join(dir, "queries.jsonl"))
	if err != nil {
		return nil, err
	}
	relevant := map[string]string{}
	qrels, err := os.ReadFile(filepath.Join(dir, "qrels.tsv"))
	if err != nil {
		return nil, err
	}
	for l := range strings.Lines(string(qrels)) {
		if f := strings.Fields(l); len(f) >= 2 {
			relevant[f[0]] = f[1]
		}
	}
	asked := []struct {
		name      string
		questions []question
	}{{"", queries}}
	strategies := []string{"keyword"}
	var embedder search.Embedder
	if o.embeddings != "" {
		if embedder, err = o.embed(ctx, s, versions); err != nil {
			return nil, err
		}
		strategies = []string{"keyword", "vector", "hybrid", "hybrid, rrf"}
		if paraphrases, err := read[question](o.paraphrases); english && err == nil {
			asked = append(asked, struct {
				name      string
				questions []question
			}{", paraphrased", paraphrases})
		}
	}
	for _, a := range asked {
		for _, name := range strategies {
			r, err := ask(ctx, s, embedder, name, a.questions, relevant)
			if err != nil {
				return nil, err
			}
			rows = append(rows, append([]string{"", e.name + ", " + name + a.name}, r...))
		}
	}
	return rows, nil
}

// ask measures one strategy.
func ask(ctx context.Context, s store.Store, embedder search.Embedder, name string, questions []question, relevant map[string]string) ([]string, error) {
	strategy := search.Defaults()
	kind, fusion, _ := strings.Cut(name, ", ")
	if strategy.Type = search.Type(kind); fusion != "" {
		strategy.Fusion = search.Fusion(fusion)
	}
	searcher, err := search.New(search.Config{Strategies: map[string]search.Strategy{"s": strategy}, Default: "s"},
		search.Deps{Store: s, Manifest: live{}, Observer: silent{}, Embedder: embedder})
	if err != nil {
		return nil, err
	}
	var gain, first float64
	took := make([]time.Duration, 0, len(questions))
	for _, q := range questions {
		if embedder != nil && strategy.Type != search.Keyword { // its vector is not what is measured
			if _, _, err := embedder.Query(ctx, workspace, q.Text); err != nil {
				return nil, err
			}
		}
		began := time.Now()
		r, err := searcher.Search(ctx, search.Request{Workspace: workspace, Query: q.Text, TopK: 20})
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		place, seen := 0, map[string]bool{}
		for _, p := range r.Passages {
			if seen[p.SourceURI] = true; p.SourceURI == relevant[q.ID] {
				place = len(seen)
				break
			}
		}
		if place >= 1 && place <= 10 {
			gain += 1 / math.Log2(float64(place)+1)
		}
		if place == 1 {
			first++
		}
	}
	n := float64(len(questions))
	return []string{fmt.Sprintf("%.3f", gain/n), fmt.Sprintf("%.3f", first/n), millis(took, .5), millis(took, .95)}, nil
}

func millis(all []time.Duration, quantile float64) string {
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", all[min(len(all)-1, int(quantile*float64(len(all))))].Seconds()*1e3)
}

// live is a manifest in which the one version of each document is.
type live struct{}

func (live) Live(string) (store.Manifest, uint64) { return func(string) string { return "1" }, 1 }

func (live) Hidden(string, document.Reader) func(string) bool { return nil }

type silent struct{}

func (silent) Searched(context.Context, search.Result, time.Duration, error) {}

// read reads a file of JSON lines.
func read[T any](path string) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var out []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, v)
	}
	return out, lines.Err()
}

// corpus parses and cuts a set's documents.
func corpus(ctx context.Context, dir string) ([]store.Version, error) {
	documents, err := read[struct{ ID, Title, Text string }](filepath.Join(dir, "corpus.jsonl"))
	if err != nil {
		return nil, err
	}
	registry := parse.NewRegistry()
	var out []store.Version
	for _, d := range documents {
		doc, err := registry.Parse(ctx, parse.Source{URI: d.ID, ContentType: "text/plain", Data: []byte(d.Text)})
		if err != nil {
			return nil, err
		}
		doc.Title = d.Title
		out = append(out, version(d.ID, doc))
	}
	return out, nil
}

func version(uri string, doc parse.Document) store.Version {
	v := store.Version{DocumentID: document.ID(workspace, uri), Hash: "1", SourceURI: uri, Title: doc.Title, Text: doc.Text}
	for _, c := range chunk.Split(doc) {
		v.Chunks = append(v.Chunks, store.Chunk{
			ID: chunk.ID(v.DocumentID, "1", c.Ordinal), Ordinal: c.Ordinal, Start: c.Start, End: c.End, HeadingPath: c.HeadingPath, Language: c.Language,
		})
	}
	return v
}

// put stores versions as workers do: as many at once as ingest.workers.
func put(ctx context.Context, s store.Store, versions []store.Version) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for _, v := range versions {
		group.Go(func() error { return s.Put(ctx, workspace, v) })
	}
	return group.Wait()
}

// endpoint is an OpenAI-compatible server of embeddings, asked directly. It keeps what it made.
type endpoint struct {
	url, model string
	client     *http.Client
	known      map[string][]float32
	space      store.Space
}

var _ search.Embedder = (*endpoint)(nil)

func (e *endpoint) Behind(string) int { return 0 }

func (e *endpoint) Query(ctx context.Context, _, query string) ([]float32, store.Space, error) {
	v, err := e.vectors(ctx, []string{query})
	if err != nil {
		return nil, store.Space{}, err
	}
	return v[0], e.space, nil
}

// vectors makes vectors of texts; queries that were asked before are known.
func (e *endpoint) vectors(ctx context.Context, texts []string) ([][]float32, error) {
	if v := e.known[texts[0]]; len(texts) == 1 && v != nil {
		return [][]float32{v}, nil
	}
	body, err := json.Marshal(map[string]any{"model": e.model, "input": texts})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+"/embeddings", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Data []struct {
			Embedding []float32 `json:"embedding"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&answer); err != nil || len(answer.Data) != len(texts) {
		return nil, fmt.Errorf("%s answers %s with %d vectors for %d texts: %w", e.url, resp.Status, len(answer.Data), len(texts), err)
	}
	out := make([][]float32, len(texts))
	for i, d := range answer.Data {
		out[i] = d.Embedding
	}
	if len(texts) == 1 {
		e.known[texts[0]] = out[0]
	}
	e.space = store.Space{Model: e.model, Dimension: len(out[0])}
	return out, nil
}

// embed gives all versions vectors.
func (o options) embed(ctx context.Context, s store.Store, versions []store.Version) (*endpoint, error) {
	e := &endpoint{url: strings.TrimSuffix(o.embeddings, "/"), model: o.model, client: &http.Client{Timeout: 5 * time.Minute}, known: map[string][]float32{}}
	const group = 64
	for at := 0; at < len(versions); at += group {
		var all []store.Vectors
		var texts []string
		for _, v := range versions[at:min(at+group, len(versions))] {
			k := store.Key{DocumentID: v.DocumentID, Hash: v.Hash}
			chunks, err := s.Chunks(ctx, workspace, k)
			if err != nil {
				return nil, err
			}
			for _, c := range chunks {
				texts = append(texts, embed.Text(c))
			}
			all = append(all, store.Vectors{Key: k, Chunks: chunks})
		}
		rows, err := e.vectors(ctx, texts)
		if err != nil {
			return nil, err
		}
		for i := range all {
			n := len(all[i].Chunks)
			all[i].Rows, rows = rows[:n], rows[n:]
		}
		if err := s.PutVectors(ctx, workspace, e.space, all); err != nil {
			return nil, err
		}
	}
	return e, nil
}

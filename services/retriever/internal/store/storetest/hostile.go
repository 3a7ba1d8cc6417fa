package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// hostile is what people, scanners and broken clients put into queries and names.
func hostile() []string {
	return []string{
		`walrus"`, `walrus\`, `walrus' OR 1=1 --`, "walrus\x00\a\v\x7f", "walrus \xff\xfe\xc0", "walrus \U000E0001\u2028\ufeff", "walrus *?%_~^[]",
		`walrus"}){_additional{id}}}{Get{x`, `walrus", operator: Or, operands: [{path: ["document"], operator: Like, valueText: "*"}]`,
		"walrus\n\r\t\u0085\u00a0", "walrus 𝒳𝓎𝓏 👩‍👩‍👧‍👦", strings.Repeat("walrus ", 1200), "walrus " + strings.Repeat("节点", 1300), "walrus " + strings.Repeat("a1b2c3", 1300),
	}
}

func hostileQueries(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "One walrus."))
	f.put(version("b", "1", "No such animal."))
	for _, q := range hostile() {
		if found := f.query(q, store.Filter{}).Found; len(found) != 1 || found[0].Text != "One walrus." {
			t.Errorf("%.40q finds %d chunks, want the one with the word", q, len(found))
		}
		for name, filter := range map[string]store.Filter{
			"document": {DocumentIDs: []string{clean(q)}}, "prefix": {SourcePrefixes: []string{clean(q)}}, "language": {Languages: []string{clean(q)}},
		} {
			if found := f.query("walrus", filter).Found; len(found) != 0 {
				t.Errorf("filtered by %s %.40q: %d chunks, want none", name, q, len(found))
			}
		}
	}
	for _, prefix := range []string{"*", "?", "%", ".*", "_"} {
		f.expect("walrus", store.Filter{SourcePrefixes: []string{prefix}})
	}
}

// clean is what gets through a protobuf string.
func clean(s string) string { return strings.ToValidUTF8(s, "") }

func hostileNames(t *testing.T, h Harness) {
	f := open(t, h)
	for i, q := range hostile() {
		name := fmt.Sprintf("%d %.300s", i, clean(q))
		name = clean(name)
		v := version(name, "1", fmt.Sprintf("The animal number%d is a walrus.", i))
		v.Chunks[0].HeadingPath = []string{name}
		f.put(v)
		got := f.query(fmt.Sprintf("number%d", i), store.Filter{DocumentIDs: []string{v.DocumentID}}).Found
		if len(got) != 1 || got[0].SourceURI != name || got[0].Title != v.Title || got[0].HeadingPath[0] != name {
			t.Errorf("a document named %q comes back as %+v", name, got)
		}
		if body, err := f.store.Text(t.Context(), workspace, v.DocumentID, "1"); err != nil || body != v.Text {
			t.Errorf("text of %q: %q, %v", name, body, err)
		}
	}
}

// largeDocuments puts one of many chunks, and more text than one message of any protocol holds.
func largeDocuments(t *testing.T, h Harness) {
	f := open(t, h)
	paragraphs := make([]string, 3000)
	for i := range paragraphs {
		paragraphs[i] = fmt.Sprintf("Paragraph %d of a long report. %s", i, strings.Repeat("节点和walrus。", 40))
	}
	v := version("long", "1", paragraphs...)
	f.put(v)
	if body, err := f.store.Text(t.Context(), workspace, v.DocumentID, "1"); err != nil || body != v.Text {
		t.Errorf("%d bytes of text came back as %d, %v", len(v.Text), len(body), err)
	}
	if chunks, err := f.store.Chunks(t.Context(), workspace, store.Key{DocumentID: v.DocumentID, Hash: "1"}); err != nil || len(chunks) != len(paragraphs) || chunks[2999].Text != paragraphs[2999] {
		t.Errorf("%d chunks, %v; want %d in order", len(chunks), err, len(paragraphs))
	}
	if found := f.query("2718", store.Filter{}).Found; len(found) != 1 || found[0].Ordinal != 2718 {
		t.Errorf("one chunk in many: found %d", len(found))
	}
	if n, err := f.store.Prune(t.Context(), workspace, v.DocumentID, ""); err != nil || n != len(paragraphs) {
		t.Errorf("removed %d chunks, %v", n, err)
	}
	if got := f.query("walrus", store.Filter{}); len(got.Found) != 0 || got.Stats.Chunks != 0 {
		t.Errorf("%d chunks and %d in the statistics are left", len(got.Found), got.Stats.Chunks)
	}
}

// replacedUnderSearch replaces a document for as long as searches go on: each sees one version of it.
func replacedUnderSearch(t *testing.T, h Harness) {
	f := open(t, h)
	const replacements = 20
	id := version("a", "0").DocumentID
	var mu sync.Mutex
	live, sequence := "", 0
	swap := func(hash string) {
		mu.Lock()
		defer mu.Unlock()
		live, sequence = hash, sequence+1
	}
	put := func(n int) {
		v := version("a", fmt.Sprint(n), fmt.Sprintf("The walrus of version v%d.", n), fmt.Sprintf("Another walrus of version v%d.", n))
		if err := f.store.Put(t.Context(), workspace, v); err != nil {
			t.Error(err)
		}
	}
	put(0)
	swap("0")
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for ctx.Err() == nil {
				look(t, f.store, func() (string, int) {
					mu.Lock()
					defer mu.Unlock()
					return live, sequence
				}, id)
			}
		})
	}
	for n := 1; n <= replacements; n++ {
		put(n)
		swap(fmt.Sprint(n))
		if _, err := f.store.Prune(t.Context(), workspace, id, fmt.Sprint(n)); err != nil {
			t.Error(err)
		}
	}
	stop()
	group.Wait()
}

// look searches as package search does: by one state of the manifest, and again when that has changed meanwhile.
func look(t *testing.T, s store.Store, manifest func() (string, int), id string) {
	t.Helper()
	for range 50 {
		live, sequence := manifest()
		got, err := s.Candidates(t.Context(), workspace, store.Query{
			Rank: rank.NewQuery("walrus"), Limit: 10, Live: func(string) string { return live },
		})
		if err != nil {
			t.Error(err)
			return
		}
		if _, now := manifest(); now != sequence {
			continue
		}
		hashes := map[string]int{}
		for _, c := range got.Found {
			if c.DocumentID == id {
				hashes[c.Hash]++
			}
		}
		if len(hashes) != 1 || hashes[live] != 2 {
			t.Errorf("a search while version %s was live finds chunks of versions %v, want its two", live, hashes)
		}
		return
	}
}

func canceled(t *testing.T, h Harness) {
	f := open(t, h)
	v := version("a", "1", "A walrus.")
	f.put(v)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, do := range map[string]func() error{
		"put":   func() error { return f.store.Put(ctx, workspace, v) },
		"prune": func() error { _, err := f.store.Prune(ctx, workspace, v.DocumentID, ""); return err },
		"text":  func() error { _, err := f.store.Text(ctx, workspace, v.DocumentID, "1"); return err },
		"lacks": func() error {
			_, err := f.store.Lacks(ctx, workspace, "", []store.Key{{DocumentID: v.DocumentID, Hash: "1"}})
			return err
		},
	} {
		if err := do(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
	}
	f.expect("walrus", store.Filter{}, "A walrus.")
}

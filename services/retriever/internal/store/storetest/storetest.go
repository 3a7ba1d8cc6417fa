// Package storetest is what every store must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/retriever/internal/chunk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Harness makes stores for the suite.
type Harness interface {
	// Store returns an empty store that is closed with the test.
	Store(tb testing.TB) store.Store
	// Reopen returns a store over the data of one that Store returned, which is closed first.
	Reopen(tb testing.TB, s store.Store) store.Store
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Harness){
		"FindsBothLanguages":       findsBothLanguages,
		"ReturnsWhatWasPut":        returnsWhatWasPut,
		"ServesOnlyLiveVersions":   servesOnlyLiveVersions,
		"FindsLiveAmongDead":       findsLiveAmongDead,
		"Filters":                  filters,
		"HiddenTakeNoPlaces":       hiddenTakeNoPlaces,
		"StatisticsAreExact":       statisticsAreExact,
		"PutIsIdempotent":          putIsIdempotent,
		"PruneRemovesTheBytes":     pruneRemoves,
		"WorkspacesAreApart":       workspacesAreApart,
		"DropRemovesAll":           dropRemovesAll,
		"KnowsWhatItLacks":         knowsWhatItLacks,
		"SurvivesReopening":        survivesReopening,
		"ConcurrentPutsAndQueries": concurrent,
		"RefusesBadChunks":         refusesBadChunks,
		"EmptyQueries":             emptyQueries,
		"HostileQueries":           hostileQueries,
		"HostileNames":             hostileNames,
		"LargeDocuments":           largeDocuments,
		"ReplacedUnderSearch":      replacedUnderSearch,
		"Canceled":                 canceled,
		"VectorsFindTheNearest":    vectorsFindTheNearest,
		"VectorsAreFiltered":       vectorsAreFiltered,
		"VectorsGoWithVersions":    vectorsGoWithVersions,
		"VectorsOfAnotherSpace":    vectorsOfAnotherSpace,
		"VectorsSurviveReopening":  vectorsSurviveReopening,
		"ReadsChunks":              readsChunks,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, h)
		})
	}
}

const workspace = "w"

// fixture is a store with a manifest that a test moves by hand.
type fixture struct {
	testing.TB
	store store.Store
	live  map[string]string
}

func open(tb testing.TB, h Harness) *fixture {
	tb.Helper()
	return &fixture{TB: tb, store: h.Store(tb), live: map[string]string{}}
}

// version makes a version of one chunk per paragraph.
func version(source, hash string, paragraphs ...string) store.Version {
	v := store.Version{
		DocumentID: document.ID(workspace, source), Hash: hash, SourceURI: source, Title: "Title of " + source,
		Text: strings.Join(paragraphs, "\n\n"),
	}
	at := 0
	for i, p := range paragraphs {
		language := "en"
		if strings.ContainsAny(p, "的节点集群") {
			language = "zh"
		}
		v.Chunks = append(v.Chunks, store.Chunk{
			ID: chunk.ID(v.DocumentID, hash, i), Ordinal: i, Start: at, End: at + len(p), HeadingPath: []string{"Part"}, Language: language,
		})
		at += len(p) + 2
	}
	return v
}

func (f *fixture) put(v store.Version) {
	f.Helper()
	if err := f.store.Put(f.Context(), workspace, v); err != nil {
		f.Fatal(err)
	}
	f.live[v.DocumentID] = v.Hash
}

func (f *fixture) query(q string, filter store.Filter) store.Candidates {
	f.Helper()
	got, err := f.store.Candidates(f.Context(), workspace, store.Query{
		Rank: rank.NewQuery(q), Filter: filter, Limit: 50, Live: func(id string) string { return f.live[id] },
	})
	if err != nil {
		f.Fatal(err)
	}
	return got
}

// expect checks which chunks a query finds, in any order.
func (f *fixture) expect(q string, filter store.Filter, want ...string) {
	f.Helper()
	found := map[string]int{}
	for _, c := range f.query(q, filter).Found {
		found[c.Text]++
	}
	wanted := map[string]int{}
	for _, w := range want {
		wanted[w]++
	}
	if diff := cmp.Diff(wanted, found); diff != "" {
		f.Errorf("%q finds (-want +got):\n%s", q, diff)
	}
}

func findsBothLanguages(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "Pods run containers.", "Nodes run pods."))
	f.put(version("b", "1", "集群由节点组成。", "猫坐在垫子上。"))
	f.expect("What runs a container?", store.Filter{}, "Pods run containers.", "Nodes run pods.")
	f.expect("containers", store.Filter{}, "Pods run containers.")
	f.expect("节点在哪里", store.Filter{}, "集群由节点组成。")
	f.expect("猫", store.Filter{}, "猫坐在垫子上。")
	f.expect("title", store.Filter{}, "Pods run containers.", "Nodes run pods.", "集群由节点组成。", "猫坐在垫子上。")
	f.expect("elephant", store.Filter{})
}

func returnsWhatWasPut(t *testing.T, h Harness) {
	f := open(t, h)
	v := version("a/b.md", "1", "First paragraph.", "Second 节点 text.")
	v.Chunks[1].Pages = []document.Page{{Number: 3, Boxes: []document.Box{{72, 90.5, 523.25, 700}}}, {Number: 4}}
	f.put(v)
	got := f.query("second", store.Filter{}).Found
	want := []store.Candidate{{
		Chunk: v.Chunks[1], DocumentID: v.DocumentID, Hash: "1", SourceURI: "a/b.md", Title: v.Title, Text: "Second 节点 text.",
		Terms: rank.Read(store.Head(v.Title, v.Chunks[1].HeadingPath), "Second 节点 text.").Encode(),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
	body, err := f.store.Text(t.Context(), workspace, v.DocumentID, "1")
	if err != nil || body != v.Text {
		t.Errorf("text = %q, %v; want %q", body, err, v.Text)
	}
	for _, key := range [][2]string{{v.DocumentID, "2"}, {document.ID(workspace, "x"), "1"}} {
		if _, err := f.store.Text(t.Context(), workspace, key[0], key[1]); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("text of %v: %v, want ErrNotFound", key, err)
		}
	}
}

func servesOnlyLiveVersions(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "The old walrus."))
	f.put(version("b", "1", "Another walrus."))
	next := version("a", "2", "The new walrus.")
	if err := f.store.Put(t.Context(), workspace, next); err != nil {
		t.Fatal(err)
	}
	f.expect("walrus", store.Filter{}, "The old walrus.", "Another walrus.") // not switched yet
	f.live[next.DocumentID] = "2"
	f.expect("walrus", store.Filter{}, "The new walrus.", "Another walrus.")
	f.live[next.DocumentID] = "" // deleted
	f.expect("walrus", store.Filter{}, "Another walrus.")
}

func findsLiveAmongDead(t *testing.T, h Harness) {
	f := open(t, h)
	dead := make([]string, 300)
	for i := range dead {
		dead[i] = "walrus walrus"
	}
	f.put(version("dead", "1", dead...))
	f.live = map[string]string{}
	f.put(version("a", "1", "One walrus among many words that make it a lesser hit."))
	f.expect("walrus", store.Filter{}, "One walrus among many words that make it a lesser hit.")
}

func filters(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("docs/en/a.md", "1", "walrus one"))
	f.put(version("docs/zh/b.md", "1", "walrus 节点的集群"))
	f.put(version("Docs/c.md", "1", "walrus three"))
	id := func(source string) string { return document.ID(workspace, source) }
	f.expect("walrus", store.Filter{SourcePrefixes: []string{"docs/"}}, "walrus one", "walrus 节点的集群")
	f.expect("walrus", store.Filter{SourcePrefixes: []string{"docs/en", "Docs"}}, "walrus one", "walrus three")
	f.expect("walrus", store.Filter{Languages: []string{"zh"}}, "walrus 节点的集群")
	f.expect("walrus", store.Filter{DocumentIDs: []string{id("docs/en/a.md"), id("Docs/c.md")}}, "walrus one", "walrus three")
	f.expect("walrus", store.Filter{DocumentIDs: []string{id("Docs/c.md")}, Languages: []string{"zh"}})
	f.expect("walrus", store.Filter{SourcePrefixes: []string{"nowhere"}})
}

// hiddenTakeNoPlaces has more hidden chunks, all better hits, than any store looks through.
func hiddenTakeNoPlaces(t *testing.T, h Harness) {
	f := open(t, h)
	better := make([]string, 2500)
	for i := range better {
		better[i] = "walrus walrus"
	}
	secret := version("secret", "1", better...)
	f.put(secret)
	f.put(version("a", "1", "One walrus among many words that make it a lesser hit.", "Nothing about it here, but one walrus in passing all the same."))
	got, err := f.store.Candidates(t.Context(), workspace, store.Query{
		Rank: rank.NewQuery("walrus"), Limit: 10, Live: func(id string) string { return f.live[id] },
		Hidden: func(id string) bool { return id == secret.DocumentID },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Found) != 2 || got.Found[0].SourceURI != "a" || got.Found[1].SourceURI != "a" {
		t.Errorf("found %d candidates, want the two of the document that is not hidden", len(got.Found))
	}
	if got.Passed {
		t.Error("hidden chunks count as passed over")
	}
	filtered, err := f.store.Candidates(t.Context(), workspace, store.Query{
		Rank: rank.NewQuery("walrus"), Limit: 10, Live: func(id string) string { return f.live[id] },
		Filter: store.Filter{DocumentIDs: []string{secret.DocumentID}}, Hidden: func(id string) bool { return id == secret.DocumentID },
	})
	if err != nil || len(filtered.Found) != 0 {
		t.Errorf("asked for by its id: %d candidates, %v", len(filtered.Found), err)
	}
}

func statisticsAreExact(t *testing.T, h Harness) {
	f := open(t, h)
	first, second := version("a", "1", "Pods run pods.", "节点和集群"), version("b", "1", "A pod.")
	f.put(first)
	f.put(second)
	length := 0.0
	for _, v := range []store.Version{first, second} {
		for _, c := range v.Chunks {
			length += rank.Read(store.Head(v.Title, c.HeadingPath), v.Text[c.Start:c.End]).Length()
		}
	}
	want := rank.Stats{Chunks: 3, AverageLength: length / 3, Frequency: map[string]int{"pod": 2, "run": 1, "titl": 3, "节": 1, "节点": 1, "点": 1, "zebra": 0}}
	if diff := cmp.Diff(want, f.query("pods run title 节点 zebra", store.Filter{}).Stats); diff != "" {
		t.Errorf("statistics (-want +got):\n%s", diff)
	}
	if _, err := f.store.Prune(t.Context(), workspace, first.DocumentID, ""); err != nil {
		t.Fatal(err)
	}
	want = rank.Stats{
		Chunks: 1, AverageLength: rank.Read(store.Head(second.Title, second.Chunks[0].HeadingPath), second.Text).Length(),
		Frequency: map[string]int{"pod": 1, "run": 0},
	}
	if diff := cmp.Diff(want, f.query("pods run", store.Filter{}).Stats); diff != "" {
		t.Errorf("statistics after a removal (-want +got):\n%s", diff)
	}
}

func putIsIdempotent(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "walrus one", "walrus two", "walrus three"))
	f.put(version("a", "1", "walrus one", "walrus two"))
	f.expect("walrus", store.Filter{}, "walrus one", "walrus two")
	got := f.query("walrus", store.Filter{}).Stats
	f.put(version("a", "1", "walrus one", "walrus two"))
	if diff := cmp.Diff(got, f.query("walrus", store.Filter{}).Stats); diff != "" || got.Chunks != 2 {
		t.Errorf("statistics %+v changed (-want +got):\n%s", got, diff)
	}
}

func pruneRemoves(t *testing.T, h Harness) {
	f := open(t, h)
	a := version("a", "1", "walrus one", "walrus two")
	f.put(a)
	f.put(version("a", "2", "walrus three"))
	f.put(version("b", "1", "walrus four"))
	prune := func(keep string, want int) {
		t.Helper()
		if n, err := f.store.Prune(t.Context(), workspace, a.DocumentID, keep); err != nil || n != want {
			t.Errorf("prune removed %d chunks, %v; want %d", n, err, want)
		}
	}
	prune("2", 2)
	prune("2", 0)
	f.expect("walrus", store.Filter{}, "walrus three", "walrus four")
	if _, err := f.store.Text(t.Context(), workspace, a.DocumentID, "1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("text after prune: %v, want ErrNotFound", err)
	}
	f.live[a.DocumentID] = "1" // even when the manifest still names it
	f.expect("walrus", store.Filter{}, "walrus four")
	prune("", 1)
	if n, err := f.store.Prune(t.Context(), "nowhere", a.DocumentID, ""); err != nil || n != 0 {
		t.Errorf("prune in a workspace without index = %d, %v", n, err)
	}
}

func workspacesAreApart(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "walrus one"))
	for _, other := range []string{"W", "w2", "w-"} {
		got, err := f.store.Candidates(t.Context(), other, store.Query{
			Rank: rank.NewQuery("walrus"), Limit: 10, Live: func(string) string { return "1" },
		})
		if err != nil || len(got.Found) != 0 || got.Stats.Chunks != 0 {
			t.Errorf("workspace %s sees %+v, %v", other, got, err)
		}
	}
}

func dropRemovesAll(t *testing.T, h Harness) {
	f := open(t, h)
	kept, gone := version("a", "1", "A walrus that stays."), version("a", "1", "A walrus that goes.")
	f.put(gone)
	if err := f.store.Put(t.Context(), "other", kept); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be repeated
		if err := f.store.Drop(t.Context(), workspace); err != nil {
			t.Fatal(err)
		}
	}
	f.expect("walrus", store.Filter{})
	if _, err := f.store.Text(t.Context(), workspace, gone.DocumentID, "1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("text after the drop: %v", err)
	}
	if text, err := f.store.Text(t.Context(), "other", kept.DocumentID, "1"); err != nil || text != kept.Text {
		t.Errorf("another workspace's text: %q, %v", text, err)
	}
	f.put(version("b", "1", "A walrus that comes later.")) // the workspace begins anew
	f.expect("walrus", store.Filter{}, "A walrus that comes later.")
	f.store = h.Reopen(t, f.store)
	f.expect("walrus", store.Filter{}, "A walrus that comes later.")
}

func survivesReopening(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "walrus one", "节点的集群"))
	before := f.query("walrus 节点", store.Filter{})
	f.store = h.Reopen(t, f.store)
	if diff := cmp.Diff(before, f.query("walrus 节点", store.Filter{})); diff != "" {
		t.Errorf("after reopening (-want +got):\n%s", diff)
	}
}

func concurrent(t *testing.T, h Harness) {
	f := open(t, h)
	const writers, each = 8, 10
	id := document.ID(workspace, "same")
	f.live[id] = "0"
	for i := range writers {
		for j := range each {
			v := version(fmt.Sprintf("doc-%d-%d", i, j), "1", "x")
			f.live[v.DocumentID] = "1"
		}
	}
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for j := range each {
				v := version(fmt.Sprintf("doc-%d-%d", i, j), "1", fmt.Sprintf("walrus number %d%02d", i, j))
				if err := f.store.Put(t.Context(), workspace, v); err != nil {
					t.Error(err)
				}
				// Everybody replaces one document, too.
				if err := f.store.Put(t.Context(), workspace, version("same", fmt.Sprint(i), "the same walrus")); err != nil {
					t.Error(err)
				}
				if _, err := f.store.Prune(t.Context(), workspace, id, "0"); err != nil {
					t.Error(err)
				}
				f.query("walrus", store.Filter{})
			}
		})
	}
	group.Wait()
	if err := f.store.Put(t.Context(), workspace, version("same", "0", "the same walrus")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Prune(t.Context(), workspace, id, "0"); err != nil {
		t.Fatal(err)
	}
	got := f.query("walrus", store.Filter{}).Stats
	if want := writers*each + 1; got.Chunks != want || got.Frequency["walrus"] != want {
		t.Errorf("statistics = %+v, want %d chunks with the word", got, want)
	}
	for i := range writers {
		f.expect(fmt.Sprintf("%d05", i), store.Filter{}, fmt.Sprintf("walrus number %d05", i))
	}
}

func refusesBadChunks(t *testing.T, h Harness) {
	f := open(t, h)
	for name, spoil := range map[string]func(*store.Chunk){
		"beyond the text": func(c *store.Chunk) { c.End = 100 },
		"empty":           func(c *store.Chunk) { c.End = c.Start },
		"out of order":    func(c *store.Chunk) { c.Ordinal = 3 },
	} {
		v := version("a", "1", "walrus")
		spoil(&v.Chunks[0])
		if err := f.store.Put(t.Context(), workspace, v); err == nil {
			t.Errorf("a chunk %s was taken", name)
		}
	}
}

func emptyQueries(t *testing.T, h Harness) {
	f := open(t, h)
	f.put(version("a", "1", "walrus"))
	for _, q := range []string{"", "the of what", "，。？", "的了吗"} {
		f.expect(q, store.Filter{})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.store.Candidates(ctx, workspace, store.Query{Rank: rank.NewQuery("walrus"), Limit: 1, Live: func(string) string { return "1" }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled query gives %v", err)
	}
}

func knowsWhatItLacks(t *testing.T, h Harness) {
	s := h.Store(t)
	holds := func(workspace, revision, source, hash string) bool {
		t.Helper()
		lacking, err := s.Lacks(t.Context(), workspace, revision, []store.Key{{DocumentID: version(source, hash).DocumentID, Hash: hash}})
		if err != nil {
			t.Fatal(err)
		}
		return len(lacking) == 0
	}
	if holds(workspace, "r1", "a", "1") {
		t.Error("an empty store holds something")
	}
	old, current := version("a", "1", "A walrus."), version("b", "1", "Another walrus.")
	old.Revision, current.Revision = "r1", "r2"
	for _, v := range []store.Version{old, current} {
		if err := s.Put(t.Context(), workspace, v); err != nil {
			t.Fatal(err)
		}
	}
	s = h.Reopen(t, s)
	for _, tc := range []struct {
		workspace, revision, source, hash string
		want                              bool
	}{
		{workspace, "r1", "a", "1", true}, {workspace, "r2", "a", "1", false}, {workspace, "r2", "b", "1", true},
		{workspace, "r1", "a", "2", false}, {"other", "r1", "a", "1", false},
	} {
		if got := holds(tc.workspace, tc.revision, tc.source, tc.hash); got != tc.want {
			t.Errorf("%+v: %t", tc, got)
		}
	}
	old.Revision = "r2" // derived anew
	if err := s.Put(t.Context(), workspace, old); err != nil {
		t.Fatal(err)
	}
	if holds(workspace, "r1", "a", "1") || !holds(workspace, "r2", "a", "1") {
		t.Error("a version put again is held with its old revision")
	}
	if _, err := s.Prune(t.Context(), workspace, old.DocumentID, ""); err != nil {
		t.Fatal(err)
	}
	if holds(workspace, "r2", "a", "1") {
		t.Error("a removed version is held")
	}
}

// Package storetest is what every store must pass.
package storetest

import (
	"context"
	"errors"
	"strings"
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

// Remembering is a [Harness] whose store may go on counting what was written and removed at the same moment. It never finds that.
type Remembering interface {
	Harness
	Remembers()
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

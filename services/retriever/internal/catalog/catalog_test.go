package catalog_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// records are one document's record, changed by others too.
type records struct {
	document document.Document
	revision catalog.Revision
	before   func() // runs once, before the next Put
	tell     func(catalog.Change)
	watching chan struct{}
}

func (r *records) Get(context.Context, string, string) (document.Document, catalog.Revision, error) {
	if r.document.ID == "" {
		return document.Document{}, 0, catalog.ErrNotFound
	}
	return r.document, r.revision, nil
}

func (r *records) Put(_ context.Context, d document.Document, at catalog.Revision) (catalog.Revision, error) {
	if before := r.before; before != nil {
		r.before = nil
		before()
	}
	if at != r.revision {
		return 0, catalog.ErrConflict
	}
	r.document = d
	r.revision++
	return r.revision, nil
}

func (r *records) Delete(context.Context, string, string) error { return nil }

func (r *records) Watch(ctx context.Context, tell func(catalog.Change)) error {
	r.tell = tell
	close(r.watching)
	<-ctx.Done()
	return nil
}

// open returns a catalog whose records have been read, when synced is set.
func open(t *testing.T, synced bool) (*catalog.Catalog, *records) {
	t.Helper()
	r := &records{watching: make(chan struct{})}
	c := catalog.New(r)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	<-r.watching
	if synced {
		r.tell(catalog.Change{})
	}
	return c, r
}

func doc(hash string) document.Document {
	return document.Document{ID: "d", Workspace: "w", SourceURI: "a", Live: document.Live{Hash: hash, Sequence: 1}}
}

func TestNothingIsAnsweredFromHalfTheRecords(t *testing.T) {
	t.Parallel()
	c, _ := open(t, false)
	_, get := c.Get("w", "d", named("user:a"))
	_, list := c.List("w", catalog.Filter{Reader: named("user:a")}, 10, "")
	_, watch := c.Watch("w", named("user:a"))
	_, change := c.Change(t.Context(), "w", "d", func(*document.Document) error { return nil })
	for name, err := range map[string]error{"get": get, "list": list, "watch": watch, "change": change} {
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChangeStartsOverAfterAConflict(t *testing.T) {
	t.Parallel()
	c, r := open(t, true)
	r.before = func() { r.document, r.revision = doc("theirs"), 7 }
	var seen []string
	got, err := c.Change(t.Context(), "w", "d", func(d *document.Document) error {
		seen = append(seen, d.Live.Hash)
		*d = doc(d.Live.Hash + "+ours")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "theirs"}, seen); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	live, _ := c.Live("w")
	if got.Live.Hash != "theirs+ours" || live("d") != got.Live.Hash || r.revision != 8 {
		t.Errorf("document %+v, live %s, revision %d", got, live("d"), r.revision)
	}
}

func TestOldNewsDoesNotBringBackADocument(t *testing.T) {
	t.Parallel()
	c, r := open(t, true)
	r.tell(catalog.Change{Document: doc("1"), Revision: 5})
	live, sequence := c.Live("w")
	if live("d") != "1" || sequence != 1 {
		t.Errorf("live %q, sequence %d", live("d"), sequence)
	}
	r.tell(catalog.Change{Document: doc("0"), Revision: 4})
	if live("d") != "1" {
		t.Errorf("older news went live: %q", live("d"))
	}
	r.tell(catalog.Change{Document: document.Document{ID: "d", Workspace: "w"}, Revision: 6, Deleted: true})
	r.tell(catalog.Change{Document: doc("1"), Revision: 5})
	if live("d") != "" {
		t.Errorf("a deleted document is back: %q", live("d"))
	}
	deleting := doc("2")
	deleting.Deleting = true
	r.tell(catalog.Change{Document: deleting, Revision: 7})
	if _, err := c.Get("w", "d", named("user:a")); fault.KindOf(err) != fault.NotFound || live("d") != "" {
		t.Errorf("a document being deleted is there: %v, %q", err, live("d"))
	}
}

func TestWatchTellsTheLatestOnce(t *testing.T) {
	t.Parallel()
	c, r := open(t, true)
	r.tell(catalog.Change{Document: doc("1"), Revision: 1})
	w, err := c.Watch("w", named("user:a"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	next := func(want ...catalog.Event) {
		t.Helper()
		got, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	}
	next(catalog.Event{Document: doc("1")})
	r.tell(catalog.Change{Document: doc("2"), Revision: 2})
	r.tell(catalog.Change{Document: doc("3"), Revision: 3})
	next(catalog.Event{Document: doc("3")})
	r.tell(catalog.Change{Document: document.Document{ID: "d", Workspace: "w"}, Revision: 4, Deleted: true})
	next(catalog.Event{Document: document.Document{ID: "d"}, Deleted: true})
}

func TestCensusCountsWhatPeopleMaySee(t *testing.T) {
	t.Parallel()
	c, r := open(t, true)
	at := func(id string, state document.State, sequence uint64, deleting bool) catalog.Change {
		return catalog.Change{Document: document.Document{ID: id, Workspace: "w", State: state, Newest: document.Version{Sequence: sequence}, Deleting: deleting}, Revision: 1}
	}
	for _, change := range []catalog.Change{
		at("a", document.Queued, 3_000_000, false), at("b", document.Processing, 2_000_000, false), at("c", document.Ready, 1_000_000, false),
		at("d", document.Queued, 1, true), {Document: document.Document{ID: "e", Workspace: "w"}, Revision: 1, Deleted: true},
	} {
		r.tell(change)
	}
	want := catalog.Census{
		States: map[document.State]int{document.Queued: 1, document.Processing: 1, document.Ready: 1}, Oldest: time.Unix(2, 0),
	}
	if diff := cmp.Diff(want, c.Census()); diff != "" {
		t.Errorf("census (-want +got):\n%s", diff)
	}
}

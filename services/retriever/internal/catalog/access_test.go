package catalog_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// named is a reader of one name; "admin" reads everything.
type named string

func (n named) Reads(readers []string) bool {
	return n == "admin" || slices.Contains(readers, string(n))
}

func TestListedDocumentsAreThereForTheirReaders(t *testing.T) {
	t.Parallel()
	c, r := open(t, true)
	at := func(id string, readers ...string) document.Document {
		d := document.Document{ID: id, Workspace: "w", SourceURI: id, Live: document.Live{Hash: "1"}}
		if len(readers) > 0 {
			d.Access = document.NewAccess(readers)
		}
		return d
	}
	for i, d := range []document.Document{at("open"), at("alices", "user:alice"), at("teams", "group:team", "user:alice"), at("nobodys", "-")} {
		r.tell(catalog.Change{Document: d, Revision: catalog.Revision(i + 1)})
	}
	all := []string{"alices", "nobodys", "open", "teams"}
	for reader, want := range map[named][]string{
		"admin": all, "user:alice": {"alices", "open", "teams"}, "group:team": {"open", "teams"}, "user:bob": {"open"},
	} {
		page, err := c.List("w", catalog.Filter{Reader: reader}, 10, "")
		if err != nil {
			t.Fatal(err)
		}
		var listed []string
		for _, d := range page.Documents {
			listed = append(listed, d.ID)
		}
		readable, err := c.Readable("w", append(all, "none"), reader)
		if err != nil {
			t.Fatal(err)
		}
		hidden := c.Hidden("w", reader)
		var seen []string
		for _, id := range all {
			if hidden == nil || !hidden(id) {
				seen = append(seen, id)
			}
			if _, err := c.Get("w", id, reader); (err == nil) != slices.Contains(want, id) || err != nil && fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s gets %s: %v", reader, id, err)
			}
		}
		for how, got := range map[string][]string{"list": listed, "readable": readable, "search": seen} {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", how, reader, diff)
			}
		}
		if page.Total != len(want) {
			t.Errorf("%s counts %d documents, want %d", reader, page.Total, len(want))
		}
	}
	if c.Hidden("w", named("admin")) != nil || c.Hidden("elsewhere", named("user:bob")) != nil {
		t.Error("nothing is hidden, and searches are to pay for it")
	}
}

func TestHiddenTellsHowItIsNow(t *testing.T) {
	t.Parallel()
	c, r := open(t, true)
	listed := doc("1")
	listed.Access = document.NewAccess([]string{"user:alice"})
	r.tell(catalog.Change{Document: listed, Revision: 1})
	hidden := c.Hidden("w", named("user:bob"))
	if !hidden("d") {
		t.Fatal("a listed document is not hidden")
	}
	r.tell(catalog.Change{Document: doc("1"), Revision: 2})
	if hidden("d") {
		t.Error("it was opened and is still hidden")
	}
	if c.Hidden("w", named("user:bob")) != nil {
		t.Error("no document is listed any more, and searches are to pay for it")
	}
}

func TestWatchTellsReadersOnly(t *testing.T) {
	t.Parallel()
	c, r := open(t, true)
	listed := doc("1")
	listed.Access = document.NewAccess([]string{"user:alice"})
	r.tell(catalog.Change{Document: listed, Revision: 1})
	w, err := c.Watch("w", named("user:bob"))
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
		if diff := cmp.Diff(append([]catalog.Event{}, want...), got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	}
	next()
	r.tell(catalog.Change{Document: doc("2"), Revision: 2}) // opened
	next(catalog.Event{Document: doc("2")})
	r.tell(catalog.Change{Document: listed, Revision: 3})
	next(catalog.Event{Document: document.Document{ID: "d"}, Deleted: true}) // for bob it is gone
	r.tell(catalog.Change{Document: document.Document{ID: "d", Workspace: "w"}, Revision: 4, Deleted: true})
	next() // and nobody tells him of it again
}

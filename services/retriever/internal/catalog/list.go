package catalog

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// Filter narrows a list.
type Filter struct {
	State        document.State // empty: all
	SourcePrefix string
	Reader       document.Reader // whose documents are listed and counted
}

// Page is a part of a list.
type Page struct {
	Documents []document.Document // by source URI
	Next      string              // token of the next page; empty on the last
	Total     int                 // of all pages
}

// List returns up to size documents of a workspace, those after the one a token names.
func (c *Catalog) List(workspace string, f Filter, size int, token string) (Page, error) {
	if err := c.ready(); err != nil {
		return Page{}, err
	}
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return Page{}, fault.New(fault.Invalid, fault.InvalidRequest, "page_token is not one this service gave out").
			WithField("page_token", "empty, or next_page_token of the page before")
	}
	var page Page
	for _, d := range c.matching(workspace, f) {
		page.Total++
		switch {
		case d.SourceURI <= string(after) && token != "":
		case len(page.Documents) < size:
			page.Documents = append(page.Documents, d)
		case page.Next == "":
			page.Next = base64.RawURLEncoding.EncodeToString([]byte(page.Documents[size-1].SourceURI))
		}
	}
	return page, nil
}

// matching returns a workspace's documents in order. A source URI is unique in its workspace, since the id is made from it.
func (c *Catalog) matching(name string, f Filter) []document.Document {
	c.mu.RLock()
	defer c.mu.RUnlock()
	w, ok := c.workspaces[name]
	if !ok {
		return nil
	}
	out := make([]document.Document, 0, len(w.documents))
	for _, e := range w.documents {
		if e.there() && (f.State == "" || e.State == f.State) && strings.HasPrefix(e.SourceURI, f.SourcePrefix) && e.ReadableBy(f.Reader) {
			out = append(out, e.Document)
		}
	}
	slices.SortFunc(out, func(a, b document.Document) int { return cmp.Compare(a.SourceURI, b.SourceURI) })
	return out
}

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
	IDs          []string        // empty: all
	Reasons      []string        // of their failures; empty: all
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

func (f Filter) takes(d document.Document) bool {
	return (f.State == "" || d.State == f.State) && strings.HasPrefix(d.SourceURI, f.SourcePrefix) &&
		(len(f.Reasons) == 0 || d.Failure != nil && slices.Contains(f.Reasons, d.Failure.Reason)) && d.ReadableBy(f.Reader)
}

// Matching returns all documents of a workspace that a filter takes, by source URI.
func (c *Catalog) Matching(workspace string, f Filter) ([]document.Document, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	return c.matching(workspace, f), nil
}

// matching returns a workspace's documents in order. A source URI is unique in its workspace, since the id is made from it.
func (c *Catalog) matching(name string, f Filter) []document.Document {
	c.mu.RLock()
	defer c.mu.RUnlock()
	w, ok := c.workspaces[name]
	if !ok {
		return nil
	}
	var out []document.Document
	take := func(e entry) {
		if e.there() && f.takes(e.Document) {
			out = append(out, e.Document)
		}
	}
	if len(f.IDs) > 0 {
		ids := slices.Sorted(slices.Values(f.IDs))
		for _, id := range slices.Compact(ids) {
			take(w.documents[id])
		}
	} else {
		for _, e := range w.documents {
			take(e)
		}
	}
	slices.SortFunc(out, func(a, b document.Document) int { return cmp.Compare(a.SourceURI, b.SourceURI) })
	return out
}

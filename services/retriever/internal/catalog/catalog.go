// Package catalog knows all documents: a copy in memory of the durable records, kept up to date by watching them. It is the
// manifest search filters by and the list people see, and the only place records are changed, always by compare and swap.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// What Records answer. Any other error means that they don't answer right now.
var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("no such document record")
	// ErrConflict: the record was changed since it was read.
	ErrConflict = errors.New("document record changed since it was read")
)

// Revision orders the changes of all records; 0 is before every change.
type Revision uint64

// Change is the news of one record. One without an id says that all records there were have been told.
type Change struct {
	Document document.Document // only ids when Deleted
	Revision Revision
	Deleted  bool
}

// Records are where documents are durable.
type Records interface {
	// Get reads a record past every cache, or gives ErrNotFound.
	Get(ctx context.Context, workspace, id string) (document.Document, Revision, error)
	// Put writes a record that is still at a revision, 0 meaning that there is none, or gives ErrConflict.
	Put(ctx context.Context, d document.Document, at Revision) (Revision, error)
	// Delete removes a record. One that is not there is no error.
	Delete(ctx context.Context, workspace, id string) error
	// Watch tells every record, then a Change without an id, then every change until ctx ends.
	Watch(ctx context.Context, tell func(Change)) error
}

// Catalog is safe for concurrent use.
type Catalog struct {
	records Records

	mu         sync.RWMutex
	workspaces map[string]*workspace
	synced     chan struct{}
}

// workspace is what is known of one workspace, under Catalog.mu.
type workspace struct {
	documents map[string]entry
	listed    map[string]struct{} // ids of documents that not everybody may read
	sequence  uint64              // of the newest live version
	watchers  map[*watcher]struct{}
	tally     tally
	line      []place   // see Catalog.line
	lined     time.Time // when it was so
}

type entry struct {
	document.Document
	revision Revision
}

// New returns a catalog that is empty until Run has read the records.
func New(r Records) *Catalog {
	return &Catalog{records: r, workspaces: map[string]*workspace{}, synced: make(chan struct{})}
}

// Run follows the records until ctx ends.
func (c *Catalog) Run(ctx context.Context) error {
	err := c.records.Watch(ctx, func(ch Change) {
		if ch.Document.ID == "" {
			c.mu.Lock()
			if !c.isSynced() {
				close(c.synced)
			}
			c.mu.Unlock()
			return
		}
		c.apply(ch)
	})
	if err != nil {
		return fmt.Errorf("follow document records: %w", err)
	}
	return nil
}

// Synced is closed once every record has been read.
func (c *Catalog) Synced() <-chan struct{} { return c.synced }

func (c *Catalog) isSynced() bool {
	select {
	case <-c.synced:
		return true
	default:
		return false
	}
}

// ready refuses to answer before every record has been read: an answer from half of them would look like a whole one.
func (c *Catalog) ready() error {
	if !c.isSynced() {
		return fault.New(fault.Unavailable, fault.StoreUnavailable, "the documents are still being read; try again shortly")
	}
	return nil
}

// apply takes in a change, unless a newer one was there before.
func (c *Catalog) apply(ch Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.workspace(ch.Document.Workspace)
	before, ok := w.documents[ch.Document.ID]
	if ok && before.revision >= ch.Revision {
		return
	}
	defer func() { w.tally.count(before, w.documents[ch.Document.ID]) }()
	if ch.Deleted {
		// The marker stays, so that news from before the deletion doesn't bring the document back.
		w.documents[ch.Document.ID] = entry{revision: ch.Revision}
		delete(w.listed, ch.Document.ID)
	} else {
		w.documents[ch.Document.ID] = entry{ch.Document, ch.Revision}
		if ch.Document.Access != nil {
			w.listed[ch.Document.ID] = struct{}{}
		} else {
			delete(w.listed, ch.Document.ID)
		}
		w.sequence = max(w.sequence, ch.Document.Live.Sequence)
	}
	for watcher := range w.watchers {
		watcher.note(ch.Document.ID)
	}
}

func (c *Catalog) workspace(name string) *workspace {
	w, ok := c.workspaces[name]
	if !ok {
		w = &workspace{documents: map[string]entry{}, listed: map[string]struct{}{}, watchers: map[*watcher]struct{}{}}
		c.workspaces[name] = w
	}
	return w
}

// there reports whether an entry is a document people may see.
func (e entry) there() bool { return e.ID != "" && !e.Deleting }

// Live returns the workspace's manifest and the sequence of the newest version it ever named.
func (c *Catalog) Live(name string) (store.Manifest, uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	w, ok := c.workspaces[name]
	if !ok {
		return func(string) string { return "" }, 0
	}
	return func(id string) string {
		c.mu.RLock()
		defer c.mu.RUnlock()
		if e := w.documents[id]; e.there() {
			return e.Live.Hash
		}
		return ""
	}, w.sequence
}

// fewListed is how many documents with readers of their own are looked through to see whether any is hidden from a reader.
const fewListed = 64

// Hidden returns which of the workspace's documents do not exist for a reader, nil when all do. What it returns tells how it
// is at the moment of each call.
func (c *Catalog) Hidden(name string, r document.Reader) func(documentID string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	w, ok := c.workspaces[name]
	if !ok || r.Reads(nil) {
		return nil
	}
	if len(w.listed) <= fewListed {
		hidden := false
		for id := range w.listed {
			hidden = hidden || !w.documents[id].ReadableBy(r)
		}
		if !hidden {
			return nil
		}
	}
	return func(id string) bool {
		c.mu.RLock()
		defer c.mu.RUnlock()
		e, ok := w.documents[id]
		return !ok || !e.ReadableBy(r)
	}
}

// Get returns a document. One that is being deleted is not there, nor is one that the reader may not read.
func (c *Catalog) Get(workspace, id string, r document.Reader) (document.Document, error) {
	if err := c.ready(); err != nil {
		return document.Document{}, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if w, ok := c.workspaces[workspace]; ok {
		if e := w.documents[id]; e.there() && e.ReadableBy(r) {
			return e.Document, nil
		}
	}
	return document.Document{}, NotFound()
}

// Readable returns those of some documents that are there for a reader, in their order.
func (c *Catalog) Readable(workspace string, ids []string, r document.Reader) ([]string, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	w, ok := c.workspaces[workspace]
	if !ok {
		return nil, nil
	}
	var out []string
	for _, id := range ids {
		if e := w.documents[id]; e.there() && e.ReadableBy(r) {
			out = append(out, id)
		}
	}
	return out, nil
}

// Current returns a document, one being deleted too, that is at least as new as a sequence says it must be: when the copy in
// memory isn't, the record is read. The error is of kind NotFound when there is none.
func (c *Catalog) Current(ctx context.Context, workspace, id string, sequence uint64) (document.Document, error) {
	c.mu.RLock()
	var known entry
	if w, ok := c.workspaces[workspace]; ok {
		known = w.documents[id]
	}
	c.mu.RUnlock()
	if known.ID != "" && known.Newest.Sequence >= sequence {
		return known.Document, nil
	}
	d, revision, err := c.records.Get(ctx, workspace, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return document.Document{}, NotFound()
	case err != nil:
		return document.Document{}, fmt.Errorf("read document record: %w", err)
	}
	c.apply(Change{Document: d, Revision: revision})
	return d, nil
}

// NotFound is the error for a document that is not there, or not in this workspace.
func NotFound() error {
	return fault.New(fault.NotFound, fault.DocumentNotFound, "there is no such document in this workspace")
}

// Select returns the documents of all workspaces, those being deleted too, that a condition holds for.
func (c *Catalog) Select(condition func(document.Document) bool) []document.Document {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []document.Document
	for _, w := range c.workspaces {
		for _, e := range w.documents {
			if e.ID != "" && condition(e.Document) {
				out = append(out, e.Document)
			}
		}
	}
	return out
}

// Census says how the documents of all workspaces are.
type Census struct {
	// States counts those in each state.
	States map[document.State]int
	// Oldest is when the version that has waited longest to be taken in was committed; zero when none waits.
	Oldest time.Time
}

// Census counts the documents that people may see.
func (c *Catalog) Census() Census {
	out := Census{States: map[document.State]int{}}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, w := range c.workspaces {
		for _, e := range w.documents {
			if !e.there() {
				continue
			}
			out.States[e.State]++
			// A version's sequence is the time of its commit, in microseconds.
			if at := time.UnixMicro(int64(e.Newest.Sequence)); (e.State == document.Queued || e.State == document.Processing) && (out.Oldest.IsZero() || at.Before(out.Oldest)) {
				out.Oldest = at
			}
		}
	}
	return out
}

// maxTries bounds how often a change starts over because others came first.
const maxTries = 10

// Change reads a document, lets edit change it and writes it back, as one step: when somebody else writes in between, edit
// is called again with what they wrote. There is no document yet when its ID is empty. An error of edit ends the change.
func (c *Catalog) Change(ctx context.Context, workspace, id string, edit func(*document.Document) error) (document.Document, error) {
	if err := c.ready(); err != nil {
		return document.Document{}, err
	}
	c.mu.RLock()
	var current entry
	if w, ok := c.workspaces[workspace]; ok {
		current = w.documents[id]
	}
	c.mu.RUnlock()
	if current.ID == "" {
		current.revision = 0
	}
	for range maxTries {
		next := current.Document
		if err := edit(&next); err != nil {
			return current.Document, err
		}
		revision, err := c.records.Put(ctx, next, current.revision)
		if err == nil {
			c.apply(Change{Document: next, Revision: revision})
			return next, nil
		}
		if !errors.Is(err, ErrConflict) {
			return current.Document, fmt.Errorf("write document record: %w", err)
		}
		current.Document, current.revision, err = c.records.Get(ctx, workspace, id)
		switch {
		case errors.Is(err, ErrNotFound):
			current = entry{}
		case err != nil:
			return document.Document{}, fmt.Errorf("read document record: %w", err)
		default:
			c.apply(Change{Document: current.Document, Revision: current.revision})
		}
	}
	return current.Document, fault.New(fault.Conflict, fault.ReasonConflict, "the document is being changed by others; try again")
}

// Remove deletes a document's record.
func (c *Catalog) Remove(ctx context.Context, workspace, id string) error {
	if err := c.records.Delete(ctx, workspace, id); err != nil {
		return fmt.Errorf("delete document record: %w", err)
	}
	// News of it comes later; until then it must not look like being there still.
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.workspace(workspace)
	if e := w.documents[id]; e.Deleting {
		w.documents[id] = entry{revision: e.revision}
		delete(w.listed, id)
		for watcher := range w.watchers {
			watcher.note(id)
		}
	}
	return nil
}

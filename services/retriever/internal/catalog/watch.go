package catalog

import (
	"context"
	"slices"
	"sync"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// Event is a document after a change, or the id of one that is gone.
type Event struct {
	Document document.Document
	Deleted  bool // only Document.ID is set
}

// watcher collects the ids of changed documents until they are asked for. A document that changes faster than it is asked for
// is told once, as it is then, so a slow watcher costs no more than its workspace has documents.
type watcher struct {
	mu      sync.Mutex
	changed map[string]struct{}
	signal  chan struct{} // capacity 1
}

func (w *watcher) note(id string) {
	w.mu.Lock()
	w.changed[id] = struct{}{}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, 0, len(w.changed))
	for id := range w.changed {
		ids = append(ids, id)
	}
	clear(w.changed)
	slices.Sort(ids)
	return ids
}

// Watch is a stream of a workspace's changes.
type Watch struct {
	catalog   *Catalog
	workspace string
	watcher   *watcher
	reader    document.Reader
	told      map[string]struct{} // documents that were there when they were told of last
}

// Watch starts watching a workspace for a reader. What is there now comes first. The caller must call Stop.
func (c *Catalog) Watch(workspace string, r document.Reader) (*Watch, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	w := &watcher{changed: map[string]struct{}{}, signal: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	ws := c.workspace(workspace)
	ws.watchers[w] = struct{}{}
	for id, e := range ws.documents {
		if e.there() {
			w.changed[id] = struct{}{}
		}
	}
	w.signal <- struct{}{} // so that the first Next returns even when there is nothing
	return &Watch{catalog: c, workspace: workspace, watcher: w, reader: r, told: map[string]struct{}{}}, nil
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.catalog.mu.Lock()
	defer w.catalog.mu.Unlock()
	delete(w.catalog.workspaces[w.workspace].watchers, w.watcher)
}

// Next waits for changes and returns them as Take does. One that the reader may not read any more is told as deleted,
// one they never could read not at all.
func (w *Watch) Next(ctx context.Context) ([]Event, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.Ready():
		return w.Take(), nil
	}
}

// Ready says that there are changes to take.
func (w *Watch) Ready() <-chan struct{} { return w.watcher.signal }

// Take returns the changes there are, each document once, after Ready has said so.
func (w *Watch) Take() []Event {
	ids := w.watcher.take()
	events := make([]Event, 0, len(ids))
	w.catalog.mu.RLock()
	defer w.catalog.mu.RUnlock()
	documents := w.catalog.workspaces[w.workspace].documents
	for _, id := range ids {
		e := documents[id]
		_, told := w.told[id]
		switch {
		case e.there() && e.ReadableBy(w.reader):
			w.told[id] = struct{}{}
			events = append(events, Event{Document: e.Document})
		case told:
			delete(w.told, id)
			events = append(events, Event{Document: document.Document{ID: id}, Deleted: true})
		}
	}
	return events
}

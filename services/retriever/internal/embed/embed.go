// Package embed gives documents their vectors. A document is found by its words as soon as it is ready; its vectors follow,
// made here, and nobody waits for them. What lacks vectors is told by the store, not by a queue: after a crash, a lost index
// or another model the work is found again, and vectors that were made before come from a cache that outlives the process.
//
// Where the gateway fails the work waits and tries again, as long as it takes.
package embed

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/recent"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Gateway makes vectors of texts.
type Gateway interface {
	// Embed returns a vector of length 1 for each text, and their space.
	Embed(ctx context.Context, workspace, model string, query bool, texts []string) ([][]float32, store.Space, error)
}

// Store keeps vectors.
type Store interface {
	Chunks(ctx context.Context, workspace string, k store.Key) ([]store.Candidate, error)
	PutVectors(ctx context.Context, workspace string, s store.Space, v []store.Vectors) error
	LacksVectors(ctx context.Context, workspace string, s store.Space, versions []store.Key) ([]store.Key, error)
}

// Catalog is the documents' records.
type Catalog interface {
	Current(ctx context.Context, workspace, id string, sequence uint64) (document.Document, error)
	Select(condition func(document.Document) bool) []document.Document
	Change(ctx context.Context, workspace, id string, edit func(*document.Document) error) (document.Document, error)
	Synced() <-chan struct{}
}

// Cache keeps vectors by the document and by what they are of.
type Cache interface {
	// Get returns what is kept of a document in a space; nothing where that fails.
	Get(ctx context.Context, workspace, documentID string, s store.Space) map[Sum][]float32
	// Put keeps a document's vectors instead of those kept before.
	Put(ctx context.Context, workspace, documentID string, s store.Space, vectors map[Sum][]float32) error
	// Drop forgets a document, with an empty id all of a workspace.
	Drop(ctx context.Context, workspace, documentID string) error
}

// Sum names a text.
type Sum [sha256.Size]byte

// Observer is told how it goes.
type Observer interface {
	// Embedded is called for each document that got vectors: how many were made, and how many were there before.
	Embedded(made, cached int, took time.Duration)
	Warn(ctx context.Context, what string, err error)
}

// Config is what can be chosen.
type Config struct {
	Model   string // as llm-gateway names it
	Texts   int    // in one call
	Workers int    // calls at once
}

// Deps is what an Embedder works with.
type Deps struct {
	Gateway  Gateway
	Store    Store
	Catalog  Catalog
	Cache    Cache
	Observer Observer
	Clock    func() time.Time
}

// Embedder gives documents vectors, and queries. It is safe for concurrent use.
type Embedder struct {
	config  Config
	deps    Deps
	queries *recent.Cache[string, embedded]

	mu      sync.Mutex
	space   store.Space                // that documents get vectors in; zero until the gateway told it
	waiting map[string]map[string]bool // documents without vectors, by workspace
	refused map[string]map[string]bool // those of them that the gateway refuses
	turn    string                     // workspace that was served last
	problem string                     // why nothing goes on; empty while it does
	scan    bool                       // all documents are to be looked at
	wake    chan struct{}              // capacity 1
}

type embedded struct {
	vector []float32
	space  store.Space
}

const (
	// maxQueries bounds the queries' vectors that are kept, bytes, and maxQueryAge how long without use.
	maxQueries  = 4 << 20
	maxQueryAge = 5 * time.Minute
)

// New returns an embedder. Run makes it work.
func New(c Config, d Deps) *Embedder {
	return &Embedder{
		config: c, deps: d, queries: recent.New[string, embedded](maxQueries, maxQueryAge), scan: true,
		waiting: map[string]map[string]bool{}, refused: map[string]map[string]bool{}, wake: make(chan struct{}, 1),
	}
}

var _ search.Embedder = (*Embedder)(nil)

// Query returns a query's vector.
func (e *Embedder) Query(ctx context.Context, workspace, query string) ([]float32, store.Space, error) {
	key := workspace + "\x00" + query
	if v, ok := e.queries.Get(key); ok && v.space == e.current() {
		return v.vector, v.space, nil
	}
	vectors, space, err := e.deps.Gateway.Embed(ctx, workspace, e.config.Model, true, []string{query})
	if err != nil {
		return nil, store.Space{}, err
	}
	if e.current() != space {
		e.Rescan() // the model is another one than that of the documents' vectors, or nothing is known of it yet
	}
	e.queries.Put(key, embedded{vectors[0], space}, len(key)+4*len(vectors[0])+64)
	return vectors[0], space, nil
}

func (e *Embedder) current() store.Space {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.space
}

// Behind is how many of a workspace's documents have no vectors yet.
func (e *Embedder) Behind(workspace string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting[workspace])
}

// Status is how many documents have no vectors yet, and why nothing goes on, if so.
func (e *Embedder) Status() (behind int, problem string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, documents := range e.waiting {
		behind += len(documents)
	}
	return behind, e.problem
}

// Added tells of a document whose live version is new in the store.
func (e *Embedder) Added(workspace, documentID string) {
	e.mu.Lock()
	e.wait(workspace, documentID)
	e.mu.Unlock()
	e.signal()
}

// Rescan has all documents looked at.
func (e *Embedder) Rescan() {
	e.mu.Lock()
	e.scan = true
	e.mu.Unlock()
	e.signal()
}

func (e *Embedder) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Embedder) wait(workspace, documentID string) {
	if e.waiting[workspace] == nil {
		e.waiting[workspace] = map[string]bool{}
	}
	e.waiting[workspace][documentID] = true
}

func (e *Embedder) done(workspace, documentID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.waiting[workspace], documentID)
	if len(e.waiting[workspace]) == 0 {
		delete(e.waiting, workspace)
	}
}

const (
	// rescanEvery is how long after everything was looked at it is again: what was given up is tried again.
	rescanEvery  = time.Hour
	firstBackoff = time.Second
	maxBackoff   = 2 * time.Minute
)

// Run makes vectors until ctx ends.
func (e *Embedder) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-e.deps.Catalog.Synced():
	}
	again := time.NewTicker(rescanEvery)
	defer again.Stop()
	failures := 0
	for ctx.Err() == nil {
		more, err := e.step(ctx)
		pause := time.Duration(0)
		if err != nil && ctx.Err() == nil {
			failures++
			pause = min(max(firstBackoff<<min(failures-1, 10), fault.As(err).RetryAfter), maxBackoff)
			e.deps.Observer.Warn(ctx, "make vectors", err)
		} else if err == nil {
			failures = 0
		}
		e.note(err)
		if more && err == nil {
			continue
		}
		var resume <-chan time.Time
		wake := e.wake
		if pause > 0 {
			wake = nil // news don't shorten the wait for a gateway that fails
			resume = time.After(pause)
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-resume:
		case <-again.C:
			e.Rescan()
		}
	}
	return nil
}

func (e *Embedder) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.problem = ""
	if err != nil {
		e.problem = fault.As(err).Message
	}
}

// step does the next piece of work. It says whether there may be more.
func (e *Embedder) step(ctx context.Context) (more bool, err error) {
	e.mu.Lock()
	scan := e.scan
	e.mu.Unlock()
	if scan {
		return true, e.look(ctx)
	}
	return e.serve(ctx)
}

// look asks the gateway which space it is in, and the store which documents have no vectors in it.
func (e *Embedder) look(ctx context.Context) error {
	e.mu.Lock()
	e.scan, e.refused = false, map[string]map[string]bool{}
	e.mu.Unlock()
	live := e.deps.Catalog.Select(func(d document.Document) bool { return !d.Deleting && d.Live.Hash != "" })
	if len(live) == 0 {
		return nil
	}
	err := e.survey(ctx, live)
	if err != nil {
		e.mu.Lock()
		e.scan = true
		e.mu.Unlock()
	}
	return err
}

func (e *Embedder) survey(ctx context.Context, live []document.Document) error {
	_, space, err := e.deps.Gateway.Embed(ctx, live[0].Workspace, e.config.Model, false, []string{"ragmesh"})
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.space = space
	e.mu.Unlock()
	slices.SortFunc(live, func(a, b document.Document) int { return cmp.Compare(a.Workspace, b.Workspace) })
	for len(live) > 0 {
		n := slices.IndexFunc(live, func(d document.Document) bool { return d.Workspace != live[0].Workspace })
		if n < 0 {
			n = len(live)
		}
		keys := make([]store.Key, n)
		for i, d := range live[:n] {
			keys[i] = store.Key{DocumentID: d.ID, Hash: d.Live.Hash}
		}
		lacks, err := e.deps.Store.LacksVectors(ctx, live[0].Workspace, space, keys)
		if err != nil {
			return fmt.Errorf("workspace %s: %w", live[0].Workspace, err)
		}
		e.mu.Lock()
		for _, k := range lacks {
			e.wait(live[0].Workspace, k.DocumentID)
		}
		e.mu.Unlock()
		live = live[n:]
	}
	return nil
}

var errAnotherSpace = errors.New("the gateway's embedding model became another one meanwhile")

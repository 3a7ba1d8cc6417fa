package embed

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

const (
	// maxGroup bounds the documents that are worked on together, maxGroupChunks their chunks unless one alone has more.
	maxGroup       = 64
	maxGroupChunks = 1024
	// maxCallBytes bounds the texts of one call to the gateway.
	maxCallBytes = 512 << 10
	// maxText is the longest text the gateway takes; what is longer is cut off for its vector only.
	maxText = 32 << 10
)

// Text is what a chunk's vector is of: its title and headings, and itself.
func Text(c store.Candidate) string {
	s := store.Head(c.Title, c.HeadingPath) + "\n" + c.Text
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// serve gives a group of one workspace's documents their vectors; workspaces take turns.
func (e *Embedder) serve(ctx context.Context) (more bool, err error) {
	workspace, ids := e.next()
	if len(ids) == 0 {
		return false, nil
	}
	if e.current() == (store.Space{}) {
		e.Rescan()
		return true, nil
	}
	err = e.group(ctx, workspace, ids)
	if errors.Is(err, errAnotherSpace) {
		e.Rescan()
	}
	// Something in one of them may be what the gateway refuses. The others must not wait for it.
	if err != nil && fault.KindOf(err) == fault.Invalid || fault.ReasonOf(err) == fault.ProviderRejected {
		err = nil
		for _, id := range ids {
			if one := e.group(ctx, workspace, []string{id}); one != nil {
				if kind := fault.KindOf(one); kind == fault.Unavailable || kind == fault.Exhausted || ctx.Err() != nil {
					return true, one
				}
				err = one
				e.giveUp(workspace, id)
			}
		}
	}
	return true, err
}

// next chooses the documents to work on: some of the workspace after the one that was served last.
func (e *Embedder) next() (workspace string, ids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := slices.Sorted(maps.Keys(e.waiting))
	if len(names) == 0 {
		return "", nil
	}
	at, found := slices.BinarySearch(names, e.turn)
	if found {
		at++
	}
	for i := range names {
		workspace = names[(at+i)%len(names)]
		for id := range e.waiting[workspace] {
			if !e.refused[workspace][id] {
				if ids = append(ids, id); len(ids) == maxGroup {
					break
				}
			}
		}
		if len(ids) > 0 {
			break
		}
	}
	e.turn = workspace
	slices.Sort(ids)
	return workspace, ids
}

// giveUp leaves a document without vectors until everything is looked at again. It still counts as lacking them.
func (e *Embedder) giveUp(workspace, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused[workspace] == nil {
		e.refused[workspace] = map[string]bool{}
	}
	e.refused[workspace][id] = true
}

// piece is a document on its way.
type piece struct {
	id     string
	hash   string
	chunks []store.Candidate
	sums   []Sum
	have   map[Sum][]float32
	cached int
}

func (e *Embedder) group(ctx context.Context, workspace string, ids []string) error {
	began, space := e.deps.Clock(), e.current()
	var pieces []*piece
	chunks := 0
	for _, id := range ids {
		p, err := e.read(ctx, workspace, id, space)
		if err != nil {
			return err
		}
		if p == nil {
			e.done(workspace, id)
			continue
		}
		pieces = append(pieces, p)
		if chunks += len(p.chunks); chunks >= maxGroupChunks {
			break
		}
	}
	if len(pieces) == 0 {
		return nil
	}
	if err := e.fill(ctx, workspace, space, pieces); err != nil {
		return err
	}
	all := make([]store.Vectors, 0, len(pieces))
	for _, p := range pieces {
		v := store.Vectors{Key: store.Key{DocumentID: p.id, Hash: p.hash}, Chunks: p.chunks}
		for _, sum := range p.sums {
			v.Rows = append(v.Rows, p.have[sum])
		}
		all = append(all, v)
	}
	if err := e.deps.Store.PutVectors(ctx, workspace, space, all); err != nil {
		return err
	}
	for _, p := range pieces {
		if err := e.record(ctx, workspace, p, space); err != nil {
			return err
		}
		e.deps.Observer.Embedded(len(p.chunks)-p.cached, p.cached, e.deps.Clock().Sub(began))
		e.settle(ctx, workspace, p)
	}
	return nil
}

// settle takes a document off the list, unless it has another version by now.
func (e *Embedder) settle(ctx context.Context, workspace string, p *piece) {
	if d, err := e.deps.Catalog.Current(ctx, workspace, p.id, 0); err == nil && !d.Deleting && d.Live.Hash != p.hash {
		return
	}
	e.done(workspace, p.id)
}

// read reads a document's chunks and what is cached of their vectors; nil when it needs none.
func (e *Embedder) read(ctx context.Context, workspace, id string, space store.Space) (*piece, error) {
	d, err := e.deps.Catalog.Current(ctx, workspace, id, 0)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	if d.Deleting || d.Live.Hash == "" { // or there is none any more
		return nil, nil
	}
	k := store.Key{DocumentID: id, Hash: d.Live.Hash}
	lacks, err := e.deps.Store.LacksVectors(ctx, workspace, space, []store.Key{k})
	if err != nil {
		return nil, err
	}
	if len(lacks) == 0 {
		return nil, e.record(ctx, workspace, &piece{id: id, hash: d.Live.Hash}, space)
	}
	chunks, err := e.deps.Store.Chunks(ctx, workspace, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // it is told of again when it is there
	}
	if err != nil {
		return nil, err
	}
	p := &piece{id: id, hash: d.Live.Hash, chunks: chunks, have: map[Sum][]float32{}}
	if len(chunks) > 0 {
		p.have = e.deps.Cache.Get(ctx, workspace, id, space)
	}
	wanted := map[Sum]bool{}
	for _, c := range chunks {
		sum := Sum(sha256.Sum256([]byte(Text(c))))
		p.sums = append(p.sums, sum)
		wanted[sum] = true
		if v := p.have[sum]; len(v) == space.Dimension {
			p.cached++
		} else {
			delete(p.have, sum)
		}
	}
	maps.DeleteFunc(p.have, func(s Sum, _ []float32) bool { return !wanted[s] })
	return p, nil
}

// fill makes the vectors that are not cached, and caches them.
func (e *Embedder) fill(ctx context.Context, workspace string, space store.Space, pieces []*piece) error {
	type wanted struct {
		piece *piece
		sum   Sum
		text  string
	}
	var missing []wanted
	for _, p := range pieces {
		seen := map[Sum]bool{}
		for i, sum := range p.sums {
			if p.have[sum] == nil && !seen[sum] {
				seen[sum] = true
				missing = append(missing, wanted{p, sum, Text(p.chunks[i])})
			}
		}
	}
	results := make([][]float32, len(missing))
	calls, ctx := errgroup.WithContext(ctx)
	calls.SetLimit(e.config.Workers)
	for at := 0; at < len(missing); {
		n, size := 0, 0
		var texts []string
		for at+n < len(missing) && n < e.config.Texts && (n == 0 || size+len(missing[at+n].text) <= maxCallBytes) {
			texts = append(texts, missing[at+n].text)
			size += len(missing[at+n].text)
			n++
		}
		into := results[at : at+n]
		calls.Go(func() error {
			vectors, got, err := e.deps.Gateway.Embed(ctx, workspace, e.config.Model, false, texts)
			if err != nil {
				return err
			}
			if got != space {
				return errAnotherSpace
			}
			copy(into, vectors)
			return nil
		})
		at += n
	}
	// What came before one of them failed is kept: it need not be made again.
	err := calls.Wait()
	fresh := map[*piece]bool{}
	for i, w := range missing {
		if results[i] != nil {
			w.piece.have[w.sum] = results[i]
			fresh[w.piece] = true
		}
	}
	outer := context.WithoutCancel(ctx)
	for p := range fresh {
		if failed := e.deps.Cache.Put(outer, workspace, p.id, space, p.have); failed != nil {
			e.deps.Observer.Warn(outer, "cache vectors", failed)
		}
	}
	return err
}

// record says on a document that it has its vectors.
func (e *Embedder) record(ctx context.Context, workspace string, p *piece, space store.Space) error {
	errSame := errors.New("nothing to change")
	_, err := e.deps.Catalog.Change(ctx, workspace, p.id, func(d *document.Document) error {
		if d.ID == "" || d.Deleting || d.Live.Hash != p.hash || d.Live.Embedding == space.Model && d.Stage != document.Embed {
			return errSame
		}
		d.Live.Embedding = space.Model
		if d.State == document.Ready {
			d.Stage = document.Index
		}
		d.UpdatedAt = e.deps.Clock().UTC()
		return nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	return err
}

// Dropping is a store whose documents take their cached vectors along when they go.
type Dropping struct {
	Pruner
	Cache Cache
}

// Pruner is the part of a store that removes documents.
type Pruner interface {
	Put(ctx context.Context, workspace string, v store.Version) error
	Prune(ctx context.Context, workspace, documentID, keep string) (chunks int, err error)
	Drop(ctx context.Context, workspace string) error
	Lacks(ctx context.Context, workspace, revision string, versions []store.Key) ([]store.Key, error)
}

// Prune removes a document's versions, and when none is kept what is cached of it.
func (d Dropping) Prune(ctx context.Context, workspace, documentID, keep string) (int, error) {
	chunks, err := d.Pruner.Prune(ctx, workspace, documentID, keep)
	if err == nil && keep == "" {
		err = d.Cache.Drop(ctx, workspace, documentID)
	}
	return chunks, err
}

// Drop removes a workspace and what is cached of it.
func (d Dropping) Drop(ctx context.Context, workspace string) error {
	if err := d.Pruner.Drop(ctx, workspace); err != nil {
		return err
	}
	return d.Cache.Drop(ctx, workspace, "")
}

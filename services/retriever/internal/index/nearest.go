package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	bleveindex "github.com/blevesearch/bleve_index_api"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
	"github.com/ragmesh/ragmesh/services/retriever/internal/vectors"
)

// vectorsDir is the folder of a workspace's vectors, in that of its index: what moves the one aside moves the other.
const vectorsDir = "vectors"

// near are the chunks that a query's vector found, by key.
type near map[string]float64

// nearest asks the vectors, within the query's filter and manifest.
func (sh *shard) nearest(ctx context.Context, q store.Query, out *store.Candidates) (near, error) {
	if q.Nearest < 1 {
		return nil, nil
	}
	filtered := vectors.Query{
		Vector: q.Vector, Space: q.Space, Nearest: q.Nearest,
		Version: func(k store.Key, sourceURI string) bool {
			if !admits(q.Filter, k.DocumentID, sourceURI) || q.Hidden != nil && q.Hidden(k.DocumentID) {
				return false
			}
			if q.Live(k.DocumentID) != k.Hash {
				out.Passed = true
				return false
			}
			return true
		},
	}
	if len(q.Filter.Languages) > 0 {
		filtered.Language = func(l string) bool { return slices.Contains(q.Filter.Languages, l) }
	}
	hits, chunks, err := sh.vectors.Search(ctx, filtered)
	if err != nil {
		return nil, fmt.Errorf("search vectors: %w", err)
	}
	out.Vectors = chunks
	found := make(near, len(hits))
	for _, h := range hits {
		found[chunkKey(versionKey(h.DocumentID, h.Hash), h.Ordinal)] = h.Cosine
	}
	return found, nil
}

// admits says whether a filter lets a document's chunks pass, their languages apart.
func admits(f store.Filter, documentID, sourceURI string) bool {
	return (len(f.DocumentIDs) == 0 || slices.Contains(f.DocumentIDs, documentID)) &&
		(len(f.SourcePrefixes) == 0 || slices.ContainsFunc(f.SourcePrefixes, func(p string) bool { return strings.HasPrefix(sourceURI, p) }))
}

// missing returns the keys of the chunks that words have not found, in a fixed order.
func (n near) missing(found []hit) (keys []string) {
	if len(n) == 0 {
		return nil
	}
	known := make(map[string]bool, len(found))
	for _, h := range found {
		known[h.key] = true
	}
	for k := range n {
		if !known[k] {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// compare gives a chunk its similarity to the query's vector, when it has a vector.
func (n near) compare(sh *shard, q store.Query, c *store.Candidate) (err error) {
	if q.Nearest < 1 {
		return nil
	}
	k := store.Key{DocumentID: c.DocumentID, Hash: c.Hash}
	if cosine, ok := n[chunkKey(versionKey(c.DocumentID, c.Hash), c.Ordinal)]; ok {
		c.Cosine, c.Embedded = cosine, true
		return nil
	}
	c.Cosine, c.Embedded, err = sh.vectors.Cosine(q.Vector, q.Space, k, c.Ordinal)
	return err
}

// Chunks returns a version's chunks.
func (s *Store) Chunks(ctx context.Context, workspace string, k store.Key) ([]store.Candidate, error) {
	var out []store.Candidate
	found := false
	err := s.with(ctx, workspace, false, func(sh *shard) error {
		return sh.read(func(reader bleveindex.IndexReader) error {
			key := versionKey(k.DocumentID, k.Hash)
			doc, err := reader.Document(key)
			if err != nil || doc == nil {
				return err
			}
			found = true
			r, err := readRecord(reader, key)
			if err != nil {
				return err
			}
			for ordinal := range r.Chunks {
				c, err := readCandidate(reader, chunkKey(key, ordinal))
				if errors.Is(err, store.ErrNotFound) { // all of a version is written at once, and goes at once
					found = false
					return nil
				}
				if err != nil {
					return err
				}
				out = append(out, c)
			}
			return nil
		})
	})
	if err == nil && !found {
		return nil, store.ErrNotFound
	}
	return out, err
}

// PutVectors adds vectors to versions.
func (s *Store) PutVectors(ctx context.Context, workspace string, space store.Space, v []store.Vectors) error {
	return s.with(ctx, workspace, false, func(sh *shard) error {
		if err := sh.vectors.Put(space, v); err != nil {
			return err
		}
		// Looked at after they are there: what is pruned or put anew from now on takes them along itself.
		var errs []error
		for _, one := range v {
			errs = append(errs, sh.dropStale(one.Key))
		}
		return errors.Join(errs...)
	})
}

// LacksVectors returns the versions without vectors.
func (s *Store) LacksVectors(ctx context.Context, workspace string, space store.Space, versions []store.Key) ([]store.Key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	opened, lacking := false, []store.Key(nil)
	err := s.with(ctx, workspace, false, func(sh *shard) error {
		opened = true
		for _, k := range versions {
			if !sh.vectors.Has(space, k) {
				lacking = append(lacking, k)
			}
		}
		return nil
	})
	if err == nil && !opened {
		return versions, nil
	}
	return lacking, err
}

// reconcile drops the vectors that a crash has left of versions that are not in the index, or of other chunks.
func (sh *shard) reconcile() error {
	var errs []error
	for _, k := range sh.vectors.Keys() {
		errs = append(errs, sh.dropStale(k))
	}
	return errors.Join(errs...)
}

// dropStale drops a version's vectors unless they are of the chunks that the index has of it.
func (sh *shard) dropStale(k store.Key) error {
	derived, ok := sh.vectors.Derived(k)
	if !ok {
		return nil
	}
	fresh := false
	if err := sh.read(func(reader bleveindex.IndexReader) error {
		key := versionKey(k.DocumentID, k.Hash)
		doc, err := reader.Document(key)
		if err != nil || doc == nil {
			return err
		}
		first, err := firstChunk(reader, key)
		fresh = derived == first
		return err
	}); err != nil {
		return err
	}
	if fresh {
		return nil
	}
	return sh.vectors.DropVersion(k)
}

// firstChunk returns the id of a version's first chunk; empty when it has none.
func firstChunk(reader bleveindex.IndexReader, version string) (string, error) {
	doc, err := reader.Document(chunkKey(version, 0))
	if err != nil || doc == nil {
		return "", err
	}
	var m meta
	if err := json.Unmarshal(storedField(doc, fieldMeta), &m); err != nil {
		return "", fmt.Errorf("read chunk: %w", err)
	}
	return m.ID, nil
}

// read runs fn on a state of the index.
func (sh *shard) read(fn func(bleveindex.IndexReader) error) (err error) {
	advanced, err := sh.index.Advanced()
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	reader, err := advanced.Reader()
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	return fn(reader)
}

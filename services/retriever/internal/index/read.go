package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	bleveindex "github.com/blevesearch/bleve_index_api"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Text returns a version's canonical text.
func (s *Store) Text(ctx context.Context, workspace, documentID, hash string) (string, error) {
	body, found := "", false
	err := s.with(ctx, workspace, false, func(sh *shard) error {
		doc, err := sh.index.Document(versionKey(documentID, hash))
		if err != nil {
			return fmt.Errorf("read version: %w", err)
		}
		if doc != nil {
			body, found = string(storedField(doc, fieldText)), true
		}
		return nil
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return body, err
}

// Lacks returns those of the versions that are not there as they were put with a revision.
func (s *Store) Lacks(ctx context.Context, workspace, revision string, versions []store.Key) ([]store.Key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	opened, lacking := false, []store.Key(nil)
	err := s.with(ctx, workspace, false, func(sh *shard) error {
		opened = true
		return sh.read(func(reader bleveindex.IndexReader) error {
			for _, v := range versions {
				has, err := hasTerm(ctx, reader, versionKey(v.DocumentID, v.Hash), fieldKind, kindVersion(revision))
				if err != nil {
					return err
				}
				if !has {
					lacking = append(lacking, v)
				}
			}
			return nil
		})
	})
	if err == nil && !opened { // no index at all
		return versions, nil
	}
	return lacking, err
}

// hasTerm reports whether what is stored under a key has a term.
func hasTerm(ctx context.Context, reader bleveindex.IndexReader, key, field, term string) (has bool, err error) {
	id, err := reader.InternalID(key)
	if err != nil {
		return false, fmt.Errorf("look up %s: %w", key, err)
	}
	if id == nil {
		return false, nil
	}
	postings, err := reader.TermFieldReader(ctx, []byte(term), field, false, false, false)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", field, err)
	}
	defer func() { err = errors.Join(err, postings.Close()) }()
	at, err := postings.Advance(id, nil)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", field, err)
	}
	return at != nil && at.ID.Equals(id), nil
}

// Candidates returns chunks that hold a query's terms.
func (s *Store) Candidates(ctx context.Context, workspace string, q store.Query) (store.Candidates, error) {
	var out store.Candidates
	if len(q.Rank.Terms) == 0 && q.Nearest == 0 {
		return out, nil
	}
	err := s.with(ctx, workspace, false, func(sh *shard) error {
		version := sh.version.Load() // before anything is read: what is kept under it is not newer than it
		return sh.read(func(reader bleveindex.IndexReader) error {
			scan, err := newScan(ctx, reader, q.Rank)
			if err != nil {
				return err
			}
			out.Stats = scan.stats
			var found []hit
			if len(q.Rank.Terms) > 0 && q.Limit > 0 {
				sums := s.sums.Get().(*sums) //nolint:forcetypeassert // nothing else is put there
				defer s.sums.Put(sums)
				if found, out.Passed, err = scan.best(ctx, q, sums); err != nil {
					return err
				}
			}
			near, err := sh.nearest(ctx, q, &out)
			if err != nil {
				return err
			}
			out.Found = make([]store.Candidate, 0, len(found)+len(near))
			take := func(c store.Candidate) error {
				out.Found = append(out.Found, c)
				return near.compare(sh, q, &out.Found[len(out.Found)-1])
			}
			for _, h := range found {
				c, err := s.remember(chunkAt{version, h.key}, func() (store.Candidate, error) { return scan.read(h) })
				if err == nil {
					err = take(c)
				}
				if err != nil {
					return err
				}
			}
			for _, key := range near.missing(found) {
				c, err := s.remember(chunkAt{version, key}, func() (store.Candidate, error) { return readCandidate(reader, key) })
				if errors.Is(err, store.ErrNotFound) { // removed since the search
					out.Passed = true
					continue
				}
				if err == nil {
					err = take(c)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	return out, err
}

// remember returns a chunk from memory if it was read since the index has changed, and reads it otherwise.
func (s *Store) remember(at chunkAt, read func() (store.Candidate, error)) (store.Candidate, error) {
	if c, ok := s.chunks.Get(at); ok {
		return c, nil
	}
	c, err := read()
	if err == nil {
		s.chunks.Put(at, c, len(at.key)+len(c.Text)+len(c.Terms)+len(c.Title)+len(c.SourceURI)+chunkOverhead)
	}
	return c, err
}

// chunkOverhead is what a chunk takes beside its texts: its struct and its place in a map, about.
const chunkOverhead = 512

// readCandidate reads a chunk, or gives [store.ErrNotFound].
func readCandidate(reader bleveindex.IndexReader, key string) (store.Candidate, error) {
	doc, err := reader.Document(key)
	if err != nil {
		return store.Candidate{}, fmt.Errorf("read chunk: %w", err)
	}
	if doc == nil {
		return store.Candidate{}, store.ErrNotFound
	}
	return candidate(key, storedField(doc, fieldMeta), string(storedField(doc, fieldText)), storedField(doc, fieldRead))
}

// read reads a chunk that was found.
func (s *scan) read(h hit) (store.Candidate, error) {
	var about, terms []byte
	body := ""
	if err := s.segments[h.segment].VisitDocument(uint64(h.number), func(field string, _ byte, value []byte, _ []uint64) bool {
		switch field { // the value is the visit's
		case fieldMeta:
			about = slices.Clone(value)
		case fieldText:
			body = string(value)
		case fieldRead:
			terms = slices.Clone(value)
		}
		return true
	}); err != nil {
		return store.Candidate{}, fmt.Errorf("read chunk: %w", err)
	}
	return candidate(h.key, about, body, terms)
}

// candidate puts together what is stored of a chunk.
func candidate(key string, about []byte, body string, terms []byte) (store.Candidate, error) {
	var m meta
	if err := json.Unmarshal(about, &m); err != nil {
		return store.Candidate{}, fmt.Errorf("read chunk: %w", err)
	}
	documentID, hash, ordinal := splitKey(key)
	return store.Candidate{
		Chunk:      store.Chunk{ID: m.ID, Ordinal: ordinal, Start: m.Start, End: m.End, HeadingPath: m.Path, Pages: m.Pages, Language: m.Language},
		DocumentID: documentID, Hash: hash, SourceURI: m.Source, Title: m.Title,
		Text: body, Terms: terms,
	}, nil
}

// keysOf lists everything the index holds of a document.
func keysOf(reader bleveindex.IndexReader, documentID string) (keys []string, err error) {
	postings, err := reader.TermFieldReader(context.Background(), []byte(documentID), fieldDocument, false, false, false)
	if err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	defer func() { err = errors.Join(err, postings.Close()) }()
	for {
		posting, err := postings.Next(nil)
		if err != nil {
			return nil, fmt.Errorf("read document: %w", err)
		}
		if posting == nil {
			return keys, nil
		}
		key, err := reader.ExternalID(posting.ID)
		if err != nil {
			return nil, fmt.Errorf("read document: %w", err)
		}
		keys = append(keys, key)
	}
}

// readRecord reads what is kept of a version; one that is not there has no chunks.
func readRecord(reader bleveindex.IndexReader, key string) (record, error) {
	doc, err := reader.Document(key)
	if err != nil {
		return record{}, fmt.Errorf("read version: %w", err)
	}
	var r record
	if doc == nil {
		return r, nil
	}
	if err := json.Unmarshal(storedField(doc, fieldMeta), &r); err != nil {
		return record{}, fmt.Errorf("read version: %w", err)
	}
	return r, nil
}

// storedField returns a field's value. It is the document's own copy, and stays.
func storedField(doc bleveindex.Document, name string) (value []byte) {
	doc.VisitFields(func(f bleveindex.Field) {
		if f.Name() == name {
			value = f.Value()
		}
	})
	return value
}

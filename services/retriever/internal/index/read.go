package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/query"
	"github.com/blevesearch/bleve/v2/search/searcher"
	bleveindex "github.com/blevesearch/bleve_index_api"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// maxScan bounds how many hits are looked through for live ones. Dead ones exist only while a version is being replaced.
const maxScan = 1600

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
	err := s.with(ctx, workspace, false, func(sh *shard) (err error) {
		opened = true
		advanced, err := sh.index.Advanced()
		if err != nil {
			return fmt.Errorf("read index: %w", err)
		}
		reader, err := advanced.Reader()
		if err != nil {
			return fmt.Errorf("read index: %w", err)
		}
		defer func() { err = errors.Join(err, reader.Close()) }()
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
	bleveQuery := clauses(q)
	if bleveQuery == nil && q.Nearest == 0 {
		return out, nil
	}
	if bleveQuery != nil && q.Hidden != nil {
		bleveQuery = visible{bleveQuery, q.Hidden}
	}
	err := s.with(ctx, workspace, false, func(sh *shard) (err error) {
		version := sh.version.Load() // before anything is read: what is kept under it is not newer than it
		advanced, err := sh.index.Advanced()
		if err != nil {
			return fmt.Errorf("read index: %w", err)
		}
		reader, err := advanced.Reader()
		if err != nil {
			return fmt.Errorf("read index: %w", err)
		}
		defer func() { err = errors.Join(err, reader.Close()) }()
		if out.Stats, err = stats(ctx, reader, q.Rank); err != nil {
			return err
		}
		var keys []string
		if bleveQuery != nil && q.Limit > 0 {
			if keys, out.Passed, err = liveKeys(ctx, sh.index, bleveQuery, q); err != nil {
				return err
			}
		}
		near, err := sh.nearest(ctx, q, &out)
		if err != nil {
			return err
		}
		keys = near.missing(keys)
		for _, key := range keys {
			c, ok, err := s.candidate(reader, chunkAt{version, key})
			if err != nil {
				return err
			}
			if !ok {
				out.Passed = true
				continue
			}
			if err := near.compare(sh, q, &c); err != nil {
				return err
			}
			out.Found = append(out.Found, c)
		}
		return nil
	})
	return out, err
}

// clauses is the query in bleve's terms, nil when nothing can match.
func clauses(q store.Query) query.Query {
	pairs := ""
	for _, t := range q.Rank.Terms {
		if t.Kind == text.HanPair {
			pairs += t.Text
		}
	}
	words := bleve.NewDisjunctionQuery()
	for _, t := range q.Rank.Terms {
		field := fieldTerms
		if t.Kind == text.Han {
			if strings.Contains(pairs, t.Text) { // its pairs say it better
				continue
			}
			field = fieldSingles
		}
		words.AddQuery(term(field, t.Text))
	}
	if len(words.Disjuncts) == 0 {
		return nil
	}
	conditions := bleve.NewConjunctionQuery()
	for _, c := range []struct {
		values []string
		query  func(string) query.Query
	}{
		{q.Filter.DocumentIDs, func(v string) query.Query { return term(fieldDocument, v) }},
		{q.Filter.Languages, func(v string) query.Query { return term(fieldLanguage, v) }},
		{q.Filter.SourcePrefixes, prefix},
	} {
		if len(c.values) == 0 {
			continue
		}
		either := bleve.NewDisjunctionQuery()
		for _, v := range c.values {
			either.AddQuery(c.query(v))
		}
		conditions.AddQuery(either)
	}
	if len(conditions.Conjuncts) == 0 {
		return words
	}
	filtered := bleve.NewBooleanQuery()
	filtered.AddMust(words)
	filtered.AddFilter(conditions)
	return filtered
}

// visible is a query among the documents that are not hidden. Bleve asks of every chunk the query finds, before it counts
// or orders any.
type visible struct {
	query.Query
	hidden func(documentID string) bool
}

// Searcher implements [query.Query].
func (v visible) Searcher(ctx context.Context, reader bleveindex.IndexReader, m mapping.IndexMapping, o search.SearcherOptions) (search.Searcher, error) {
	found, err := v.Query.Searcher(ctx, reader, m, o)
	if err != nil {
		return nil, err
	}
	return searcher.NewFilteringSearcher(ctx, found, func(_ *search.SearchContext, d *search.DocumentMatch) bool {
		key, err := reader.ExternalID(d.IndexInternalID)
		if err != nil { // whose it is can't be told
			return false
		}
		documentID, _, _ := strings.Cut(key, "/")
		return !v.hidden(documentID)
	}), nil
}

func term(field, value string) query.Query {
	t := bleve.NewTermQuery(value)
	t.SetField(field)
	return t
}

func prefix(value string) query.Query {
	p := bleve.NewPrefixQuery(value)
	p.SetField(fieldSource)
	return p
}

// liveKeys returns the keys of the best live hits, and whether it passed over others.
func liveKeys(ctx context.Context, index bleve.Index, bleveQuery query.Query, q store.Query) (keys []string, passed bool, err error) {
	for size := q.Limit; ; size *= 4 {
		request := bleve.NewSearchRequestOptions(bleveQuery, min(size, maxScan), 0, false)
		result, err := index.SearchInContext(ctx, request)
		if err != nil {
			return nil, false, fmt.Errorf("search index: %w", err)
		}
		keys, passed = make([]string, 0, q.Limit), false
		for _, hit := range result.Hits {
			documentID, hash, _ := splitKey(hit.ID)
			if q.Live(documentID) != hash {
				passed = true
				continue
			}
			if keys = append(keys, hit.ID); len(keys) == q.Limit {
				return keys, passed, nil
			}
		}
		if len(result.Hits) < request.Size || request.Size == maxScan {
			return keys, passed, nil
		}
	}
}

// candidate returns a chunk, from memory if it was read since the index has changed.
func (s *Store) candidate(reader bleveindex.IndexReader, at chunkAt) (store.Candidate, bool, error) {
	if c, ok := s.chunks.Get(at); ok {
		return c, true, nil
	}
	c, ok, err := readCandidate(reader, at.key)
	if ok {
		s.chunks.Put(at, c, len(at.key)+len(c.Text)+len(c.Terms)+len(c.Title)+len(c.SourceURI)+chunkOverhead)
	}
	return c, ok, err
}

// chunkOverhead is what a chunk takes beside its texts: its struct and its place in a map, about.
const chunkOverhead = 512

func readCandidate(reader bleveindex.IndexReader, key string) (store.Candidate, bool, error) {
	doc, err := reader.Document(key)
	if err != nil {
		return store.Candidate{}, false, fmt.Errorf("read chunk: %w", err)
	}
	if doc == nil { // removed since the search
		return store.Candidate{}, false, nil
	}
	var m meta
	if err := json.Unmarshal(storedField(doc, fieldMeta), &m); err != nil {
		return store.Candidate{}, false, fmt.Errorf("read chunk: %w", err)
	}
	documentID, hash, ordinal := splitKey(key)
	return store.Candidate{
		Chunk:      store.Chunk{ID: m.ID, Ordinal: ordinal, Start: m.Start, End: m.End, HeadingPath: m.Path, Pages: m.Pages, Language: m.Language},
		DocumentID: documentID, Hash: hash, SourceURI: m.Source, Title: m.Title,
		Text: string(storedField(doc, fieldText)), Terms: storedField(doc, fieldRead),
	}, true, nil
}

// stats reads the exact statistics of a query's terms.
func stats(ctx context.Context, reader bleveindex.IndexReader, q rank.Query) (rank.Stats, error) {
	chunks, err := frequency(ctx, reader, fieldKind, kindChunk)
	if err != nil {
		return rank.Stats{}, err
	}
	length, err := totalLength(reader)
	if err != nil {
		return rank.Stats{}, err
	}
	out := rank.Stats{Chunks: chunks, AverageLength: length / float64(max(chunks, 1)), Frequency: make(map[string]int, len(q.Terms))}
	for _, t := range q.Terms {
		field := fieldTerms
		if t.Kind == text.Han {
			field = fieldSingles
		}
		if out.Frequency[t.Text], err = frequency(ctx, reader, field, t.Text); err != nil {
			return rank.Stats{}, err
		}
	}
	return out, nil
}

// frequency counts the chunks that hold a term.
func frequency(ctx context.Context, reader bleveindex.IndexReader, field, term string) (n int, err error) {
	postings, err := reader.TermFieldReader(ctx, []byte(term), field, false, false, false)
	if err != nil {
		return 0, fmt.Errorf("read term: %w", err)
	}
	defer func() { err = errors.Join(err, postings.Close()) }()
	return int(postings.Count()), nil
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

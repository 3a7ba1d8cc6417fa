package index

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/document"
	bleveindex "github.com/blevesearch/bleve_index_api"

	pages "github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// The fields of the index. A chunk has all of them but fieldText holding its own text; a version's record, under the version's
// key, has fieldDocument, fieldKind, fieldMeta and the canonical text.
const (
	fieldDocument = "document" // the document's id
	fieldKind     = "kind"     // chunk, or version with its revision
	fieldSource   = "source"
	fieldLanguage = "language"
	fieldTerms    = "terms" // words, numbers and CJK pairs; those of the head twice
	fieldSingles  = "singles"
	fieldMeta     = "meta"
	fieldText     = "text"
	fieldRead     = "read" // the chunk read for scoring

	kindChunk = "c"
)

// layout changes whenever the fields or the tokens in them do: what was put with another one counts as not being there.
const layout = "1"

// kindVersion is the kind of the records of versions put with a revision.
func kindVersion(revision string) string { return "v/" + layout + "/" + revision }

// lengthKeyOf is the key of one of the numbers that add up to all chunks' lengths. Each is written by one writer, in the same batches
// as chunks; one alone means nothing, since how many writers there are may be another number whenever an index is opened.
func lengthKeyOf(writer int) string {
	const first = "total-length"
	if writer == 0 {
		return first
	}
	return first + "/" + strconv.Itoa(writer)
}

// maxPart is how many chunks of one version are committed together: a large one is put in parts.
const maxPart = 2_000

// A version is stored under "<document>/<hash>", its chunks under that and "/<ordinal>".
func versionKey(documentID, hash string) string { return documentID + "/" + hash }

func chunkKey(version string, ordinal int) string { return version + "/" + strconv.Itoa(ordinal) }

// splitKey takes a key apart. Ordinal is -1 for a version's own key.
func splitKey(key string) (documentID, hash string, ordinal int) {
	documentID, rest, _ := strings.Cut(key, "/")
	hash, number, ok := strings.Cut(rest, "/")
	if !ok {
		return documentID, hash, -1
	}
	ordinal, err := strconv.Atoi(number)
	if err != nil {
		return documentID, hash, -1
	}
	return documentID, hash, ordinal
}

// record is what is kept of a version beside its text.
type record struct {
	Chunks int     `json:"chunks"`
	Length float64 `json:"length"`
}

// meta is what is kept of a chunk beside its text.
type meta struct {
	ID       string       `json:"id"`
	Start    int          `json:"start"`
	End      int          `json:"end"`
	Path     []string     `json:"path,omitempty"`
	Pages    []pages.Page `json:"pages,omitempty"`
	Language string       `json:"language,omitempty"`
	Title    string       `json:"title"`
	Source   string       `json:"source"`
}

// Put stores a version.
func (s *Store) Put(ctx context.Context, workspace string, v store.Version) error {
	return s.with(ctx, workspace, true, func(sh *shard) error {
		total := 0.0
		for from := 0; ; from += maxPart {
			// Tokens are made here, by as many callers as there are, and not under the writer's lock.
			to := min(from+maxPart, len(v.Chunks))
			docs, length, err := documents(v, from, to)
			if err != nil {
				return fmt.Errorf("put version: %w", err)
			}
			total += length
			last := to == len(v.Chunks)
			if last {
				record, err := recordOf(v, total)
				if err != nil {
					return fmt.Errorf("put version: %w", err)
				}
				docs = append(docs, record)
			}
			change := &change{documentID: v.DocumentID, chunks: len(docs), apply: func(b *batch) error {
				return b.put(v, docs, total, last)
			}}
			if err := s.commit(ctx, sh, change); err != nil {
				return fmt.Errorf("put version: %w", err)
			}
			if last {
				return sh.dropStale(store.Key{DocumentID: v.DocumentID, Hash: v.Hash})
			}
		}
	})
}

// Prune removes the versions of a document but one.
func (s *Store) Prune(ctx context.Context, workspace, documentID, keep string) (int, error) {
	chunks := 0
	err := s.with(ctx, workspace, false, func(sh *shard) error {
		change := &change{documentID: documentID, apply: func(b *batch) (err error) {
			chunks, err = b.prune(documentID, keep)
			return err
		}}
		if err := sh.markRemoved(); err != nil {
			return fmt.Errorf("prune document: %w", err)
		}
		if err := s.commit(ctx, sh, change); err != nil {
			return fmt.Errorf("prune document: %w", err)
		}
		s.chunks.Clear() // what was removed is not in memory either
		return sh.vectors.Drop(documentID, keep)
	})
	return chunks, err
}

// commit makes a change, after which the index is another version of itself, whatever became of the change.
func (s *Store) commit(ctx context.Context, sh *shard, c *change) error {
	defer func() { sh.version.Store(s.versions.Add(1)) }()
	return sh.writers.commit(ctx, sh.index, c)
}

// documents turns some of a version's chunks into what bleve indexes, and sums their lengths.
func documents(v store.Version, from, to int) ([]*document.Document, float64, error) {
	key := versionKey(v.DocumentID, v.Hash)
	of, kind, source := label(fieldDocument, v.DocumentID), label(fieldKind, kindChunk), label(fieldSource, v.SourceURI)
	docs := make([]*document.Document, 0, to-from+1)
	total := 0.0
	for i := from; i < to; i++ {
		c := v.Chunks[i]
		if c.Ordinal != i || c.Start < 0 || c.End > len(v.Text) || c.Start >= c.End {
			return nil, 0, fmt.Errorf("chunk %d of %s is out of order or bounds", i, key)
		}
		body := v.Text[c.Start:c.End]
		passage := rank.Read(store.Head(v.Title, c.HeadingPath), body)
		terms, singles := words(passage)
		total += passage.Length()
		m, err := json.Marshal(meta{ID: c.ID, Start: c.Start, End: c.End, Path: c.HeadingPath, Pages: c.Pages, Language: c.Language, Title: v.Title, Source: v.SourceURI})
		if err != nil {
			return nil, 0, err
		}
		doc := document.NewDocument(chunkKey(key, i))
		doc.Fields = []document.Field{
			of, kind, source, label(fieldLanguage, c.Language), terms, singles,
			keep(fieldMeta, m), keep(fieldText, []byte(body)), keep(fieldRead, passage.Encode()),
		}
		docs = append(docs, doc)
	}
	return docs, total, nil
}

// recordOf is a version's record, which is put last: without it what is there of the version counts as nothing.
func recordOf(v store.Version, length float64) (*document.Document, error) {
	r, err := json.Marshal(record{Chunks: len(v.Chunks), Length: length})
	if err != nil {
		return nil, err
	}
	doc := document.NewDocument(versionKey(v.DocumentID, v.Hash))
	doc.Fields = []document.Field{
		label(fieldDocument, v.DocumentID), label(fieldKind, kindVersion(v.Revision)), keep(fieldMeta, r), keep(fieldText, []byte(v.Text)),
	}
	return doc, nil
}

// totalLength is the sum of all chunks' lengths.
func totalLength(reader bleveindex.IndexReader) (sum float64, err error) {
	for writer := range maxWriters {
		length, err := lengthUnder(reader, lengthKeyOf(writer))
		if err != nil {
			return 0, err
		}
		sum += length
	}
	return max(0, sum), nil
}

func lengthUnder(reader bleveindex.IndexReader, key string) (float64, error) {
	value, err := reader.GetInternal([]byte(key))
	if err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	if value == nil {
		return 0, nil
	}
	length, err := strconv.ParseFloat(string(value), 64)
	if err != nil || math.IsNaN(length) || math.IsInf(length, 0) {
		return 0, fmt.Errorf("read index: bad total length %q", value)
	}
	return length, nil
}

// batch is a bleve batch beside the index it will change.
type batch struct {
	*bleve.Batch
	reader bleveindex.IndexReader
	length float64 // under the writer's key
}

// put adds some of a version's chunks; with the last comes its record, and goes what is left of an earlier put of the version.
func (b *batch) put(v store.Version, docs []*document.Document, length float64, last bool) error {
	for _, d := range docs {
		if err := b.IndexAdvanced(d); err != nil {
			return err
		}
	}
	if !last {
		return nil
	}
	key := versionKey(v.DocumentID, v.Hash)
	before, err := readRecord(b.reader, key)
	if err != nil {
		return err
	}
	for ordinal := len(v.Chunks); ordinal < before.Chunks; ordinal++ {
		b.Delete(chunkKey(key, ordinal))
	}
	if before.Chunks == 0 && len(v.Chunks) > maxPart { // it may have been begun before, by other code
		keys, err := keysOf(b.reader, v.DocumentID)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if _, hash, ordinal := splitKey(k); hash == v.Hash && ordinal >= len(v.Chunks) {
				b.Delete(k)
			}
		}
	}
	b.length += length - before.Length
	return nil
}

func (b *batch) prune(documentID, keep string) (int, error) {
	keys, err := keysOf(b.reader, documentID)
	if err != nil {
		return 0, err
	}
	chunks := 0
	for _, key := range keys {
		_, hash, ordinal := splitKey(key)
		if keep != "" && hash == keep {
			continue
		}
		if ordinal < 0 {
			r, err := readRecord(b.reader, key)
			if err != nil {
				return 0, err
			}
			b.length -= r.Length
		} else {
			chunks++
		}
		b.Delete(key)
	}
	return chunks, nil
}

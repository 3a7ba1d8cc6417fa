package index

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
	bleveindex "github.com/blevesearch/bleve_index_api"
	segment "github.com/blevesearch/scorch_segment_api/v2"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// scan is a search by words over a state of an index. It reads the postings of each term from end to end and adds up what
// each chunk has, which takes a fraction of the time that bleve's own searchers take to walk all lists side by side, and
// scores as package rank does but for what only a chunk's text tells.
type scan struct {
	segments []*scorch.SegmentSnapshot
	dicts    []map[string]segment.TermDictionary // by segment and field
	clauses  []clause
	stats    rank.Stats
}

// clause is one term of the query.
type clause struct {
	field    string
	postings []segment.PostingsList // by segment
	weight   float64
	counted  bool // for the statistics only
}

// errNoSegments says that an index is of another kind than those that are made here.
var errNoSegments = errors.New("the index has no segments")

// newScan looks up a query's terms and their statistics.
func newScan(ctx context.Context, reader bleveindex.IndexReader, q rank.Query) (*scan, error) {
	snapshot, ok := reader.(*scorch.IndexSnapshot)
	if !ok {
		return nil, errNoSegments
	}
	s := &scan{segments: snapshot.Segments()}
	s.dicts = make([]map[string]segment.TermDictionary, len(s.segments))
	for n := range s.dicts {
		s.dicts[n] = map[string]segment.TermDictionary{}
	}
	_, chunks, err := s.lookUp(fieldKind, kindChunk)
	if err != nil {
		return nil, err
	}
	length, err := totalLength(reader)
	if err != nil {
		return nil, err
	}
	s.stats = rank.Stats{Chunks: chunks, AverageLength: length / float64(max(chunks, 1)), Frequency: make(map[string]int, len(q.Terms))}
	pairs := ""
	for _, t := range q.Terms {
		if t.Kind == text.HanPair {
			pairs += t.Text
		}
	}
	for _, t := range q.Terms {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := clause{field: fieldTerms}
		if t.Kind == text.Han {
			c.field = fieldSingles
			c.counted = strings.Contains(pairs, t.Text) // its pairs say it better
		}
		if c.postings, s.stats.Frequency[t.Text], err = s.lookUp(c.field, t.Text); err != nil {
			return nil, err
		}
		s.clauses = append(s.clauses, c)
	}
	for n, weight := range rank.NewScorer(q, s.stats).Weights() {
		s.clauses[n].weight = weight
	}
	return s, nil
}

// lookUp returns a term's postings in each segment, and in how many chunks it is.
func (s *scan) lookUp(field, term string) (lists []segment.PostingsList, chunks int, err error) {
	lists = make([]segment.PostingsList, len(s.segments))
	for n := range s.segments {
		if lists[n], err = s.postings(n, field, []byte(term)); err != nil {
			return nil, 0, err
		}
		chunks += int(lists[n].Count())
	}
	return lists, chunks, nil
}

func (s *scan) postings(n int, field string, term []byte) (segment.PostingsList, error) {
	dict, err := s.dict(n, field)
	if err != nil {
		return nil, err
	}
	list, err := dict.PostingsList(term, s.segments[n].Deleted(), nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", field, err)
	}
	return list, nil
}

func (s *scan) dict(n int, field string) (segment.TermDictionary, error) {
	if d, ok := s.dicts[n][field]; ok {
		return d, nil
	}
	d, err := s.segments[n].Segment().Dictionary(field)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", field, err)
	}
	s.dicts[n][field] = d
	return d, nil
}

// best returns the best live chunks that a query's filter admits and that are not hidden, and whether it passed over others
// because they are not live.
func (s *scan) best(ctx context.Context, q store.Query, sums *sums) (found []hit, passed bool, err error) {
	b := best{query: q, waiting: sums.waiting[:0], keyOf: func(p place) ([]byte, error) { return s.segments[p.segment].DocID(uint64(p.number)) }}
	defer func() { sums.waiting = b.waiting }()
	for n, seg := range s.segments {
		admitted, err := s.admitted(n, q.Filter)
		if err != nil {
			return nil, false, err
		}
		if err := s.add(ctx, n, sums.of(seg.Segment().Count())); err != nil {
			return nil, false, err
		}
		for _, number := range sums.touched {
			if admitted != nil && !admitted.Contains(number) {
				continue
			}
			if err := b.offer(place{score: sums.scores[number], segment: n, number: number}); err != nil {
				return nil, false, err
			}
		}
	}
	if err := b.choose(); err != nil {
		return nil, false, err
	}
	return b.found, b.passed, nil
}

// add sums up what the chunks of a segment have of the query's terms.
func (s *scan) add(ctx context.Context, n int, sums *sums) error {
	var iterator segment.PostingsIterator
	for _, c := range s.clauses {
		if c.counted || c.postings[n].Count() == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		iterator = c.postings[n].Iterator(true, true, false, iterator)
		for {
			p, err := iterator.Next()
			if err != nil {
				return fmt.Errorf("read postings: %w", err)
			}
			if p == nil {
				break
			}
			times, length := float64(p.Frequency()), lengthOf(p)
			if times == 0 { // not kept for this field
				times, length = 1, s.stats.AverageLength
			}
			sums.add(uint32(p.Number()), float32(c.weight*rank.Saturated(times, length, s.stats.AverageLength)))
		}
	}
	return nil
}

// lengthOf is how many tokens a posting's field has.
func lengthOf(p segment.Posting) float64 {
	if exact, ok := p.(interface{ NormUint64() uint64 }); ok {
		return float64(exact.NormUint64())
	}
	norm := p.Norm()
	return 1 / (norm * norm)
}

// admitted returns the chunks of a segment that a filter lets pass; nil means all.
func (s *scan) admitted(n int, f store.Filter) (all *roaring.Bitmap, err error) {
	for _, condition := range []struct {
		field  string
		values []string
		terms  func(segment.TermDictionary, string) ([]string, error)
	}{
		{fieldDocument, f.DocumentIDs, itself}, {fieldLanguage, f.Languages, itself}, {fieldSource, f.SourcePrefixes, beginning},
	} {
		if len(condition.values) == 0 {
			continue
		}
		dict, err := s.dict(n, condition.field)
		if err != nil {
			return nil, err
		}
		either := roaring.New()
		for _, value := range condition.values {
			terms, err := condition.terms(dict, value)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", condition.field, err)
			}
			for _, term := range terms {
				list, err := s.postings(n, condition.field, []byte(term))
				if err != nil {
					return nil, err
				}
				if err := addTo(either, list); err != nil {
					return nil, err
				}
			}
		}
		if all == nil {
			all = either
		} else {
			all.And(either)
		}
	}
	return all, nil
}

func addTo(set *roaring.Bitmap, list segment.PostingsList) error {
	if whole, ok := list.(interface{ OrInto(*roaring.Bitmap) }); ok {
		whole.OrInto(set)
		return nil
	}
	for iterator := list.Iterator(false, false, false, nil); ; {
		p, err := iterator.Next()
		if p == nil || err != nil {
			return err
		}
		set.Add(uint32(p.Number()))
	}
}

func itself(_ segment.TermDictionary, value string) ([]string, error) { return []string{value}, nil }

// beginning returns the terms that begin with a value.
func beginning(dict segment.TermDictionary, value string) (terms []string, err error) {
	for iterator := dict.AutomatonIterator(nil, []byte(value), after(value)); ; {
		entry, err := iterator.Next()
		if entry == nil || err != nil {
			return terms, err
		}
		terms = append(terms, entry.Term)
	}
}

// after is the first term behind all that begin with a value; nil means that there is none.
func after(value string) []byte {
	end := []byte(value)
	for len(end) > 0 {
		if last := len(end) - 1; end[last] < 0xff {
			end[last]++
			return end
		}
		end = end[:len(end)-1]
	}
	return nil
}

// sums are the scores of a segment's chunks, most of which have none.
type sums struct {
	scores  []float32 // 0 but for the touched
	touched []uint32
	waiting []place // see best; here only to be used again
}

// of makes the sums ready for a segment of so many.
func (s *sums) of(count uint64) *sums {
	for _, n := range s.touched {
		s.scores[n] = 0
	}
	s.touched = s.touched[:0]
	if uint64(len(s.scores)) < count {
		s.scores = make([]float32, count)
	}
	return s
}

func (s *sums) add(number uint32, score float32) {
	if s.scores[number] == 0 {
		s.touched = append(s.touched, number)
	}
	s.scores[number] += score
}

package index

import (
	"github.com/blevesearch/bleve/v2/document"
	bleveindex "github.com/blevesearch/bleve_index_api"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
)

const (
	stored  = bleveindex.StoreField
	indexed = bleveindex.IndexField | bleveindex.SkipFreqNorm // found, and not counted
	counted = bleveindex.IndexField
)

// field is a field whose terms are counted before bleve sees it: by as many callers as there are and not by the one that commits,
// and only once where all chunks of a version share it. Nothing changes it any more, so that many documents may.
type field struct {
	name    string
	options bleveindex.FieldIndexingOptions
	value   []byte
	length  int // in tokens
	terms   bleveindex.TokenFrequencies
}

var _ document.Field = (*field)(nil)

func (f *field) Name() string                                          { return f.name }
func (f *field) Value() []byte                                         { return f.value }
func (f *field) Options() bleveindex.FieldIndexingOptions              { return f.options }
func (f *field) AnalyzedLength() int                                   { return f.length }
func (f *field) AnalyzedTokenFrequencies() bleveindex.TokenFrequencies { return f.terms }
func (f *field) Analyze()                                              {} // it is
func (f *field) ArrayPositions() []uint64                              { return nil }
func (f *field) EncodedFieldType() byte                                { return 't' }
func (f *field) NumPlainTextBytes() uint64                             { return uint64(len(f.value)) }

// Size is about how many bytes it takes in memory: bleve's statistics add it up.
func (f *field) Size() int { return fieldBytes + len(f.value) + len(f.terms)*termBytes }

const fieldBytes, termBytes = 100, 80

// keep makes a field that is only read back.
func keep(name string, value []byte) *field { return &field{name: name, options: stored, value: value} }

// label makes a field that is found by its whole value.
func label(name, value string) *field {
	return &field{name: name, options: indexed, length: 1, terms: bleveindex.TokenFrequencies{value: {}}}
}

// words makes the fields that a chunk is found by. Single CJK characters are kept apart: as query terms they would match
// everything, but their statistics are needed.
func words(p rank.Passage) (terms, singles *field) {
	room := len(p.Head) + len(p.Body)
	terms = &field{name: fieldTerms, options: counted, terms: make(bleveindex.TokenFrequencies, room)}
	singles = &field{name: fieldSingles, options: indexed, terms: bleveindex.TokenFrequencies{}}
	counts := make([]bleveindex.TokenFreq, 0, room) // never more, so that what points into it stays
	add := func(list []text.Token, times int) {
		for _, t := range list {
			if t.Kind == text.Han {
				singles.length++
				singles.terms[t.Term] = &bleveindex.TokenFreq{}
				continue
			}
			terms.length += times
			count := terms.terms[t.Term]
			if count == nil {
				counts = append(counts, bleveindex.TokenFreq{})
				count = &counts[len(counts)-1]
				terms.terms[t.Term] = count
			}
			count.SetFrequency(count.Frequency() + times)
		}
	}
	add(p.Head, 2)
	add(p.Body, 1)
	return terms, singles
}

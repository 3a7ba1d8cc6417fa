// Package rank scores passages against a query: exact BM25 over our own tokens, with a bonus for words that stand together
// as in the query. Any store's candidates go through it, so that every store ranks alike.
//
// The words of a passage's title and headings count double. English words are stemmed; of Chinese, single characters and
// pairs are both terms; words without content, question words included, are none.
package rank

import (
	"math"
	"slices"

	"github.com/ragmesh/ragmesh/libs/text"
)

// The constants of the score, chosen on standard values and the development sets.
const (
	k1         = 1.2
	b          = 0.75
	headWeight = 2   // of a word in title or heading
	pairWeight = 0.3 // of two words together, as a share of their mean idf
	// A Chinese word of two characters is three terms, an English one is one term. These bring them to about the same in a
	// query that has both.
	singleWeight = 0.5 // of a single CJK character
	wordWeight   = 2   // of a word or number in a query with CJK characters

	pairReach = 3   // positions that two neighbours may be apart, so that "of the" between them doesn't part them
	maxTerms  = 256 // of a query, and of its pairs; what comes later in a very long one adds nothing
)

// Term is one word, number, character or pair of characters of a query.
type Term struct {
	Text string
	Kind text.Kind
}

// Query is a query made ready to score passages.
type Query struct {
	Terms  []Term // distinct, in the order of the query
	count  []float64
	pairs  []pair
	index  map[string]int
	likely [512]bool // by slot; most of a passage's terms are not the query's, and are told by this alone
}

type pair struct{ first, second int } // of Terms

// NewQuery reads a query. It may come out without terms; then nothing matches.
func NewQuery(s string) Query {
	q := Query{index: map[string]int{}}
	number := func(t text.Token) int {
		n, ok := q.index[t.Term]
		if !ok {
			if len(q.Terms) == maxTerms {
				return -1
			}
			n = len(q.Terms)
			q.index[t.Term] = n
			q.likely[slot(t.Term)] = true
			q.Terms = append(q.Terms, Term{t.Term, t.Kind})
			q.count = append(q.count, 0)
		}
		q.count[n]++
		return n
	}
	var walk walker
	for _, t := range content(s) {
		n := number(t)
		walk.position = t.Position
		if first, ok := walk.next(t.Kind, n); ok && first >= 0 && n >= 0 && len(q.pairs) < maxTerms {
			q.pairs = append(q.pairs, pair{first, n})
		}
	}
	return q
}

// slot spreads terms over a filter.
func slot[T string | []byte](term T) int {
	if len(term) == 0 {
		return 0
	}
	return (len(term)*131 + int(term[0])*31 + int(term[len(term)-1])*7 + int(term[len(term)/2])) % len(Query{}.likely)
}

// Covers reports whether the query asks about what s names: it has every word of s with content, and there is one.
func (q Query) Covers(s string) bool {
	named := false
	for _, t := range content(s) {
		if _, ok := q.index[t.Term]; !ok {
			return false
		}
		named = true
	}
	return named
}

// walker finds pairs of neighbours among tokens without stop words. Chinese has its own pairs and takes no part.
type walker struct {
	position int // of the present token; the caller's to move
	last     int
	at       int // position of last
	set      bool
}

// next takes the next token, numbered n, and returns the number of the neighbour before it, if it has one.
func (w *walker) next(kind text.Kind, n int) (before int, ok bool) {
	switch kind {
	case text.HanPair:
		return 0, false
	case text.Han:
		w.set = false
		return 0, false
	}
	before, ok = w.last, w.set && w.position-w.at <= pairReach
	w.last, w.at, w.set = n, w.position, true
	return before, ok
}

// Stats are the corpus's, over the chunks that may be found.
type Stats struct {
	Chunks        int            // how many there are
	AverageLength float64        // mean of Length
	Frequency     map[string]int // in how many chunks a query's term is
}

// Scorer scores passages against one query in one corpus. It is not safe for concurrent use.
type Scorer struct {
	query Query
	idf   []float64 // by term, weighted
	avg   float64
	tf    []float64
	pairs []float64
}

// NewScorer weighs a query's terms by how rare they are.
func NewScorer(q Query, s Stats) *Scorer {
	sc := &Scorer{
		query: q, avg: max(s.AverageLength, 1),
		idf: make([]float64, len(q.Terms)), tf: make([]float64, len(q.Terms)), pairs: make([]float64, len(q.pairs)),
	}
	cjk := slices.ContainsFunc(q.Terms, func(t Term) bool { return t.Kind == text.Han })
	for i, t := range q.Terms {
		df := float64(s.Frequency[t.Text])
		sc.idf[i] = math.Log(1 + (max(float64(s.Chunks), df)-df+0.5)/(df+0.5))
		switch {
		case t.Kind == text.Han:
			sc.idf[i] *= singleWeight
		case cjk && t.Kind != text.HanPair:
			sc.idf[i] *= wordWeight
		}
	}
	return sc
}

// Weights are what the query's terms are worth, in the order of its Terms: times [Saturated] they add up to BM25. Stores may
// choose their candidates by it.
func (s *Scorer) Weights() []float64 {
	out := make([]float64, len(s.idf))
	for i, idf := range s.idf {
		out[i] = s.query.count[i] * idf
	}
	return out
}

// Saturated is how much of a term's weight a passage has that holds it so many times.
func Saturated(times, length, average float64) float64 {
	return times * (k1 + 1) / (times + k1*(1-b+b*length/max(average, 1)))
}

// Score is a passage's score and what it is made of.
type Score struct {
	BM25  float64
	Pairs float64
}

// Total is what passages are ordered by.
func (s Score) Total() float64 { return s.BM25 + s.Pairs }

// Score scores one passage, given as [Passage.Encode] made it.
func (s *Scorer) Score(passage []byte) Score {
	clear(s.tf)
	clear(s.pairs)
	head, body := sections(passage)
	length := s.count(head, headWeight) + s.count(body, 1)
	norm := k1 * (1 - b + b*length/s.avg)
	var out Score
	for i, tf := range s.tf {
		if tf > 0 {
			out.BM25 += s.query.count[i] * s.idf[i] * tf * (k1 + 1) / (tf + norm)
		}
	}
	for i, tf := range s.pairs {
		if tf > 0 {
			p := s.query.pairs[i]
			out.Pairs += pairWeight * (s.idf[p.first] + s.idf[p.second]) / 2 * tf * (k1 + 1) / (tf + norm)
		}
	}
	return out
}

// count adds the query's terms and pairs in a section to tf and pairs, and returns the section's length.
func (s *Scorer) count(section []byte, weight float64) float64 {
	length := 0.0
	var walk walker
	for t, rest, ok := next(section); ok; t, rest, ok = next(rest) {
		length += weight
		n := -1
		if s.query.likely[slot(t.term)] {
			if known, ok := s.query.index[string(t.term)]; ok {
				n = known
				s.tf[n] += weight
			}
		}
		walk.position += t.gap
		if before, ok := walk.next(t.kind, n); ok && before >= 0 && n >= 0 {
			for i, p := range s.query.pairs {
				if p == (pair{before, n}) {
					s.pairs[i] += weight
				}
			}
		}
	}
	return length
}

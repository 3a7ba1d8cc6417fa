package vectors

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// exact is how many rows are compared exactly, at least: enough that hardly ever one of the nearest is not among them.
const exact = 400

// Hit is a chunk near to a query.
type Hit struct {
	store.Key
	Ordinal int
	Cosine  float64
}

// Query asks for chunks.
type Query struct {
	Vector  []float32
	Space   store.Space
	Nearest int
	// Version says whether a version's chunks may be found, Language whether those of a language may; nil for all.
	Version  func(k store.Key, sourceURI string) bool
	Language func(string) bool
}

// Search returns the chunks nearest to a vector, nearest first, and how many chunks there are in the space. None are found in
// another space than the set's.
func (s *Set) Search(ctx context.Context, q Query) (hits []Hit, chunks int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.file == nil || s.space != q.Space || len(q.Vector) != s.space.Dimension || q.Nearest < 1 {
		return nil, 0, nil
	}
	var may []*version
	rows := 0
	for i, v := range s.order {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		if !v.gone && (q.Version == nil || q.Version(v.key(), v.SourceURI)) {
			may, rows = append(may, v), rows+v.record.rows
		}
	}
	near := s.signs.nearest(q, may, rows, max(exact, 4*q.Nearest))
	hits = make([]Hit, 0, len(near))
	reader := s.rowReader()
	for i, c := range near {
		if i%64 == 0 && ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		cosine, err := reader.dot(q.Vector, c.version, c.row)
		if err != nil {
			return nil, 0, err
		}
		hits = append(hits, Hit{c.version.key(), c.row, cosine})
	}
	slices.SortFunc(hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.DocumentID, b.DocumentID), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return hits[:min(len(hits), q.Nearest)], s.rows, nil
}

// Cosine compares a vector with one chunk's. It is false where the chunk has none in that space.
func (s *Set) Cosine(vector []float32, space store.Space, k store.Key, ordinal int) (float64, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.find(k)
	if v == nil || s.space != space || len(vector) != space.Dimension || ordinal < 0 || ordinal >= v.record.rows {
		return 0, false, nil
	}
	reader := s.rowReader()
	cosine, err := reader.dot(vector, v, ordinal)
	return cosine, err == nil, err
}

// rowReader reads rows one at a time. The set's lock is held while it is used.
type rowReader struct {
	set   *Set
	bytes []byte
}

func (s *Set) rowReader() rowReader { return rowReader{s, make([]byte, 4*s.space.Dimension)} }

func (r rowReader) dot(q []float32, v *version, row int) (float64, error) {
	if _, err := r.set.file.ReadAt(r.bytes, v.rowsAt()+int64(row)*int64(len(r.bytes))); err != nil {
		return 0, fmt.Errorf("read vector: %w", err)
	}
	var sum float32
	for i, f := range q {
		b := r.bytes[4*i : 4*i+4 : 4*i+4]
		sum += f * math.Float32frombits(uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24)
	}
	if f := float64(sum); f >= -1.01 && f <= 1.01 {
		return min(max(f, -1), 1), nil
	}
	return 0, nil // a damaged row is like nothing
}

// place is a row of a version.
type place struct {
	version *version
	row     int
}

// signs say of each row on which side of the mean it lies, a bit for each dimension.
type signs struct {
	bits   []uint64 // words to a row
	sum    []float64
	summed int
	mean   []float32
	meanOf int // rows that mean is of
}

func words(dimension int) int { return (dimension + 63) / 64 }

// add takes in rows as they are in the file and returns the number of the first.
func (g *signs) add(dimension int, rows []byte) int {
	if g.sum == nil {
		g.sum = make([]float64, dimension)
	}
	if g.mean == nil {
		g.mean = make([]float32, dimension)
	}
	first := len(g.bits) / words(dimension)
	row := make([]float32, dimension)
	for len(rows) > 0 {
		decodeRow(rows, row)
		rows = rows[4*dimension:]
		for i, f := range row {
			g.sum[i] += float64(f)
		}
		g.summed++
		g.bits = g.sign(g.bits, row)
	}
	return first
}

// sign appends a row's signs.
func (g *signs) sign(out []uint64, row []float32) []uint64 {
	var word uint64
	for i, f := range row {
		if f > g.mean[i] {
			word |= 1 << (i % 64)
		}
		if i%64 == 63 || i == len(row)-1 {
			out = append(out, word)
			word = 0
		}
	}
	return out
}

// copy takes over rows of another that has the same mean, and returns the number of the first.
func (g *signs) copy(from *signs, dimension, first, rows int) int {
	w := words(dimension)
	at := len(g.bits) / w
	g.bits = append(g.bits, from.bits[first*w:(first+rows)*w]...)
	if g.sum == nil { // of what there was: the mean moves little by what is gone
		g.sum, g.summed = from.sum, from.summed
	}
	return at
}

// settle takes the mean anew once there are twice as many rows as it is of. Up to exact rows no sign is looked at.
func (g *signs) settle(s *Set) {
	if g.summed <= exact || g.summed < 2*g.meanOf {
		return
	}
	mean := make([]float32, len(g.sum))
	for i, sum := range g.sum {
		mean[i] = float32(sum / float64(g.summed))
	}
	fresh := signs{sum: g.sum, summed: g.summed, mean: mean, meanOf: g.summed}
	row := make([]float32, len(mean))
	buffer := make([]byte, 4*len(mean))
	firsts := make([]int, len(s.order))
	for i, v := range s.order {
		firsts[i] = len(fresh.bits) / words(len(mean))
		if v.gone {
			continue
		}
		for n := range v.record.rows {
			if _, err := s.file.ReadAt(buffer, v.rowsAt()+int64(n)*int64(len(buffer))); err != nil {
				return // the old mean does as well
			}
			decodeRow(buffer, row)
			fresh.bits = fresh.sign(fresh.bits, row)
		}
	}
	for i, v := range s.order {
		v.first = firsts[i]
	}
	*g = fresh
}

// far is the distance of a row that may not be found.
const far = math.MaxUint16

// distances lends buffers, a number for each row.
//
//nolint:gochecknoglobals // a pool is one for all
var distances = sync.Pool{New: func() any { return new([]uint16) }}

// nearest returns the n rows of versions whose signs are most like the query's, all if there are no more.
func (g *signs) nearest(query Query, versions []*version, rows, n int) []place {
	may := func(v *version, row int) bool {
		return query.Language == nil || query.Language(v.Languages[v.Language[row]])
	}
	out := make([]place, 0, min(n, rows))
	if rows <= n {
		for _, v := range versions {
			for row := range v.record.rows {
				if may(v, row) {
					out = append(out, place{v, row})
				}
			}
		}
		return out
	}
	buffer := distances.Get().(*[]uint16)
	defer distances.Put(buffer)
	from := slices.Grow((*buffer)[:0], rows)
	q := g.sign(nil, query.Vector)
	counts := make([]int, len(query.Vector)+1)
	for _, v := range versions {
		for row := range v.record.rows {
			if !may(v, row) {
				from = append(from, far)
				continue
			}
			at := (v.first + row) * len(q)
			distance := 0
			for j, word := range g.bits[at : at+len(q)] {
				distance += bits.OnesCount64(word ^ q[j])
			}
			from = append(from, uint16(distance))
			counts[distance]++
		}
	}
	*buffer = from
	limit, sum := 0, counts[0]
	for sum < n && limit < len(counts)-1 {
		limit++
		sum += counts[limit]
	}
	spare := counts[limit] - max(0, sum-n) // of those at the limit
	i := 0
	for _, v := range versions {
		for row := range v.record.rows {
			switch distance := int(from[i]); {
			case distance < limit:
				out = append(out, place{v, row})
			case distance == limit && spare > 0:
				out, spare = append(out, place{v, row}), spare-1
			}
			i++
		}
	}
	return out
}

package bert

import (
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
)

// Scratch is what a batch's tokens are kept in on their way. It grows to the largest batch it has seen and is used by one run at a time.
type Scratch struct {
	rows []row
	// x is what goes from layer to layer, a row of hidden floats per token; qkv the queries, keys and values; mixed what
	// attention makes of them; wide and narrow are for batches that are divided by columns.
	x, qkv, mixed, wide, narrow []float32
	spans                       []span
}

// row says which token a row is.
type row struct{ id, position, kind int32 }

// span is where a sequence lies.
type span struct {
	*Sequence
	from, to int
}

// Space is what one thread works in. It is used by one part of a stage at a time.
type Space struct {
	keys, values              kernel.Matrix
	scores, projected, middle []float32
}

const (
	// tileRows is a multiple of the rows of every tile that is computed at once.
	tileRows = 12
	// blockTiles is how many tiles' rows go through a matrix together, at most: enough to use what is read of it well, few enough
	// that they stay in the cache, and that something more urgent does not wait long.
	blockTiles = 4
)

// columnRows is up to how many rows a batch is divided by columns.
const columnRows = 48

// run is one batch on its way.
type run struct {
	*Model
	*Scratch
	crew   Crew
	spaces []Space
	parts  int // of a stage that is divided by rows
}

// Run puts sequences through the model. Each ends with its Out filled or its Err set. There is a space for each of the crew's threads.
func (m *Model) Run(crew Crew, spaces []Space, scratch *Scratch, sequences []*Sequence) {
	r := run{Model: m, Scratch: scratch, crew: crew, spaces: spaces}
	if r.admit(sequences); len(r.rows) == 0 {
		return
	}
	r.fit()
	threads := crew.Threads()
	columns := threads > 1 && len(r.rows) <= columnRows
	if columns {
		r.embedByColumns()
	} else {
		r.embedByRows()
	}
	for l := range m.layers {
		if r.drop(); len(r.spans) == 0 {
			return
		}
		r.attend()
		var next *kernel.Matrix
		if l+1 < len(m.layers) {
			next = m.layers[l+1].qkv
		}
		if columns {
			r.feedByColumns(&m.layers[l], next)
		} else {
			r.feedByRows(&m.layers[l], next)
		}
	}
	r.drop()
	crew.Split(len(r.spans), func(i, thread int) { r.finish(&r.spans[i], &r.spaces[thread]) })
}

// admit lays out the tokens of the sequences that can be run.
func (r *run) admit(sequences []*Sequence) {
	r.spans, r.rows = r.spans[:0], r.rows[:0]
	for _, s := range sequences {
		if s.Err = r.Check(s.IDs, s.Types); s.Err != nil {
			continue
		}
		from := len(r.rows)
		for i, id := range s.IDs {
			t := row{id: id, position: int32(i + r.spec.Offset)}
			if s.Types != nil && r.spec.Types > 1 {
				t.kind = s.Types[i]
			}
			r.rows = append(r.rows, t)
		}
		r.spans = append(r.spans, span{s, from, len(r.rows)})
	}
}

// fit makes room, and chooses parts of which every thread has as many: two at least, where a part then has two tiles.
func (r *run) fit() {
	n, hidden, threads, tiles := len(r.rows), r.spec.Hidden, r.crew.Threads(), r.tiles()
	r.x, r.qkv, r.mixed = grow(r.x, n*hidden), grow(r.qkv, 3*n*hidden), grow(r.mixed, n*hidden)
	r.parts = (tiles + blockTiles - 1) / blockTiles
	if threads > 1 {
		r.parts = max(r.parts, min(2*threads, tiles/2))
		r.parts = min((r.parts+threads-1)/threads*threads, tiles)
	}
}

// tiles is how many tiles the rows are, the last of which may not be full.
func (r *run) tiles() int { return (len(r.rows) + tileRows - 1) / tileRows }

// grow returns room for n floats.
func grow(v []float32, n int) []float32 {
	if cap(v) < n {
		return make([]float32, n)
	}
	return v[:n]
}

// drop takes out the sequences that nobody waits for any more, and moves the others' rows together.
func (r *run) drop() {
	hidden := r.spec.Hidden
	kept, at := r.spans[:0], 0
	for _, s := range r.spans {
		if s.Gone != nil && s.Gone() {
			s.Err = ErrGone
			continue
		}
		n := s.to - s.from
		if at != s.from {
			copy(r.x[at*hidden:][:n*hidden], r.x[s.from*hidden:])
			copy(r.qkv[3*at*hidden:][:3*n*hidden], r.qkv[3*s.from*hidden:])
		}
		kept = append(kept, span{s.Sequence, at, at + n})
		at += n
	}
	r.spans, r.rows = kept, r.rows[:at]
}

// embed begins a row with what its token, position and type stand for.
func (r *run) embed(i int, space *Space) {
	hidden, t := r.spec.Hidden, r.rows[i]
	x := r.x[i*hidden:][:hidden]
	r.words.Row(x, int(t.id))
	position, kind := r.positions[int(t.position)*hidden:][:hidden], r.types[int(t.kind)*hidden:][:hidden]
	sum := grow(space.projected, hidden)
	space.projected = sum
	for j := range sum {
		sum[j] = position[j] + kind[j]
	}
	r.set.Norm(x, sum, r.embedded.gamma, r.embedded.beta, r.spec.Epsilon)
}

// blocks calls part for blocks of whole tiles' rows, as equal as can be.
func (r *run) blocks(part func(from, to int, space *Space)) {
	n, tiles := len(r.rows), r.tiles()
	parts := min(r.parts, tiles) // rows may have gone
	r.crew.Split(parts, func(i, thread int) {
		part(i*tiles/parts*tileRows, min((i+1)*tiles/parts*tileRows, n), &r.spaces[thread])
	})
}

func (r *run) embedByRows() {
	hidden := r.spec.Hidden
	qkv := r.layers[0].qkv
	r.blocks(func(from, to int, space *Space) {
		for i := from; i < to; i++ {
			r.embed(i, space)
		}
		qkv.Multiply(r.qkv[3*from*hidden:], 3*hidden, r.x[from*hidden:], hidden, to-from, 0, qkv.Panels())
	})
}

// feedByRows is what comes after attention, and the next layer's queries, keys and values: each row by itself.
func (r *run) feedByRows(l *layer, next *kernel.Matrix) {
	hidden, wide := r.spec.Hidden, r.spec.Intermediate
	r.blocks(func(from, to int, space *Space) {
		n := to - from
		space.projected, space.middle = grow(space.projected, n*hidden), grow(space.middle, n*wide)
		x := r.x[from*hidden:]
		l.out.Multiply(space.projected, hidden, r.mixed[from*hidden:], hidden, n, 0, l.out.Panels())
		r.normRows(x, space.projected, n, l.attended)
		l.up.Multiply(space.middle, wide, x, hidden, n, 0, l.up.Panels())
		r.set.GELU(space.middle)
		l.down.Multiply(space.projected, hidden, space.middle, wide, n, 0, l.down.Panels())
		r.normRows(x, space.projected, n, l.fed)
		if next != nil {
			next.Multiply(r.qkv[3*from*hidden:], 3*hidden, x, hidden, n, 0, next.Panels())
		}
	})
}

func (r *run) normRows(x, add []float32, n int, w norm) {
	hidden := r.spec.Hidden
	for i := range n {
		r.set.Norm(x[i*hidden:][:hidden], add[i*hidden:], w.gamma, w.beta, r.spec.Epsilon)
	}
}

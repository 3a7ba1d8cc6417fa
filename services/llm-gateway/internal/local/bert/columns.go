package bert

import "github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"

// columns calls part for groups of a matrix's panels.
func (r *run) columns(m *kernel.Matrix, part func(from, to int)) {
	groups := min(2*r.crew.Threads(), m.Panels())
	r.crew.Split(groups, func(i, _ int) {
		part(i*m.Panels()/groups, (i+1)*m.Panels()/groups)
	})
}

func (r *run) embedByColumns() {
	r.crew.Split(1, func(_, thread int) {
		for i := range r.rows {
			r.embed(i, &r.spaces[thread])
		}
	})
	r.project(r.layers[0].qkv)
}

// project computes queries, keys and values.
func (r *run) project(qkv *kernel.Matrix) {
	hidden := r.spec.Hidden
	r.columns(qkv, func(from, to int) {
		qkv.Multiply(r.qkv, 3*hidden, r.x, hidden, len(r.rows), from, to)
	})
}

// feedByColumns does what feedByRows does for a batch of few rows: every thread has some columns of all of them.
func (r *run) feedByColumns(l *layer, next *kernel.Matrix) {
	n, hidden, wide := len(r.rows), r.spec.Hidden, r.spec.Intermediate
	r.narrow, r.wide = grow(r.narrow, n*hidden), grow(r.wide, n*wide)
	r.columns(l.out, func(from, to int) {
		l.out.Multiply(r.narrow, hidden, r.mixed, hidden, n, from, to)
	})
	r.normRows(r.x, r.narrow, n, l.attended)
	r.columns(l.up, func(from, to int) {
		l.up.Multiply(r.wide, wide, r.x, hidden, n, from, to)
		first, last := from*r.set.PanelColumns(), min(to*r.set.PanelColumns(), wide)
		for i := range n {
			r.set.GELU(r.wide[i*wide+first : i*wide+last])
		}
	})
	r.columns(l.down, func(from, to int) {
		l.down.Multiply(r.narrow, hidden, r.wide, wide, n, from, to)
	})
	r.normRows(r.x, r.narrow, n, l.fed)
	if next != nil {
		r.project(next)
	}
}

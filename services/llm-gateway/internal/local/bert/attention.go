package bert

import "github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"

// queryRows is how many rows of queries are weighed together.
const queryRows = 48

// attend mixes every token's value with those of its sequence, one head of one sequence at a time.
func (r *run) attend() {
	heads := r.spec.Heads
	r.crew.Split(len(r.spans)*heads, func(i, thread int) {
		r.attendHead(r.spans[i/heads], i%heads, &r.spaces[thread])
	})
}

func (r *run) attendHead(s span, head int, space *Space) {
	hidden := r.spec.Hidden
	width, stride, n := hidden/r.spec.Heads, 3*hidden, s.to-s.from
	queries := r.qkv[s.from*stride+head*width:]
	r.set.Columns(&space.keys, queries[hidden:], stride, width, n)
	r.set.Rows(&space.values, queries[2*hidden:], stride, n, width)
	padded := max(kernel.Round(n), space.keys.Panels()*r.set.PanelColumns())
	space.scores = grow(space.scores, queryRows*padded)
	for from := 0; from < n; from += queryRows {
		rows := min(queryRows, n-from)
		space.keys.Multiply(space.scores, padded, queries[from*stride:], stride, rows, 0, space.keys.Panels())
		for i := range rows {
			r.set.Softmax(space.scores[i*padded:], n)
		}
		out := r.mixed[(s.from+from)*hidden+head*width:]
		space.values.Multiply(out, hidden, space.scores, padded, rows, 0, space.values.Panels())
	}
}

package bert

import (
	"errors"
	"math"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
)

// finish makes a sequence's result of its last rows.
func (r *run) finish(s *span, space *Space) {
	hidden := r.spec.Hidden
	x := r.x[s.from*hidden : s.to*hidden]
	if r.spec.Kind == manifest.Reranker {
		r.score(s, x[:hidden], space)
	} else {
		r.pool(s, x)
	}
	for _, v := range s.Out {
		if v-v != 0 { // infinite, or not a number
			s.Err = errors.New("run model: the result is not a number; the weights are not good")
		}
	}
}

func (r *run) pool(s *span, x []float32) {
	hidden := r.spec.Hidden
	copy(s.Out, x[:hidden])
	if r.spec.Pooling == manifest.Mean {
		for i := hidden; i < len(x); i += hidden {
			for j, v := range x[i:][:hidden] {
				s.Out[j] += v
			}
		}
		times(s.Out, 1/float32(s.to-s.from))
	}
	var squares float64
	for _, v := range s.Out {
		squares += float64(v) * float64(v)
	}
	switch {
	case squares == 0:
		s.Err = errors.New("run model: the vector is zero; the weights are not good")
	case r.spec.Normalize:
		times(s.Out, float32(1/math.Sqrt(squares)))
	}
}

func (r *run) score(s *span, first []float32, space *Space) {
	hidden := r.spec.Hidden
	space.projected = grow(space.projected, hidden)
	dense := space.projected
	r.head.dense.Multiply(dense, hidden, first, hidden, 1, 0, r.head.dense.Panels())
	for i, v := range dense {
		dense[i] = float32(math.Tanh(float64(v)))
	}
	r.head.out.Multiply(s.Out, 1, dense, hidden, 1, 0, r.head.out.Panels())
}

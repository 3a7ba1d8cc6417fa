// Package bert runs encoders of BERT's and RoBERTa's families: token ids in, a vector or a score out. Texts go through the
// layers together, packed one after the other without padding, so that a batch costs what its tokens cost. Large batches are divided
// among threads by rows, small ones by columns and heads.
//
// Ids are not trusted: what lies outside the model's tables is an error. A result that is no number, or a vector of length 0, is one too.
package bert

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/weights"
)

// Model is a loaded encoder. Safe for concurrent use: what a run writes to is its Scratch and Spaces.
type Model struct {
	spec manifest.Model
	set  *kernel.Set

	words            *weights.Table
	positions, types []float32
	embedded         norm
	layers           []layer
	head             head
}

// layer is one layer's weights. A query's factor, one over the root of a head's width, is in qkv already.
type layer struct {
	qkv, out, up, down *kernel.Matrix
	attended, fed      norm
}

// norm is a layer normalisation's scale and shift.
type norm struct{ gamma, beta []float32 }

// head is what a cross-encoder has on top: two layers with tanh between them, over the first token.
type head struct{ dense, out *kernel.Matrix }

// Sequence is one text, or one pair of texts, as tokens.
type Sequence struct {
	// IDs are the tokens, special ones included, and Types which text of a pair each belongs to; nil when all are the first.
	IDs, Types []int32
	// Gone says that nobody waits for the result any more; nil means somebody does. It is asked between layers.
	Gone func() bool
	// Out is the result, as long as Width says. It is not written to after Gone said so.
	Out []float32
	// Err is why there is no result.
	Err error
}

// ErrGone is the error of a sequence that nobody waits for.
var ErrGone = errors.New("nobody waits for the result")

// Width returns how many numbers come out: a vector's dimension, or 1 for a score.
func (m *Model) Width() int {
	if m.spec.Kind == manifest.Reranker {
		return 1
	}
	return m.spec.Hidden
}

// Kernels returns the name of the kernels the model was packed for.
func (m *Model) Kernels() string { return m.set.Name() }

// Check says whether tokens can be run.
func (m *Model) Check(ids, types []int32) error {
	if len(ids) == 0 {
		return errors.New("check tokens: there are none")
	}
	if len(ids) > m.spec.MaxTokens {
		return fmt.Errorf("check tokens: %d are more than the model's %d", len(ids), m.spec.MaxTokens)
	}
	if i := slices.IndexFunc(ids, func(id int32) bool { return id < 0 || int(id) >= m.spec.Vocabulary }); i >= 0 {
		return fmt.Errorf("check tokens: id %d is outside the model's vocabulary of %d", ids[i], m.spec.Vocabulary)
	}
	if m.spec.Types == 1 || types == nil {
		return nil // whatever they are, there is one row
	}
	if len(types) != len(ids) {
		return fmt.Errorf("check tokens: %d types for %d tokens", len(types), len(ids))
	}
	if i := slices.IndexFunc(types, func(t int32) bool { return t < 0 || int(t) >= m.spec.Types }); i >= 0 {
		return fmt.Errorf("check tokens: type %d is outside the model's %d", types[i], m.spec.Types)
	}
	return nil
}

// Crew runs the parts of a stage.
type Crew interface {
	// Threads is how many there are at most.
	Threads() int
	// Split calls part for each number below parts, from any of its threads, and returns when all have come back. No two
	// calls that run at the same time have the same thread.
	Split(parts int, part func(part, thread int))
}

// Alone is a crew of one: the caller.
type Alone struct{}

// Threads returns 1.
func (Alone) Threads() int { return 1 }

// Split calls one part after the other.
func (Alone) Split(parts int, part func(part, thread int)) {
	for i := range parts {
		part(i, 0)
	}
}

var _ Crew = Alone{}

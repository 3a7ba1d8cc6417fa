package vector

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// A model that has no token for so much of the passages, once so many tokens were seen, was not made for their language.
const (
	unreadableShare = 0.05
	enoughTokens    = 5000
)

// reading counts what a model was given.
type reading struct {
	tokens, unknown atomic.Int64
	told            atomic.Bool
}

func (r *reading) share() float64 {
	tokens := r.tokens.Load()
	if tokens < enoughTokens {
		return 0
	}
	return float64(r.unknown.Load()) / float64(tokens)
}

// read counts the tokens of passages, and tells once of a model that can't read them.
func (m *Models) read(ctx context.Context, name string, got provider.Embedded) {
	r := m.reading[name]
	r.tokens.Add(int64(got.Usage.Prompt))
	r.unknown.Add(int64(got.Unknown))
	if share := r.share(); share > unreadableShare && m.deps.Unreadable != nil && r.told.CompareAndSwap(false, true) {
		m.deps.Unreadable(ctx, name, share)
	}
}

// Unreadable returns the share of tokens that embedding models have nothing for, of those where it is so large that their
// vectors say little.
func (m *Models) Unreadable() map[string]float64 {
	out := make(map[string]float64)
	for _, name := range slices.Sorted(maps.Keys(m.reading)) {
		if share := m.reading[name].share(); share > unreadableShare {
			out[name] = share
		}
	}
	return out
}

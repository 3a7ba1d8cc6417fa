// Package extractive is the built-in model: it answers in the sources' own sentences. It chooses the few that answer the
// question, tells them in the order they stand in their document, each followed by its [n], and abstains, naming what is
// missing, when there are none. It is labelled so and invents nothing; it needs no network, no weights and no key, which is
// why it is also the last rung of every route.
package extractive

import (
	"context"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Name is the provider's name, and of its one model.
const Name = "extractive"

// Model is the built-in model. The zero value is ready; it is safe for concurrent use.
type Model struct{}

var _ provider.Provider = Model{}

// Generate answers r from its sources, sentence by sentence.
func (Model) Generate(ctx context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	if r.Schema != nil || len(r.Tools) > 0 {
		return provider.Result{}, fault.New(fault.Precondition, fault.ProviderRejected, "the built-in model answers in sentences of the sources: no JSON, no tools")
	}
	answer := compose(r.Ask)
	var told strings.Builder
	for _, s := range answer.sentences {
		if err := ctx.Err(); err != nil {
			return provider.Result{}, err
		}
		told.WriteString(s)
		if err := emit(provider.Piece{Text: s}); err != nil {
			return provider.Result{}, err
		}
	}
	finish := provider.Stop
	if answer.abstained {
		finish = provider.Abstained
	}
	return provider.Result{Finish: finish, Usage: provider.Estimate(r.Messages, told.String())}, nil
}

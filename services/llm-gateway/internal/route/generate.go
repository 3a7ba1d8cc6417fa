package route

import (
	"context"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Sink takes an answer: Started once, then text in order. An error ends the answer.
type Sink interface {
	Started(s Started) error
	Text(text string) error
}

// Generate answers request over the named route.
func (r *Router) Generate(ctx context.Context, name string, o CallOptions, request provider.Request, sink Sink) (Outcome, error) {
	o.Attributes = append(o.Attributes[:len(o.Attributes):len(o.Attributes)], attribute.Int("gen_ai.request.max_tokens", request.MaxTokens))
	if request.Temperature != nil {
		o.Attributes = append(o.Attributes, attribute.Float64("gen_ai.request.temperature", *request.Temperature))
	}
	return r.Do(ctx, name, o, pieces(request, sink))
}

// pieces asks targets through their Provider and hands the text to sink.
func pieces(request provider.Request, sink Sink) Attempt {
	return func(ctx context.Context, t Target, try *Try) (provider.Result, error) {
		request.Model = t.Model
		var sinkErr error
		begin := func(text bool) error {
			sinkErr = sink.Started(try.Begin(text))
			return sinkErr
		}
		result, err := provider.Generate(ctx, t.Provider, request, func(p provider.Piece) error {
			try.Pause()
			defer try.Alive()
			if p.Text == "" {
				return nil
			}
			if !try.Begun() {
				if err := begin(true); err != nil {
					return err
				}
			}
			sinkErr = sink.Text(p.Text)
			return sinkErr
		})
		switch {
		case sinkErr != nil:
			return result, sinkErr
		case err == nil && !try.Begun():
			return result, begin(false) // an answer without text
		}
		return result, err
	}
}

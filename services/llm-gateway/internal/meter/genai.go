package meter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// genAI are the metrics of OpenTelemetry's conventions for generative models, beside ragmesh's own: what boards of others know.
type genAI struct {
	duration, first, perToken metric.Float64Histogram
	tokens                    metric.Int64Histogram
	// sets are the attributes of an operation at a target, by outcome or kind of token: making them anew costs more than counting.
	sets sync.Map // setKey to metric.MeasurementOption
}

type setKey struct{ operation, provider, model, name, value string }

func newGenAI(m metric.MeterProvider) (*genAI, error) {
	meter := m.Meter("github.com/ragmesh/ragmesh/services/llm-gateway")
	g := &genAI{}
	var errs [4]error
	seconds := metric.WithExplicitBucketBoundaries(.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
	g.duration, errs[0] = meter.Float64Histogram("gen_ai.client.operation.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("Time of calls to providers, by operation (chat, embeddings, rerank), provider, model and error."))
	g.first, errs[1] = meter.Float64Histogram("gen_ai.server.time_to_first_token", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10),
		metric.WithDescription("Time from a call to a provider to its first token, of streams, by provider and model."))
	g.perToken, errs[2] = meter.Float64Histogram("gen_ai.server.time_per_output_token", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5),
		metric.WithDescription("Time of each token after a provider's first one, of streams, by provider and model."))
	g.tokens, errs[3] = meter.Int64Histogram("gen_ai.client.token.usage", metric.WithUnit("{token}"),
		metric.WithExplicitBucketBoundaries(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304),
		metric.WithDescription("Tokens of calls to providers, by operation, provider, model and type (input, output)."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return g, nil
}

// chat is the operation of answers, as the conventions name it.
const chat = "chat"

// of returns the attributes of measurements of an operation at a target.
func (g *genAI) of(operation string, r route.Rung, name, value string) metric.MeasurementOption {
	key := setKey{operation, r.Provider, r.Model, name, value}
	if found, ok := g.sets.Load(key); ok {
		return found.(metric.MeasurementOption) //nolint:forcetypeassert // nothing else is in there
	}
	attributes := []attribute.KeyValue{
		attribute.String("gen_ai.operation.name", operation), attribute.String("gen_ai.provider.name", r.Provider), attribute.String("gen_ai.request.model", r.Model),
	}
	if name != "" {
		attributes = append(attributes, attribute.String(name, value))
	}
	set := metric.WithAttributeSet(attribute.NewSet(attributes...))
	g.sets.Store(key, set)
	return set
}

// Answered measures a try at an answer: how it ended, and when the first of its text came, 0 for an answer that came as a whole
// or not at all.
func (m *Meter) Answered(t route.Tried, first time.Duration) {
	ctx, g := context.Background(), m.genAI
	g.took(chat, t)
	if first > 0 {
		plain := g.of(chat, t.Rung, "", "")
		g.first.Record(ctx, first.Seconds(), plain)
		if t.Usage.Completion > 1 && t.Took > first {
			g.perToken.Record(ctx, (t.Took-first).Seconds()/float64(t.Usage.Completion-1), plain)
		}
	}
	if t.Usage.Prompt+t.Usage.Completion > 0 {
		g.tokens.Record(ctx, int64(t.Usage.Prompt), g.of(chat, t.Rung, "gen_ai.token.type", "input"))
		g.tokens.Record(ctx, int64(t.Usage.Completion), g.of(chat, t.Rung, "gen_ai.token.type", "output"))
	}
}

// Called measures a call for vectors or scores: what it is called, how it ended, and how many tokens went in. None come out.
func (m *Meter) Called(operation string, t route.Tried) {
	m.genAI.took(operation, t)
	if t.Usage.Prompt > 0 {
		m.genAI.tokens.Record(context.Background(), int64(t.Usage.Prompt), m.genAI.of(operation, t.Rung, "gen_ai.token.type", "input"))
	}
}

// took records how long a call was under way, by how it ended.
func (g *genAI) took(operation string, t route.Tried) {
	name, value := "", ""
	if !provider.Ended(t.Outcome) {
		name, value = "error.type", t.Outcome
	}
	g.duration.Record(context.Background(), t.Took.Seconds(), g.of(operation, t.Rung, name, value))
}

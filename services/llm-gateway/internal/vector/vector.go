// Package vector is what retrieval asks of models: vectors of texts, and scores of texts against a query. A model's texts go
// to its provider in batches it takes; what passes by itself, a busy or restarting provider, is waited for within the
// caller's time.
package vector

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// Purpose is what a text is embedded for.
type Purpose uint8

// The purposes of a text.
const (
	Symmetric Purpose = iota
	Query
	Passage
)

// Embedding is a configured embedding model.
type Embedding struct {
	Provider string // its name
	Embedder provider.Embedder
	Model    string // the provider's own name
	// Dimensions that vectors must have; 0 for whatever comes. Shorten asks the provider for that many.
	Dimensions int
	Shorten    bool
	// Revision tells apart what one name stood for at different times.
	Revision string
	// QueryPrefix and PassagePrefix stand before texts, as the model was trained with.
	QueryPrefix, PassagePrefix string
	// BatchTexts and BatchBytes bound what one call to the provider holds.
	BatchTexts, BatchBytes int
	Price                  float64 // per million tokens
}

// revision names the space of the model's vectors: everything that goes into them.
func (e Embedding) revision() string {
	text, _ := json.Marshal([]any{e.Model, e.Dimensions, e.Shorten, e.Revision, e.QueryPrefix, e.PassagePrefix})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Reranker is a configured rerank model.
type Reranker struct {
	Provider string
	Reranker provider.Reranker
	Model    string
	Price    float64
}

// Config is the models by name.
type Config struct {
	Embeddings map[string]Embedding
	Rerankers  map[string]Reranker
	// DefaultEmbedding and DefaultReranker may be empty when there are none.
	DefaultEmbedding, DefaultReranker string
	// Timeout bounds one call to a provider.
	Timeout time.Duration
}

// Meter counts calls. Outcome is stop or a fault's reason.
type Meter interface {
	Tried(r route.Rung, outcome string, took time.Duration)
	Tokens(r route.Rung, u provider.Usage)
	// Called is Tried by OpenTelemetry's conventions, with the operation that they name: embeddings, or rerank, which they have no
	// name for yet.
	Called(operation string, t route.Tried)
}

// Deps is what Models work with.
type Deps struct {
	Meter  Meter
	Tracer trace.Tracer
	Clock  func() time.Time
	Slots  route.Slots
	// Book is who pays goes by; nil for nobody.
	Book *account.Book
	// Unreadable is told once of an embedding model that has no tokens for a share of what it is given; nil for nobody.
	Unreadable func(ctx context.Context, model string, share float64)
}

// Models knows the models. Safe for concurrent use.
type Models struct {
	cfg     Config
	deps    Deps
	reading map[string]*reading // by embedding model
}

// New returns the models of a configuration.
func New(c Config, d Deps) *Models {
	if d.Book == nil {
		d.Book = account.Free()
	}
	m := &Models{cfg: c, deps: d, reading: make(map[string]*reading)}
	for name := range c.Embeddings {
		m.reading[name] = &reading{}
	}
	return m
}

// Listed is a model as lists show it.
type Listed struct{ Name, Provider, Model string }

// Embeddings lists the embedding models by name.
func (m *Models) Embeddings() (models []Listed, byDefault string) {
	for _, name := range slices.Sorted(maps.Keys(m.cfg.Embeddings)) {
		models = append(models, Listed{name, m.cfg.Embeddings[name].Provider, m.cfg.Embeddings[name].Model})
	}
	return models, m.cfg.DefaultEmbedding
}

// Rerankers lists the rerank models by name.
func (m *Models) Rerankers() (models []Listed, byDefault string) {
	for _, name := range slices.Sorted(maps.Keys(m.cfg.Rerankers)) {
		models = append(models, Listed{name, m.cfg.Rerankers[name].Provider, m.cfg.Rerankers[name].Model})
	}
	return models, m.cfg.DefaultReranker
}

// Embedded are a request's vectors.
type Embedded struct {
	Model, Revision string
	Vectors         [][]float32 // of length 1
	Usage           provider.Usage
}

// Embed makes a vector of each text.
func (m *Models) Embed(ctx context.Context, who account.Who, name string, purpose Purpose, texts []string) (Embedded, error) {
	name = cmp.Or(name, m.cfg.DefaultEmbedding)
	e, ok := m.cfg.Embeddings[name]
	if !ok {
		return Embedded{}, missing(name, "embedding", "embeddings")
	}
	prefix := map[Purpose]string{Query: e.QueryPrefix, Passage: e.PassagePrefix}[purpose]
	if prefix != "" {
		texts = slices.Clone(texts)
		for i := range texts {
			texts[i] = prefix + texts[i]
		}
	}
	out := Embedded{Model: name, Revision: e.revision(), Vectors: make([][]float32, 0, len(texts))}
	entry, err := m.deps.Book.Open(ctx, who, name, provider.EstimateTexts(texts))
	if err != nil {
		return Embedded{}, err
	}
	defer entry.Close()
	err = m.call(ctx, entry, embeddings, e.about(len(texts)), route.Rung{Route: name, Provider: e.Provider, Model: e.Model}, e.Price, &out.Usage, func(ctx context.Context, attempt func(func(context.Context) (provider.Usage, error)) error) error {
		for len(texts) > 0 {
			n := batch(texts, e.BatchTexts, e.BatchBytes)
			err := attempt(func(ctx context.Context) (provider.Usage, error) {
				shorten := 0
				if e.Shorten {
					shorten = e.Dimensions
				}
				got, err := e.Embedder.Embed(ctx, provider.EmbedRequest{Model: e.Model, Texts: texts[:n], Dimensions: shorten, Urgent: purpose == Query})
				if err != nil {
					return provider.Usage{}, err
				}
				if err := e.check(got.Vectors, out.Vectors); err != nil {
					return provider.Usage{}, err
				}
				if purpose == Passage {
					m.read(ctx, name, got)
				}
				for _, v := range got.Vectors {
					out.Vectors = append(out.Vectors, unit(v))
				}
				return got.Usage, nil
			})
			if err != nil {
				return err
			}
			texts = texts[n:]
		}
		return nil
	})
	return out, err
}

// about is what an embedding's span says of it.
func (e Embedding) about(texts int) []attribute.KeyValue {
	about := []attribute.KeyValue{attribute.Int("ragmesh.llm.texts", texts)}
	if e.Dimensions > 0 {
		about = append(about, attribute.Int("gen_ai.embeddings.dimension.count", e.Dimensions))
	}
	return about
}

// check compares the dimension of what came with what was configured and what came before.
func (e Embedding) check(got, before [][]float32) error {
	dimension := len(got[0])
	want := e.Dimensions
	if len(before) > 0 {
		want = len(before[0])
	}
	if want != 0 && want != dimension {
		return fault.New(fault.Precondition, fault.ProviderRejected,
			"the embedding model sends vectors of %d dimensions, not %d; correct dimensions of the model in llm-gateway.yaml, or the model", dimension, want)
	}
	return nil
}

// batch says how many texts go into the next call: at least one.
func batch(texts []string, most, bytes int) int {
	n, size := 0, 0
	for n < len(texts) && n < most {
		if size += len(texts[n]); size > bytes && n > 0 {
			break
		}
		n++
	}
	return n
}

// unit makes a vector's length 1.
func unit(v []float32) []float32 {
	sum := 0.0
	for _, f := range v {
		sum += float64(f) * float64(f)
	}
	scale := 1 / math.Sqrt(sum)
	for i, f := range v {
		v[i] = float32(float64(f) * scale)
	}
	return v
}

// Reranked are a request's scores.
type Reranked struct {
	Model  string
	Scores []float64
	Usage  provider.Usage
}

// Rerank scores texts against a query.
func (m *Models) Rerank(ctx context.Context, who account.Who, name, query string, texts []string) (Reranked, error) {
	name = cmp.Or(name, m.cfg.DefaultReranker)
	r, ok := m.cfg.Rerankers[name]
	if !ok {
		return Reranked{}, missing(name, "rerank", "rerankers")
	}
	out := Reranked{Model: name}
	estimate := provider.EstimateTexts(append([]string{query}, texts...))
	entry, err := m.deps.Book.Open(ctx, who, name, estimate)
	if err != nil {
		return Reranked{}, err
	}
	defer entry.Close()
	err = m.call(ctx, entry, rerank, []attribute.KeyValue{attribute.Int("ragmesh.llm.texts", len(texts))}, route.Rung{Route: name, Provider: r.Provider, Model: r.Model}, r.Price, &out.Usage, func(ctx context.Context, attempt func(func(context.Context) (provider.Usage, error)) error) error {
		return attempt(func(ctx context.Context) (provider.Usage, error) {
			got, err := r.Reranker.Rerank(ctx, provider.RerankRequest{Model: r.Model, Query: query, Texts: texts})
			out.Scores = got.Scores
			return got.Usage, err
		})
	})
	return out, err
}

func missing(name, kind, section string) error {
	if name == "" {
		return fault.New(fault.Precondition, fault.ModelNotFound, "no %s model is configured; %s of llm-gateway.yaml names them", kind, section)
	}
	return fault.New(fault.NotFound, fault.ModelNotFound, "there is no %s model %q; ListModels names those there are", kind, name)
}

// The operations, as spans and metrics name them.
const (
	embeddings = "embeddings"
	rerank     = "rerank"
)

const (
	// attempts is how often a provider is asked for the same.
	attempts = 3
	// firstWait is before the second attempt where the provider doesn't say; it doubles.
	firstWait = 250 * time.Millisecond
	// longestWait is the most that is waited here: who calls can wait longer, and knows what for.
	longestWait = 10 * time.Second
)

// call runs do within a slot and a span, metered.
func (m *Models) call(
	ctx context.Context, entry *account.Entry, operation string, about []attribute.KeyValue, place route.Rung, price float64, used *provider.Usage,
	do func(ctx context.Context, attempt func(func(context.Context) (provider.Usage, error)) error) error,
) error {
	select {
	case m.deps.Slots <- struct{}{}:
		defer func() { <-m.deps.Slots }()
	default:
		return fault.New(fault.Exhausted, fault.Overloaded, "%d embedding and rerank calls are under way already; try again shortly", cap(m.deps.Slots)).
			WithRetryAfter(time.Second)
	}
	ctx, span := m.deps.Tracer.Start(ctx, operation+" "+place.Model, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("gen_ai.operation.name", operation),
		attribute.String("gen_ai.provider.name", place.Provider),
		attribute.String("gen_ai.request.model", place.Model),
		attribute.String("ragmesh.llm.route", place.Route),
	), trace.WithAttributes(about...))
	defer span.End()
	err := do(ctx, func(try func(context.Context) (provider.Usage, error)) error {
		return m.repeat(ctx, operation, place, entry.Asking(), func(ctx context.Context) (provider.Usage, error) {
			u, err := try(ctx)
			if err == nil {
				u.CostMicros = uint64(math.Round(float64(u.Prompt) * price))
				m.deps.Meter.Tokens(place, u)
				used.Prompt += u.Prompt
				used.CostMicros += u.CostMicros
				used.Estimated = used.Estimated || u.Estimated
			}
			return u, err
		})
	})
	span.SetAttributes(attribute.Int("gen_ai.usage.input_tokens", used.Prompt)) // of the batches that were done
	if err != nil {
		outcome := fault.ReasonName(fault.ReasonOf(err))
		span.SetStatus(codes.Error, outcome)
		span.SetAttributes(attribute.String("error.type", outcome))
	}
	return err
}

// repeat tries until it succeeds, fails for good, or waiting would take longer than there is time.
func (m *Models) repeat(ctx context.Context, operation string, place route.Rung, ledger route.Ledger, try func(context.Context) (provider.Usage, error)) error {
	wait := firstWait
	for n := 1; ; n++ {
		began := m.deps.Clock()
		bounded, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
		used, err := try(bounded)
		if err != nil && ctx.Err() == nil && bounded.Err() != nil {
			err = fault.Wrap(err, fault.Unavailable, fault.ProviderUnavailable, "the model's provider did not answer within %v", m.cfg.Timeout)
		}
		cancel()
		outcome := "stop"
		if err != nil {
			outcome = fault.ReasonName(fault.ReasonOf(err))
		}
		took := m.deps.Clock().Sub(began)
		m.deps.Meter.Tried(place, outcome, took)
		m.deps.Meter.Called(operation, route.Tried{Rung: place, Outcome: outcome, Usage: used, Took: took})
		ledger.Tried(place, outcome, used, took)
		if err == nil || ctx.Err() != nil {
			return cmp.Or(ctx.Err(), err)
		}
		kind := fault.KindOf(err)
		next := max(wait, fault.As(err).RetryAfter)
		at, bound := ctx.Deadline()
		if kind != fault.Unavailable && kind != fault.Exhausted || n == attempts || next > longestWait || bound && time.Until(at) < next {
			return err
		}
		if repeat.Pause(ctx, next) != nil {
			return fmt.Errorf("wait for the provider: %w", ctx.Err())
		}
		wait *= 2
	}
}

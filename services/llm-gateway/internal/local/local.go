// Package local runs small models in this process: sentence-transformers that make vectors and cross-encoders that rerank,
// from a folder as Hugging Face has it. There is no cgo, no server and no download. Where to look:
//
//	manifest   what the folder says of the model: its size, pooling, longest text, prompts
//	weights    tensors from safetensors files
//	token      texts to ids
//	bert       the layers
//	kernel     the arithmetic, by processor
//	queue      which text goes first, on which threads
package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/queue"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/token"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/weights"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Tokenizer turns texts into at most so many ids.
type Tokenizer interface {
	Encode(text string, limit int) token.Encoding
	EncodePair(a, b string, limit int) token.Encoding
	// Size is what ids are below.
	Size() int
}

// Options is how a model runs. The zero value is good.
type Options struct {
	// Threads is how many work at most; 0 for as many as Go runs at once.
	Threads int
	// Kernels names a set of package kernel, for tests and comparisons; empty for the best this processor has.
	Kernels string
	// WaitingTokens is how many may wait before calls are refused; 0 for a million.
	WaitingTokens int
	// Tokenizer loads a folder's tokenizer; nil for package token's.
	Tokenizer func(dir string) (Tokenizer, error)
}

// waitingTokens are four megabytes of ids.
const waitingTokens = 1 << 20

// Model is an open model. Safe for concurrent use.
type Model struct {
	facts  Facts
	model  *bert.Model
	tokens Tokenizer
	queue  *queue.Queue
	blank  int // tokens that an empty text has
}

// Facts is what there is to know of a model.
type Facts struct {
	Kind manifest.Kind
	// Hash tells models apart: vectors of different ones must not be compared. It covers the weights, the tokenizer, the pooling,
	// the normalisation and the length.
	Hash string
	// WeightsSHA256 is that of the weights' file, as its publisher states it; hexadecimal.
	WeightsSHA256 string
	// Dimension is how many numbers a vector has; 0 for a reranker.
	Dimension int
	// MaxTokens is how long a text may be, special tokens counted; what is longer is cut off.
	MaxTokens  int
	Pooling    manifest.Pooling
	Normalized bool
	// Prompts are what the folder says stands before texts, by what they are for; QueryPrompt and PassagePrompt those of search.
	Prompts                    map[string]string
	QueryPrompt, PassagePrompt string
	// Kernels is what it runs on.
	Kernels string
}

// Open loads the model of a folder. Close gives back what it takes.
func Open(dir string, o Options) (*Model, error) {
	m, err := open(dir, o)
	if err != nil {
		return nil, fault.New(fault.Precondition, fault.ConfigInvalid, "the local model can't be used: %v", err)
	}
	return m, nil
}

func open(dir string, o Options) (*Model, error) {
	set, err := kernel.Named(o.Kernels)
	if err != nil {
		return nil, err
	}
	spec, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	tokens, err := tokenizer(dir, o)
	if err != nil {
		return nil, err
	}
	if tokens.Size() > spec.Vocabulary {
		return nil, fmt.Errorf("read model folder %s: the tokenizer has %d ids, the model %d", dir, tokens.Size(), spec.Vocabulary)
	}
	m := &Model{tokens: tokens, blank: len(tokens.Encode("", spec.MaxTokens).IDs)}
	summed := make(chan error, 1)
	var found sums
	go func() {
		var err error
		found, err = hash(dir, spec)
		summed <- err
	}()
	loaded, err := load(spec, set)
	if err := errors.Join(err, <-summed); err != nil {
		return nil, err
	}
	m.model, m.facts = loaded, facts(spec, found, set)
	m.queue, err = queue.New(loaded, queue.Options{
		Threads: orElse(o.Threads, runtime.GOMAXPROCS(0)), BatchTokens: queue.BatchTokens, WaitingTokens: orElse(o.WaitingTokens, waitingTokens),
	})
	return m, err
}

func tokenizer(dir string, o Options) (Tokenizer, error) {
	if o.Tokenizer != nil {
		return o.Tokenizer(dir)
	}
	return token.Load(dir)
}

func load(spec manifest.Model, set *kernel.Set) (*bert.Model, error) {
	file, err := weights.Open(spec.Weights)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return bert.Load(spec, file, set)
}

func facts(spec manifest.Model, s sums, set *kernel.Set) Facts {
	f := Facts{
		Kind: spec.Kind, Hash: s.model, WeightsSHA256: s.weights, MaxTokens: spec.MaxTokens, Pooling: spec.Pooling, Normalized: spec.Normalize,
		Prompts: spec.Prompts, QueryPrompt: spec.Prompts["query"], PassagePrompt: spec.Prompts["passage"], Kernels: set.Name(),
	}
	if f.PassagePrompt == "" {
		f.PassagePrompt = spec.Prompts["document"]
	}
	if spec.Kind == manifest.Embedder {
		f.Dimension = spec.Hidden
	}
	return f
}

func orElse(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// Facts returns what there is to know of the model.
func (m *Model) Facts() Facts {
	f := m.facts
	f.Prompts = maps.Clone(f.Prompts)
	return f
}

// Close ends the model: calls under way fail, and its threads are gone when it returns.
func (m *Model) Close() { m.queue.Close() }

// Count returns how many tokens a text has, special ones not counted and nothing cut off, and how many of them the model does not know.
func (m *Model) Count(text string) (tokens, unknown int) {
	e := m.tokens.Encode(text, max(m.facts.MaxTokens, len(text)+m.blank)) // a token is a byte at least
	return max(0, len(e.IDs)-m.blank), e.Unknown
}

var (
	_ provider.Embedder = (*Model)(nil)
	_ provider.Reranker = (*Model)(nil)
)

// Embed makes a vector of each text. A prompt, where the model has one, is the caller's to put before.
func (m *Model) Embed(ctx context.Context, r provider.EmbedRequest) (provider.Embedded, error) {
	if m.facts.Kind != manifest.Embedder {
		return provider.Embedded{}, fault.New(fault.Invalid, fault.InvalidRequest, "model %q is a reranker; it makes no vectors", r.Model)
	}
	if r.Dimensions != 0 && r.Dimensions != m.facts.Dimension {
		return provider.Embedded{}, fault.New(fault.Invalid, fault.InvalidRequest, "the vectors of model %q have %d dimensions, not %d", r.Model, m.facts.Dimension, r.Dimensions)
	}
	priority := queue.Ingestion
	if r.Urgent {
		priority = queue.Query
	}
	unknown := 0
	sequences, usage, err := m.sequences(ctx, r.Texts, func(text string) token.Encoding {
		e := m.tokens.Encode(text, m.facts.MaxTokens)
		unknown += e.Unknown
		return e
	})
	if err != nil {
		return provider.Embedded{}, err
	}
	if err := m.do(ctx, priority, sequences); err != nil {
		return provider.Embedded{}, err
	}
	out := provider.Embedded{Vectors: make([][]float32, len(sequences)), Usage: usage, Unknown: unknown}
	for i, s := range sequences {
		out.Vectors[i] = s.Out
	}
	return out, nil
}

// sequences turns texts into tokens.
func (m *Model) sequences(ctx context.Context, texts []string, encode func(string) token.Encoding) ([]*bert.Sequence, provider.Usage, error) {
	var usage provider.Usage
	sequences := make([]*bert.Sequence, len(texts))
	for i, text := range texts {
		if err := ctx.Err(); err != nil {
			return nil, usage, err
		}
		e := encode(text)
		if strings.TrimSpace(text) == "" || len(e.IDs) <= m.blank {
			return nil, usage, fault.New(fault.Invalid, fault.InvalidRequest, "text %d holds nothing that a model could read", i).
				WithField(fmt.Sprintf("texts[%d]", i), "is empty")
		}
		sequences[i] = &bert.Sequence{IDs: e.IDs, Types: e.Types, Out: make([]float32, m.model.Width())}
		usage.Prompt += len(e.IDs)
	}
	return sequences, usage, nil
}

// do runs sequences, and says what went wrong in words for whoever called.
func (m *Model) do(ctx context.Context, p queue.Priority, sequences []*bert.Sequence) error {
	err := m.queue.Do(ctx, p, sequences)
	switch {
	case errors.Is(err, queue.ErrFull):
		return fault.New(fault.Exhausted, fault.Overloaded, "too many texts wait for the local model; try again shortly").WithRetryAfter(time.Second)
	case errors.Is(err, queue.ErrClosed):
		return fault.New(fault.Unavailable, fault.Draining, "the local model is being closed; try again")
	case err != nil:
		return err
	}
	for i, s := range sequences {
		if s.Err != nil {
			return fault.Wrap(s.Err, fault.Internal, fault.ProviderUnavailable, "the local model could not work on text %d", i)
		}
	}
	return nil
}

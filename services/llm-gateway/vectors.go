package llmgateway

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/vector"
)

const (
	defaultBatchTexts = 64
	defaultBatchBytes = 256 << 10
	maxBatchTexts     = 2048
	maxBatchBytes     = 16 << 20
	maxDimensions     = 8192
)

// Embedding is an embedding model.
type Embedding struct {
	Provider          string       `yaml:"provider" doc:"Name of a provider that has embedding models; or local, for a model that runs in this process."`
	Model             string       `yaml:"model" doc:"The provider's own model name; for local, the model's folder, from the configuration's folder."`
	Dimensions        int          `yaml:"dimensions" doc:"Dimensions that its vectors must have; others are refused. Count, up to 8192; 0 for whatever comes."`
	RequestDimensions bool         `yaml:"request_dimensions" doc:"Ask the provider for that many dimensions, of models that can shorten their vectors."`
	Revision          string       `yaml:"revision" doc:"Changed by hand when the provider has changed the model behind its name: documents are then embedded again. What a local model's folder holds is part of the revision by itself."`
	SHA256            string       `yaml:"sha256" doc:"SHA-256 that a local model's weights must have, in hexadecimal, as their publisher states it; empty for any."`
	QueryPrefix       string       `yaml:"query_prefix" doc:"Text before queries, as the model was trained with, e.g. 'query: '; for local, what its folder says when empty."`
	PassagePrefix     string       `yaml:"passage_prefix" doc:"Text before passages, e.g. 'passage: '; for local, what its folder says when empty."`
	BatchTexts        int          `yaml:"batch_texts" doc:"Texts in one call to the provider. Count, up to 2048; 64 when 0."`
	BatchBytes        config.Bytes `yaml:"batch_bytes" doc:"Size of the texts in one call to the provider; a single larger one goes alone. Bytes, up to 16MiB; 256KiB when 0."`
	Price             float64      `yaml:"price" doc:"What a million tokens cost, in the currency of the other prices; 0 when not known."`
}

// Reranker is a rerank model.
type Reranker struct {
	Provider string  `yaml:"provider" doc:"Name of a provider that has rerank models; or local, for a cross-encoder that runs in this process."`
	Model    string  `yaml:"model" doc:"The provider's own model name, none for tei; for local, the model's folder, from the configuration's folder."`
	SHA256   string  `yaml:"sha256" doc:"SHA-256 that a local model's weights must have, in hexadecimal; empty for any."`
	Price    float64 `yaml:"price" doc:"What a million tokens cost, in the currency of the other prices; 0 when not known."`
}

// validateVectors checks the embedding and rerank models.
func (c Config) validateVectors(check checker) {
	for name, e := range c.Embeddings {
		key := "embeddings." + name
		p, declared := c.Providers[e.Provider]
		local := c.local(e.Provider)
		check(declared || local, key+".provider", "is not declared: %q", e.Provider)
		check(!declared || p.embeds(), key+".provider", "has no embedding models: %q is of type %s", e.Provider, p.Type)
		check(e.Model != "", key+".model", "must be given: the provider's model name, or a local model's folder")
		check(e.Dimensions >= 0 && e.Dimensions <= maxDimensions, key+".dimensions", "must be 0 to %d, not %d", maxDimensions, e.Dimensions)
		check(!e.RequestDimensions || e.Dimensions > 0, key+".request_dimensions", "needs dimensions")
		check(!e.RequestDimensions || !local, key+".request_dimensions", "is not for local models: they have the dimensions they have")
		check(e.BatchTexts >= 0 && e.BatchTexts <= maxBatchTexts, key+".batch_texts", "must be 0 to %d, not %d", maxBatchTexts, e.BatchTexts)
		check(e.BatchBytes >= 0 && e.BatchBytes <= maxBatchBytes, key+".batch_bytes", "must be 0 to 16MiB")
		check(e.Price >= 0, key+".price", "must not be below 0")
		checkSum(check, key, e.SHA256, local)
	}
	for name, r := range c.Rerankers {
		key := "rerankers." + name
		p, declared := c.Providers[r.Provider]
		local := c.local(r.Provider)
		check(declared || local, key+".provider", "is not declared: %q", r.Provider)
		check(!declared || p.reranks(), key+".provider", "has no rerank models: %q is of type %s; cohere, jina, tei and local have", r.Provider, p.Type)
		check(r.Model != "" || p.Type == typeTEI, key+".model", "must be given: the provider's model name, or a local model's folder")
		check(r.Price >= 0, key+".price", "must not be below 0")
		checkSum(check, key, r.SHA256, local)
	}
	checkDefault(check, "default_embedding", c.DefaultEmbedding, slices.Sorted(maps.Keys(c.Embeddings)))
	checkDefault(check, "default_reranker", c.DefaultReranker, slices.Sorted(maps.Keys(c.Rerankers)))
}

func checkSum(check checker, key, sum string, local bool) {
	check(sum == "" || local, key+".sha256", "is for local models only")
	check(sum == "" || isSHA256(sum), key+".sha256", "must be 64 hexadecimal digits")
}

func checkDefault(check checker, key, name string, names []string) {
	if name == "" {
		check(len(names) < 2, key, "must name one of %s", strings.Join(names, ", "))
		return
	}
	check(slices.Contains(names, name), key, "is no model: %q; there are %s", name, strings.Join(names, ", "))
}

// theDefault is the model for requests that name none; empty when there is none at all.
func theDefault[M any](name string, models map[string]M) string {
	if name == "" {
		for only := range models {
			return only
		}
	}
	return name
}

// vectorModels makes the embedding and rerank models.
func (s *Service) vectorModels(cfg Config, providers map[string]*client) *vector.Models {
	out := vector.Config{
		Embeddings: map[string]vector.Embedding{}, Rerankers: map[string]vector.Reranker{}, Timeout: cfg.Limits.Vector,
		DefaultEmbedding: theDefault(cfg.DefaultEmbedding, cfg.Embeddings), DefaultReranker: theDefault(cfg.DefaultReranker, cfg.Rerankers),
	}
	for name, e := range cfg.Embeddings {
		made := vector.Embedding{
			Provider: e.Provider, Model: e.Model, Dimensions: e.Dimensions, Shorten: e.RequestDimensions,
			Revision: e.Revision, QueryPrefix: e.QueryPrefix, PassagePrefix: e.PassagePrefix,
			BatchTexts: cmp.Or(e.BatchTexts, defaultBatchTexts), BatchBytes: cmp.Or(int(e.BatchBytes), defaultBatchBytes), Price: e.Price,
		}
		if cfg.local(e.Provider) {
			s.asLocal(&made, providers)
		} else {
			made.Embedder = providers[e.Provider].embeds
		}
		out.Embeddings[name] = made
	}
	for name, r := range cfg.Rerankers {
		made := vector.Reranker{Provider: r.Provider, Model: r.Model, Price: r.Price}
		if cfg.local(r.Provider) {
			c := providers[localKey(s.folder(r.Model))]
			made.Reranker, made.Model = c.reranks, folderName(r.Model)
		} else {
			made.Reranker = providers[r.Provider].reranks
		}
		out.Rerankers[name] = made
	}
	return vector.New(out, vector.Deps{
		Meter: s.meter, Tracer: s.deps.Telemetry.Tracer.Tracer("github.com/ragmesh/ragmesh/services/llm-gateway"), Clock: s.deps.Clock, Slots: s.vectors,
		Book: s.book, Unreadable: s.unreadable,
	})
}

package llmgateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/vector"
)

// localProvider is the built-in provider of models that run in this process. A declared provider of that name hides it.
const localProvider = "local"

// local says whether a provider is the built-in one.
func (c Config) local(name string) bool {
	_, declared := c.Providers[name]
	return name == localProvider && !declared
}

// localKey is where a local model stands among the clients: no configured name begins so.
func localKey(folder string) string { return "local " + folder }

// folder is where a model lies: paths in the configuration begin at its folder.
func (s *Service) folder(model string) string {
	if filepath.IsAbs(model) {
		return filepath.Clean(model)
	}
	return filepath.Join(s.deps.ConfigDir, model)
}

// folderName is a model's name in metrics and traces.
func folderName(model string) string { return filepath.Base(filepath.Clean(model)) }

// openLocal adds the local models: those that are open already, as long as their folders have the same names.
func (s *Service) openLocal(cfg Config, out map[string]*client) error {
	open := func(key, provider, model, sum string, kind manifest.Kind) error {
		if !cfg.local(provider) {
			return nil
		}
		folder := s.folder(model)
		c, ok := out[localKey(folder)]
		if !ok {
			c, ok = s.providers[localKey(folder)]
		}
		if !ok {
			m, err := local.Open(folder, local.Options{})
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			c = &client{embeds: m, reranks: m, local: m, close: m.Close}
		}
		out[localKey(folder)] = c
		if got := c.local.Facts().Kind; got != kind {
			return config.Invalid(key+".model", "is a folder with a model of another kind: %s, not %s", got, kind)
		}
		if got := c.local.Facts().WeightsSHA256; sum != "" && !strings.EqualFold(got, sum) {
			return config.Invalid(key+".sha256", "is not that of the weights in the folder, %s: the file is damaged, or another model", got)
		}
		return nil
	}
	for name, e := range cfg.Embeddings {
		if err := open("embeddings."+name, e.Provider, e.Model, e.SHA256, manifest.Embedder); err != nil {
			return err
		}
		if c := out[localKey(s.folder(e.Model))]; c != nil && e.Dimensions != 0 && e.Dimensions != c.local.Facts().Dimension {
			return config.Invalid("embeddings."+name+".dimensions", "must be %d, which the model has, not %d", c.local.Facts().Dimension, e.Dimensions)
		}
	}
	for name, r := range cfg.Rerankers {
		if err := open("rerankers."+name, r.Provider, r.Model, r.SHA256, manifest.Reranker); err != nil {
			return err
		}
	}
	return nil
}

// asLocal completes an embedding model by what its folder says. The folder's content is part of the revision, its place is not.
func (s *Service) asLocal(e *vector.Embedding, providers map[string]*client) {
	c := providers[localKey(s.folder(e.Model))]
	facts := c.local.Facts()
	e.Embedder, e.Model, e.Dimensions = c.embeds, folderName(e.Model), facts.Dimension
	e.Revision = strings.TrimSuffix(facts.Hash+" "+e.Revision, " ")
	e.QueryPrefix, e.PassagePrefix = cmp.Or(e.QueryPrefix, facts.QueryPrompt), cmp.Or(e.PassagePrefix, facts.PassagePrompt)
}

// closeUnused closes what was made for a configuration that is not used.
func (s *Service) closeUnused(made map[string]*client) {
	for name, c := range made {
		if s.providers[name] != c {
			c.close()
		}
	}
}

func isSHA256(sum string) bool {
	raw, err := hex.DecodeString(sum)
	return err == nil && len(raw) == sha256.Size
}

// unreadable warns that a model can't read what it is given.
func (s *Service) unreadable(ctx context.Context, model string, share float64) {
	log := s.deps.Telemetry.Logger(ctx)
	log.Warn().Str("model", model).Float64("unknown_share", share).
		Msg("the embedding model has no tokens for much of the documents: it was not made for their language, and its vectors say little")
}

package llmgateway

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Provider says where a provider is.
type Provider struct {
	Type            string        `yaml:"type" oneof:"openai,cohere,jina,tei" doc:"Wire format: openai is chat completions and embeddings as OpenAI, vLLM, Ollama, llama.cpp, DeepSeek and Qwen speak them; cohere, jina and tei (text-embeddings-inference) are their rerank APIs, with openai's embeddings for jina and tei."`
	BaseURL         string        `yaml:"base_url" doc:"Address before /chat/completions, /embeddings or /rerank, e.g. https://api.openai.com/v1."`
	Key             config.Secret `yaml:"key" doc:"API key; none for servers that want none."`
	LegacyMaxTokens bool          `yaml:"legacy_max_tokens" doc:"Send max_tokens instead of max_completion_tokens, for older servers."`
	PlainFloats     bool          `yaml:"plain_floats" doc:"Ask for vectors as numbers, for servers that can't send them in base64."`
	MaxConnections  int           `yaml:"max_connections" doc:"Connections to the provider. Count, up to 1024; 64 when 0."`
	Concurrent      int           `yaml:"concurrent" doc:"Its answers under way; more wait in a line that workspaces and keys share fairly. Count, up to 10000; max_connections when 0."`
}

// The types of provider.
const (
	typeOpenAI = "openai"
	typeCohere = "cohere"
	typeJina   = "jina"
	typeTEI    = "tei"
)

const defaultConnections = 64

func (p Provider) chats() bool  { return p.Type == typeOpenAI || p.Type == "" }
func (p Provider) embeds() bool { return p.chats() || p.Type == typeJina || p.Type == typeTEI }
func (p Provider) reranks() bool {
	return p.Type == typeCohere || p.Type == typeJina || p.Type == typeTEI
}

// validateProviders checks the providers.
func (c Config) validateProviders(check checker) {
	_, taken := c.Providers[extractive.Name]
	check(!taken, "providers."+extractive.Name, "is the built-in provider's name; choose another")
	for name, p := range c.Providers {
		check(p.BaseURL != "", "providers."+name+".base_url", "must be given, e.g. https://api.openai.com/v1")
		check(p.Concurrent >= 0 && p.Concurrent <= 10_000, "providers."+name+".concurrent", "must be 0 to 10000, not %d", p.Concurrent)
		check(p.MaxConnections >= 0 && p.MaxConnections <= 1024, "providers."+name+".max_connections", "must be 0 to 1024, not %d", p.MaxConnections)
	}
}

// client speaks to a configured provider. What its type can't do is nil; Validate has seen to it that nothing asks for that.
type client struct {
	cfg Provider
	// revision changes when cfg does.
	revision string
	chats    provider.Provider
	embeds   provider.Embedder
	reranks  provider.Reranker
	// close lets go of idle connections.
	close func()
}

// clients returns a client for every provider: the one there is where nothing about it has changed.
func (s *Service) clients(cfg Config) (map[string]*client, error) {
	out := make(map[string]*client)
	for name, p := range cfg.Providers {
		if c, ok := s.providers[name]; ok && c.cfg == p {
			out[name] = c
			continue
		}
		made, err := openai.New(openai.Config{
			BaseURL: p.BaseURL, Key: p.Key, LegacyMaxTokens: p.LegacyMaxTokens, MaxConnections: cmp.Or(p.MaxConnections, defaultConnections),
			PlainFloats: p.PlainFloats,
			Rerank:      map[string]openai.RerankFormat{typeCohere: openai.Cohere, typeJina: openai.Jina, typeTEI: openai.TEI}[p.Type],
		}, s.deps.Clock)
		if err != nil {
			return nil, fmt.Errorf("providers.%s.%w", name, err)
		}
		s.made++
		out[name] = &client{cfg: p, revision: strconv.Itoa(s.made), chats: made, embeds: made, reranks: made, close: made.Close}
	}
	return out, nil
}

package llmgateway

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/anthropic"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/bedrock"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/google"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ollama"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Provider says where a provider is.
type Provider struct {
	Type            string        `yaml:"type" oneof:"openai,azure,anthropic,google,ollama,bedrock,cohere,jina,tei" doc:"Wire format: openai is chat completions and embeddings as OpenAI, vLLM, llama.cpp, DeepSeek, Qwen, Ollama under /v1 and others speak them; azure is Azure OpenAI, whose models are the resource's deployments; anthropic the messages API; google the Gemini API; ollama its own API; bedrock Amazon Bedrock; cohere, jina and tei (text-embeddings-inference) are their rerank APIs, with openai's embeddings for jina and tei. openai where it is not given."`
	BaseURL         string        `yaml:"base_url" doc:"Address before /chat/completions, /embeddings, /rerank, /messages (anthropic) or /models (google), e.g. https://api.openai.com/v1; for azure the resource's, e.g. https://NAME.openai.azure.com; for ollama the server's, e.g. http://ollama:11434. Empty for Anthropic's, Google's and Amazon's own."`
	Key             config.Secret `yaml:"key" doc:"API key; none for servers that want none, and for bedrock, which takes the identity of the process."`
	APIVersion      string        `yaml:"api_version" doc:"For azure: version of the API; 2024-10-21 when empty."`
	Region          string        `yaml:"region" doc:"For bedrock: Amazon's region, e.g. eu-central-1."`
	Context         int           `yaml:"context" doc:"For ollama: context that models are loaded with; longer prompts are cut without a word. Tokens, up to 10000000; 0 for Ollama's own default, which is short."`
	LegacyMaxTokens bool          `yaml:"legacy_max_tokens" doc:"For openai and azure: send max_tokens instead of max_completion_tokens, for older servers."`
	PlainFloats     bool          `yaml:"plain_floats" doc:"Ask for vectors as numbers, for servers that can't send them in base64."`
	WithoutTools    bool          `yaml:"without_tools" doc:"For openai and azure: requests with tools are refused here, for servers that would ignore the tools; the next target may have them. Earlier calls in a conversation that asks for none now are told as text."`
	WithoutSchema   bool          `yaml:"without_schema" doc:"The same of requests for an answer that keeps to a JSON Schema."`
	MaxConnections  int           `yaml:"max_connections" doc:"Connections to the provider. Count, up to 1024; 64 when 0."`
	Concurrent      int           `yaml:"concurrent" doc:"Its answers under way; more wait in a line that workspaces and keys share fairly. Count, up to 10000; max_connections when 0."`
}

// The types of provider.
const (
	typeOpenAI    = "openai"
	typeAzure     = "azure"
	typeAnthropic = "anthropic"
	typeGoogle    = "google"
	typeOllama    = "ollama"
	typeBedrock   = "bedrock"
	typeCohere    = "cohere"
	typeJina      = "jina"
	typeTEI       = "tei"
)

// kind is what providers of a type can do, and need.
type kind struct {
	chats, embeds, reranks bool
	// base is the address where none is configured; empty where one must be.
	base string
	// example is one.
	example string
	// openai says that they speak OpenAI's format, and have its variants.
	openai bool
}

var kinds = map[string]kind{
	typeOpenAI:    {chats: true, embeds: true, openai: true, example: "https://api.openai.com/v1"},
	typeAzure:     {chats: true, embeds: true, openai: true, example: "https://NAME.openai.azure.com"},
	typeAnthropic: {chats: true, base: anthropic.BaseURL},
	typeGoogle:    {chats: true, embeds: true, base: google.BaseURL},
	typeOllama:    {chats: true, embeds: true, example: "http://ollama:11434"},
	typeBedrock:   {chats: true},
	typeCohere:    {reranks: true, example: "https://api.cohere.com/v2"},
	typeJina:      {embeds: true, reranks: true, example: "https://api.jina.ai/v1"},
	typeTEI:       {embeds: true, reranks: true, example: "http://tei:8080"},
}

const (
	defaultConnections  = 64
	defaultAzureVersion = "2024-10-21"
	maxContext          = 10_000_000
)

func (p Provider) kind() kind    { return kinds[cmp.Or(p.Type, typeOpenAI)] }
func (p Provider) chats() bool   { return p.kind().chats }
func (p Provider) embeds() bool  { return p.kind().embeds }
func (p Provider) reranks() bool { return p.kind().reranks }
func (p Provider) base() string  { return cmp.Or(p.BaseURL, p.kind().base) }

// validateProviders checks the providers.
func (c Config) validateProviders(check checker) {
	_, taken := c.Providers[extractive.Name]
	check(!taken, "providers."+extractive.Name, "is the built-in provider's name; choose another")
	for name, p := range c.Providers {
		p.validate("providers."+name, check)
	}
}

func (p Provider) validate(key string, check checker) {
	k, base := p.kind(), p.base()
	check(base != "" || p.Type == typeBedrock, key+".base_url", "must be given, e.g. %s", k.example)
	check(base == "" || exchange.Valid(base), key+".base_url", "must be an http(s) address without user and query, e.g. %s", cmp.Or(k.example, k.base))
	check(p.Type != typeAzure || !strings.Contains(base, "/openai"), key+".base_url", "must be the resource's address alone, e.g. %s; for Azure's address that ends in /openai/v1 the type is openai", k.example)
	check(p.Type != typeAzure || !p.Key.IsZero(), key+".key", "must be given for azure")
	check(k.base == "" || base != k.base || !p.Key.IsZero(), key+".key", "must be given for %s", k.base)
	check(p.Type != typeBedrock || p.Key.IsZero(), key+".key", "is not for bedrock, which takes the identity of the process: the environment, a web identity token, the role of the container or the machine")
	check((p.Region != "") == (p.Type == typeBedrock), key+".region", "must be given for type bedrock, and for no other")
	check(p.APIVersion == "" || p.Type == typeAzure, key+".api_version", "is for type azure only")
	check(p.Context == 0 || p.Type == typeOllama, key+".context", "is for type ollama only")
	check(p.Context >= 0 && p.Context <= maxContext, key+".context", "must be 0 to %d, not %d", maxContext, p.Context)
	check(!p.LegacyMaxTokens || k.openai, key+".legacy_max_tokens", "is for types openai and azure only")
	check(!p.WithoutTools || k.openai, key+".without_tools", "is for types openai and azure only")
	check(!p.WithoutSchema || k.openai, key+".without_schema", "is for types openai and azure only")
	check(p.Concurrent >= 0 && p.Concurrent <= 10_000, key+".concurrent", "must be 0 to 10000, not %d", p.Concurrent)
	check(p.MaxConnections >= 0 && p.MaxConnections <= 1024, key+".max_connections", "must be 0 to 1024, not %d", p.MaxConnections)
}

// client speaks to a configured provider. What its type can't do is nil; Validate has seen to it that nothing asks for that.
type client struct {
	cfg Provider
	// revision changes when cfg does.
	revision string
	chats    provider.Provider
	embeds   provider.Embedder
	reranks  provider.Reranker
	// local is nil for what is elsewhere.
	local *local.Model
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
		made, err := open(p, s.deps.Clock)
		if err != nil {
			return nil, fmt.Errorf("providers.%s.%w", name, err)
		}
		s.made++
		made.revision = strconv.Itoa(s.made)
		out[name] = made
	}
	if err := s.openLocal(cfg, out); err != nil {
		s.closeUnused(out)
		return nil, err
	}
	return out, nil
}

// open makes the client of a provider.
func open(p Provider, clock func() time.Time) (*client, error) {
	connections := cmp.Or(p.MaxConnections, defaultConnections)
	switch p.Type {
	case typeAnthropic:
		made, err := anthropic.New(anthropic.Config{BaseURL: p.base(), Key: p.Key, MaxConnections: connections}, clock)
		if err != nil {
			return nil, err
		}
		return &client{cfg: p, chats: made, close: made.Close}, nil
	case typeGoogle:
		made, err := google.New(google.Config{BaseURL: p.base(), Key: p.Key, MaxConnections: connections}, clock)
		if err != nil {
			return nil, err
		}
		return &client{cfg: p, chats: made, embeds: made, close: made.Close}, nil
	case typeOllama:
		made, err := ollama.New(ollama.Config{BaseURL: p.base(), Key: p.Key, Context: p.Context, MaxConnections: connections}, clock)
		if err != nil {
			return nil, err
		}
		return &client{cfg: p, chats: made, embeds: made, close: made.Close}, nil
	case typeBedrock:
		made, err := bedrock.New(context.Background(), bedrock.Config{Region: p.Region, BaseURL: p.BaseURL, MaxConnections: connections}, clock)
		if err != nil {
			return nil, err
		}
		return &client{cfg: p, chats: made, close: made.Close}, nil
	default:
		return openOpenAI(p, connections, clock)
	}
}

// openOpenAI makes the client of a provider with OpenAI's format, or one beside it.
func openOpenAI(p Provider, connections int, clock func() time.Time) (*client, error) {
	cfg := openai.Config{
		BaseURL: p.base(), Key: p.Key, LegacyMaxTokens: p.LegacyMaxTokens, MaxConnections: connections, PlainFloats: p.PlainFloats,
		WithoutTools: p.WithoutTools, WithoutSchema: p.WithoutSchema,
		Rerank: map[string]openai.RerankFormat{typeCohere: openai.Cohere, typeJina: openai.Jina, typeTEI: openai.TEI}[p.Type],
	}
	if p.Type == typeAzure {
		cfg.AzureVersion = cmp.Or(p.APIVersion, defaultAzureVersion)
	}
	made, err := openai.New(cfg, clock)
	if err != nil {
		return nil, err
	}
	return &client{cfg: p, chats: made, embeds: made, reranks: made, close: made.Close}, nil
}

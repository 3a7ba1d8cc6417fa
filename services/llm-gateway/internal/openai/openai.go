// Package openai is the adapter for every server with OpenAI's chat completions API: OpenAI itself, Azure, vLLM, Ollama,
// llama.cpp, DeepSeek, Qwen and others, and for embeddings and rerank APIs beside it.
//
// It writes and reads the wire format itself. langchaingo's client would take a second reader under it that finds what it
// hides (errors inside a stream, streams that end without their end, status and Retry-After, events that are no JSON), mixes
// calls of tools with text, and merges parallel calls by their order; all of it for five times the CPU per token, over reading
// the bytes.
package openai

import (
	"context"
	"net"
	"net/url"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Config is where a server is and how to speak to it.
type Config struct {
	// BaseURL is the address before /chat/completions, such as https://api.openai.com/v1; for Azure, before /openai.
	BaseURL string
	// Key refers to the API key; none for servers that want none.
	Key config.Secret
	// AzureVersion is the API version of an Azure OpenAI resource, whose deployments are the models; empty for other servers.
	AzureVersion string
	// LegacyMaxTokens sends max_tokens instead of max_completion_tokens, which older servers ignore.
	LegacyMaxTokens bool
	// WithoutTools and WithoutSchema are servers that would ignore tools or a JSON Schema. To one without tools, earlier calls in a
	// conversation are told as text.
	WithoutTools, WithoutSchema bool
	// MaxConnections bounds connections to the server.
	MaxConnections int
	// PlainFloats asks for vectors as numbers, for servers that refuse to send them in base64.
	PlainFloats bool
	// Rerank is the rerank API the server speaks; empty for none.
	Rerank RerankFormat
	// Dial connects to the server; nil for TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Provider speaks to one server. Safe for concurrent use.
type Provider struct {
	cfg    Config
	server *exchange.Server
}

var _ provider.Provider = (*Provider)(nil)

// New returns a provider for the server at cfg. It does not speak to it yet.
func New(cfg Config, clock func() time.Time) (*Provider, error) {
	e := exchange.Config{BaseURL: cfg.BaseURL, Key: cfg.Key, MaxConnections: cfg.MaxConnections, Dial: cfg.Dial, Clock: clock}
	if cfg.AzureVersion != "" {
		e.KeyHeader = "api-key"
	}
	server, err := exchange.New(e)
	if err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg, server: server}, nil
}

// Close lets go of idle connections.
func (p *Provider) Close() { p.server.Close() }

// path is where a model's API is: in Azure every model is a deployment with an address of its own.
func (p *Provider) path(model, api string) string {
	if p.cfg.AzureVersion == "" {
		return api
	}
	return "/openai/deployments/" + url.PathEscape(model) + api + "?api-version=" + url.QueryEscape(p.cfg.AzureVersion)
}

// Generate asks the server for one answer.
func (p *Provider) Generate(ctx context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	body, err := p.request(r)
	if err != nil {
		return provider.Result{}, err
	}
	answer, err := p.server.Post(ctx, p.path(r.Model, "/chat/completions"), "text/event-stream", body)
	if err != nil {
		return provider.Result{}, err
	}
	defer answer.Close()
	s := &stream{Teller: exchange.NewTeller(r, emit), answer: answer}
	err = answer.Events(ctx, s)
	return s.Result(s.finish(), s.usage.usage(), err)
}

// Package openai is the adapter for every server with OpenAI's chat completions API: OpenAI itself, Azure, vLLM, Ollama,
// llama.cpp, DeepSeek, Qwen and others. langchaingo makes the requests and joins the stream. What it hides is caught under
// it, by a tap on the HTTP exchange: errors inside a stream, streams that end without their end, status and Retry-After,
// events that are no JSON, lines longer than its scanner takes.
package openai

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tmc/langchaingo/llms"
	"github.com/tmc/langchaingo/llms/openai"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Config is where a server is and how to speak to it.
type Config struct {
	// BaseURL is the address before /chat/completions, such as https://api.openai.com/v1.
	BaseURL string
	// Key refers to the API key; none for servers that want none.
	Key config.Secret
	// LegacyMaxTokens sends max_tokens instead of max_completion_tokens, which older servers ignore.
	LegacyMaxTokens bool
	// MaxConnections bounds connections to the server.
	MaxConnections int
	// PlainFloats asks for vectors as numbers, for servers that refuse to send them in base64.
	PlainFloats bool
	// Rerank is the rerank API the server speaks; empty for none.
	Rerank RerankFormat
}

// Provider speaks to one server. Safe for concurrent use.
type Provider struct {
	base   string
	cfg    Config
	client *http.Client
	clock  func() time.Time
}

var _ provider.Provider = (*Provider)(nil)

// New returns a provider for the server at cfg. It does not speak to it yet.
func New(cfg Config, clock func() time.Time) (*Provider, error) {
	u, err := url.Parse(cfg.BaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("base_url: not an http(s) address without user and query")
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &Provider{
		base: strings.TrimSuffix(u.String(), "/"),
		cfg:  cfg,
		client: &http.Client{
			// A redirect would take the key and the prompt to an address nobody configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DialContext:            dialer.DialContext,
				ForceAttemptHTTP2:      true,
				TLSHandshakeTimeout:    5 * time.Second,
				MaxConnsPerHost:        cfg.MaxConnections,
				MaxIdleConnsPerHost:    16,
				IdleConnTimeout:        90 * time.Second,
				MaxResponseHeaderBytes: 64 << 10,
				DisableCompression:     true, // a compressed stream arrives in lumps
			},
		},
		clock: clock,
	}, nil
}

// Close lets go of idle connections.
func (p *Provider) Close() { p.client.CloseIdleConnections() }

// Generate asks the server for one answer.
func (p *Provider) Generate(ctx context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	key := ""
	if !p.cfg.Key.IsZero() {
		resolved, err := p.cfg.Key.Resolve() // at each request, so that a mounted key may change
		if err != nil {
			return provider.Result{}, fault.Wrap(err, fault.Precondition, fault.ProviderRejected, "the provider's API key is not configured")
		}
		key = resolved
	}
	tap := &tap{client: p.client, key: key, temperature: r.Temperature != nil, clock: p.clock}
	llm, err := openai.New(
		openai.WithBaseURL(p.base), openai.WithModel(r.Model), openai.WithHTTPClient(tap),
		openai.WithToken("set by the tap"), // langchaingo insists on one
		openai.WithAPIType(openai.APITypeOpenAI),
	)
	if err != nil {
		return provider.Result{}, fmt.Errorf("make client: %w", err)
	}
	var answer strings.Builder
	var stopped error
	stream := func(_ context.Context, reasoning, text []byte) error {
		if len(text) == 0 && len(reasoning) == 0 {
			return nil
		}
		answer.Write(text)
		stopped = emit(provider.Piece{Text: string(text)})
		return stopped
	}
	_, err = llm.GenerateContent(ctx, messages(r.Messages), p.options(r, stream)...)
	switch {
	case stopped != nil:
		return provider.Result{}, stopped
	case ctx.Err() != nil:
		return provider.Result{}, ctx.Err()
	}
	return tap.result(err, r.Messages, answer.String())
}

func (p *Provider) options(r provider.Request, stream func(context.Context, []byte, []byte) error) []llms.CallOption {
	options := []llms.CallOption{llms.WithModel(r.Model), llms.WithStreamingReasoningFunc(stream)}
	if r.MaxTokens > 0 {
		options = append(options, llms.WithMaxTokens(r.MaxTokens))
		if p.cfg.LegacyMaxTokens {
			options = append(options, openai.WithLegacyMaxTokensField())
		}
	}
	if r.Temperature != nil {
		options = append(options, llms.WithTemperature(*r.Temperature))
	}
	if r.TopP != nil {
		options = append(options, llms.WithTopP(*r.TopP))
	}
	if len(r.Stop) > 0 {
		options = append(options, llms.WithStopWords(r.Stop))
	}
	return options
}

func messages(in []ask.Message) []llms.MessageContent {
	roles := map[ask.Role]llms.ChatMessageType{
		ask.System: llms.ChatMessageTypeSystem, ask.User: llms.ChatMessageTypeHuman, ask.Assistant: llms.ChatMessageTypeAI,
	}
	out := make([]llms.MessageContent, len(in))
	for i, m := range in {
		out[i] = llms.TextParts(roles[m.Role], m.Content)
	}
	return out
}

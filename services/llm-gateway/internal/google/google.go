// Package google is the adapter for the Gemini API, generativelanguage.googleapis.com.
//
// It writes and reads the wire format itself: langchaingo's client brings twenty megabytes of Google's libraries into the
// binary, over which no answer is streamed that could be told from one that broke off.
package google

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// BaseURL is where Google's own API is.
const BaseURL = "https://generativelanguage.googleapis.com/v1beta"

// Config is where a server is and how to speak to it.
type Config struct {
	// BaseURL is the address before /models.
	BaseURL        string
	Key            config.Secret
	MaxConnections int
}

// Provider speaks to one server. Safe for concurrent use.
type Provider struct{ server *exchange.Server }

var (
	_ provider.Provider = (*Provider)(nil)
	_ provider.Embedder = (*Provider)(nil)
)

// New returns a provider for the server at cfg. It does not speak to it yet.
func New(cfg Config, clock func() time.Time) (*Provider, error) {
	server, err := exchange.New(exchange.Config{
		BaseURL: cfg.BaseURL, Key: cfg.Key, KeyHeader: "X-Goog-Api-Key", MaxConnections: cfg.MaxConnections, Clock: clock,
	})
	if err != nil {
		return nil, err
	}
	return &Provider{server: server}, nil
}

// Close lets go of idle connections.
func (p *Provider) Close() { p.server.Close() }

// name is a model's in addresses and bodies.
func name(model string) string { return "models/" + strings.TrimPrefix(model, "models/") }

func path(model, method string) string {
	return "/models/" + url.PathEscape(strings.TrimPrefix(model, "models/")) + ":" + method
}

// Generate asks the server for one answer.
func (p *Provider) Generate(ctx context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	body, err := encode(r)
	if err != nil {
		return provider.Result{}, err
	}
	answer, err := p.server.Post(ctx, path(r.Model, "streamGenerateContent?alt=sse"), "text/event-stream", body)
	if err != nil {
		return provider.Result{}, err
	}
	defer answer.Close()
	s := &stream{Teller: exchange.NewTeller(r, emit), answer: answer}
	err = answer.Events(ctx, s)
	return s.Result(s.finish(), s.used, err)
}

// maxEmbed is how many texts Google takes at once.
const maxEmbed = 100

type embedRequest struct {
	Requests []embedContent `json:"requests"`
}

type embedContent struct {
	Model      string  `json:"model"`
	Content    content `json:"content"`
	Dimensions int     `json:"outputDimensionality,omitempty"`
}

type embedAnswer struct {
	Embeddings []struct {
		Values []float32 `json:"values"`
	} `json:"embeddings"`
}

// Embed makes vectors of texts.
func (p *Provider) Embed(ctx context.Context, r provider.EmbedRequest) (provider.Embedded, error) {
	var vectors [][]float32
	for left := r.Texts; len(left) > 0; {
		n := min(len(left), maxEmbed)
		var body embedRequest
		for i := range left[:n] {
			body.Requests = append(body.Requests, embedContent{Model: name(r.Model), Content: content{Parts: []part{{Text: &left[i]}}}, Dimensions: r.Dimensions})
		}
		var a embedAnswer
		if err := p.server.Call(ctx, path(r.Model, "batchEmbedContents"), body, &a); err != nil {
			return provider.Embedded{}, err
		}
		if len(a.Embeddings) != n {
			return provider.Embedded{}, exchange.Unreadable(fmt.Errorf("%d vectors for %d texts", len(a.Embeddings), n))
		}
		for _, e := range a.Embeddings {
			vectors = append(vectors, e.Values)
		}
		left = left[n:]
	}
	return exchange.Vectors(r, vectors, 0)
}

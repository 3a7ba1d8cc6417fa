// Package anthropic is the adapter for Anthropic's messages API.
//
// It writes and reads the wire format itself. langchaingo's client sends a temperature of 0 where none was asked for, knows no
// choice of tool and no JSON Schema, tells calls of tools when the answer is over, leaves a goroutine behind when a stream
// ends in an error, and turns away answers with blocks that it does not know.
package anthropic

import (
	"context"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// BaseURL is where Anthropic's own API is.
const BaseURL = "https://api.anthropic.com/v1"

// version is the API's, which every request names.
const version = "2023-06-01"

// Config is where a server is and how to speak to it.
type Config struct {
	// BaseURL is the address before /messages.
	BaseURL        string
	Key            config.Secret
	MaxConnections int
}

// Provider speaks to one server. Safe for concurrent use.
type Provider struct{ server *exchange.Server }

var _ provider.Provider = (*Provider)(nil)

// New returns a provider for the server at cfg. It does not speak to it yet.
func New(cfg Config, clock func() time.Time) (*Provider, error) {
	server, err := exchange.New(exchange.Config{
		BaseURL: cfg.BaseURL, Key: cfg.Key, KeyHeader: "X-Api-Key", Header: map[string]string{"Anthropic-Version": version},
		MaxConnections: cfg.MaxConnections, Clock: clock,
	})
	if err != nil {
		return nil, err
	}
	return &Provider{server: server}, nil
}

// Close lets go of idle connections.
func (p *Provider) Close() { p.server.Close() }

// Generate asks the server for one answer.
func (p *Provider) Generate(ctx context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	body, err := encode(r)
	if err != nil {
		return provider.Result{}, err
	}
	answer, err := p.server.Post(ctx, "/messages", "text/event-stream", body)
	if err != nil {
		return provider.Result{}, err
	}
	defer answer.Close()
	s := &stream{Teller: exchange.NewTeller(r, emit), answer: answer}
	err = answer.Events(ctx, s)
	return s.Result(s.finish(), s.used, err)
}

// Package ollama is the adapter for Ollama's own API, which says more than its imitation of OpenAI's: how long a context the
// model is loaded with. For everything else an OpenAI-compatible provider with the address /v1 serves Ollama too.
//
// It writes and reads the wire format itself. langchaingo's client has no tools, no JSON Schemas and no thoughts, takes a
// connection that breaks for the end of the answer, and drops a temperature of 0.
package ollama

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// Config is where a server is and how to speak to it.
type Config struct {
	// BaseURL is the address before /api.
	BaseURL string
	// Key is for servers behind a gate; none otherwise.
	Key config.Secret
	// Context is how many tokens of context models are loaded with; 0 for Ollama's default, which is short. What does not fit
	// is left out without a word.
	Context        int
	MaxConnections int
}

// Provider speaks to one server. Safe for concurrent use.
type Provider struct {
	cfg    Config
	server *exchange.Server
}

var (
	_ provider.Provider = (*Provider)(nil)
	_ provider.Embedder = (*Provider)(nil)
)

// New returns a provider for the server at cfg. It does not speak to it yet.
func New(cfg Config, clock func() time.Time) (*Provider, error) {
	server, err := exchange.New(exchange.Config{BaseURL: cfg.BaseURL, Key: cfg.Key, MaxConnections: cfg.MaxConnections, Clock: clock})
	if err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg, server: server}, nil
}

// Close lets go of idle connections.
func (p *Provider) Close() { p.server.Close() }

// Generate asks the server for one answer.
func (p *Provider) Generate(ctx context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	body, err := p.encode(r)
	if err != nil {
		return provider.Result{}, err
	}
	answer, err := p.server.Post(ctx, "/api/chat", "application/x-ndjson", body)
	if err != nil {
		return provider.Result{}, err
	}
	defer answer.Close()
	s := &stream{Teller: exchange.NewTeller(r, emit), answer: answer}
	err = answer.Lines(ctx, s)
	return s.Result(s.finish(), s.used, err)
}

// line is one of an answer.
type line struct {
	Message struct {
		Content   string `json:"content"`
		Thinking  string `json:"thinking"`
		ToolCalls []struct {
			ID       string `json:"id"`
			Function struct {
				Name      string          `json:"name"`
				Arguments json.RawMessage `json:"arguments"`
			} `json:"function"`
		} `json:"tool_calls"`
	} `json:"message"`
	Done       bool            `json:"done"`
	DoneReason string          `json:"done_reason"`
	Prompt     int             `json:"prompt_eval_count"`
	Completion int             `json:"eval_count"`
	Error      json.RawMessage `json:"error"`
}

// stream takes the lines of one answer.
type stream struct {
	*exchange.Teller
	answer *exchange.Answer
	used   provider.Usage
	reason string
	done   bool
}

var _ exchange.Taker = (*stream)(nil)

// Ended implements exchange.Taker.
func (s *stream) Ended() bool { return s.done }

// Take implements exchange.Taker.
func (s *stream) Take(e exchange.Event) (bool, error) {
	var l line
	if err := json.Unmarshal(e.Data, &l); err != nil {
		return false, exchange.Unreadable(err)
	}
	if exchange.Some(l.Error) {
		return false, s.answer.Reported(l.Error)
	}
	if l.Message.Thinking != "" {
		if err := s.Alive(); err != nil {
			return false, err
		}
	}
	if err := s.Text([]byte(l.Message.Content)); err != nil {
		return false, err
	}
	for _, c := range l.Message.ToolCalls { // each comes whole
		if err := s.Call(s.Calls(), c.ID, c.Function.Name, string(c.Function.Arguments)); err != nil {
			return false, err
		}
	}
	if !l.Done {
		return false, nil
	}
	s.done, s.reason = true, l.DoneReason
	s.used = provider.Usage{Prompt: l.Prompt, Completion: l.Completion}
	return true, nil
}

func (s *stream) finish() provider.Finish {
	if s.reason == "length" {
		return provider.Length
	}
	return provider.Stop
}

type embedRequest struct {
	Model      string   `json:"model"`
	Input      []string `json:"input"`
	Dimensions int      `json:"dimensions,omitempty"`
}

type embedAnswer struct {
	Embeddings [][]float32 `json:"embeddings"`
	Prompt     int         `json:"prompt_eval_count"`
}

// Embed makes vectors of texts.
func (p *Provider) Embed(ctx context.Context, r provider.EmbedRequest) (provider.Embedded, error) {
	var a embedAnswer
	if err := p.server.Call(ctx, "/api/embed", embedRequest{Model: r.Model, Input: r.Texts, Dimensions: r.Dimensions}, &a); err != nil {
		return provider.Embedded{}, err
	}
	if len(a.Embeddings) != len(r.Texts) {
		return provider.Embedded{}, exchange.Unreadable(fmt.Errorf("%d vectors for %d texts", len(a.Embeddings), len(r.Texts)))
	}
	return exchange.Vectors(r, a.Embeddings, a.Prompt)
}

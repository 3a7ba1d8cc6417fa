package answer

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// Caching is how a route's answers are kept. Revision changes with whatever of the configuration may change an answer.
type Caching struct {
	Mode     cache.Mode
	Revision string
}

// Generate answers what was prepared, on the account of who is named in o.
func (s *Service) Generate(ctx context.Context, a Asked, o route.CallOptions, sink route.Sink) (route.Outcome, error) {
	entry, err := s.opts.Book.Open(ctx, account.Who{Workspace: o.Workspace, Key: o.Key}, a.Route, provider.Usage{
		Prompt: a.Rendered.Tokens, Completion: a.request.MaxTokens, Estimated: true,
	})
	if err != nil {
		return route.Outcome{}, err
	}
	mode := a.mode
	if mode == cache.Default {
		mode = s.opts.Caching[a.Route].Mode
	}
	if mode == cache.Default || mode == cache.Off || s.opts.Cache == nil {
		defer entry.Close()
		o.Ledger = entry.Asking()
		return s.routes.Generate(ctx, a.Route, o, a.request, sink)
	}
	return s.cached(ctx, a, o, mode, entry, sink)
}

// cached answers from the cache, or for it.
func (s *Service) cached(ctx context.Context, a Asked, o route.CallOptions, mode cache.Mode, entry *account.Entry, sink route.Sink) (route.Outcome, error) {
	key, err := s.key(a)
	if err != nil {
		entry.Close()
		return route.Outcome{}, err
	}
	// The work may begin, and go on, after this caller has gone away: then others pay nothing, and the ledger hears of it all the same.
	var begun atomic.Bool
	began := s.opts.Clock()
	p := &player{sink: sink}
	p.first = func() { p.outcome.FirstText = s.opts.Clock().Sub(began) }
	end, from, err := s.opts.Cache.Do(ctx, cache.Call{Workspace: o.Workspace, Key: key, Mode: mode}, func(ctx context.Context, out func([]byte) error) ([]byte, bool, error) {
		paying := entry
		if !begun.CompareAndSwap(false, true) {
			paying = entry.Again()
		}
		defer paying.Close()
		o.Ledger = paying.Asking()
		r := &recorder{out: out}
		made, err := s.routes.Generate(ctx, a.Route, o, a.request, r)
		if err != nil {
			return nil, false, err
		}
		end, err := json.Marshal(made)
		return end, r.whole && (made.Result.Finish == provider.Stop || made.Result.Finish == provider.Called), err
	}, p.take)
	if begun.CompareAndSwap(false, true) {
		if err == nil {
			entry.Cached()
		}
		entry.Close()
	}
	if err != nil {
		return route.Outcome{}, err
	}
	var made route.Outcome
	if err := json.Unmarshal(end, &made); err != nil {
		return route.Outcome{}, fmt.Errorf("read kept answer: %w", err)
	}
	made.FirstText = p.outcome.FirstText
	if from != cache.Made {
		made.Result.Usage.CostMicros, made.Tries = 0, nil
	}
	return made, nil
}

// key hashes everything that an answer depends on.
func (s *Service) key(a Asked) (string, error) {
	r := a.request
	what := struct {
		Messages          []ask.Message
		Language          string
		MaxTokens         int
		Temperature, TopP *float64
		Stop              []string
		Tools             []provider.Tool
		Choice            string
		Schema            json.RawMessage
		Strict            bool
	}{
		Messages: r.Messages, Language: r.Ask.Language, MaxTokens: r.MaxTokens, Temperature: r.Temperature, TopP: r.TopP, Stop: r.Stop,
		Tools: r.Tools, Choice: r.Choice,
	}
	if r.Schema != nil {
		what.Schema, what.Strict = r.Schema.JSON, r.Schema.Strict
	}
	text, err := json.Marshal(what)
	if err != nil {
		return "", fmt.Errorf("hash request: %w", err)
	}
	return cache.NewKey([]byte("generate 1"), []byte(a.Route), []byte(s.opts.Caching[a.Route].Revision), []byte(a.Template.ID), []byte(a.Template.Revision), text), nil
}

// A piece of an answer as it is kept: which target answers, or text.
const (
	pieceStarted = 's'
	pieceText    = 't'
)

// recorder turns an answer into pieces.
type recorder struct {
	out func([]byte) error
	// whole says that the answer is what the route is for: nothing was skipped on the way, and no stand-in answers.
	whole bool
}

// Started implements [route.Sink].
func (r *recorder) Started(s route.Started) error {
	r.whole = len(s.Skipped) == 0 && s.Name != extractive.Name
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("record answer: %w", err)
	}
	return r.out(append([]byte{pieceStarted}, text...))
}

// Text implements [route.Sink].
func (r *recorder) Text(text string) error { return r.out(append([]byte{pieceText}, text...)) }

// player turns pieces into an answer again.
type player struct {
	sink    route.Sink
	first   func()
	texts   int
	outcome route.Outcome
}

func (p *player) take(from cache.Origin, piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	if piece[0] == pieceText {
		if p.texts++; p.texts == 1 {
			p.first()
		}
		return p.sink.Text(string(piece[1:]))
	}
	var s route.Started
	if err := json.Unmarshal(piece[1:], &s); err != nil {
		return fmt.Errorf("read kept answer: %w", err)
	}
	s.Cached = from != cache.Made
	return p.sink.Started(s)
}

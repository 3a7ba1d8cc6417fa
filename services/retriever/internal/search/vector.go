package search

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// ErrNoModel is what an Embedder or Reranker answers when none is configured.
var ErrNoModel = errors.New("no model is configured")

// Embedder makes vectors of queries.
type Embedder interface {
	// Query returns a query's vector, of length 1, and the space it is in; ErrNoModel when there is none.
	Query(ctx context.Context, workspace, query string) ([]float32, store.Space, error)
	// Behind is how many of a workspace's documents have no vectors yet.
	Behind(workspace string) int
}

// embedShare is the share of what is left of a search's time that its query's vector may take.
const embedShare = 0.6

// approach adds the query's vector to what the store is asked. Where it can't be had, keywords alone are searched, and the
// result says so.
func (s *Searcher) approach(ctx context.Context, r Request, strategy Strategy, ask *store.Query, out *Result) {
	vector, space, err := s.vector(ctx, r)
	switch {
	case err == nil:
		ask.Vector, ask.Space, ask.Nearest = vector, space, strategy.Candidates
		if strategy.Type == Vector {
			ask.Limit = 0
		}
		out.Embedding = space.Model
	case errors.Is(err, ErrNoModel):
		out.Degradations = append(out.Degradations, keywordOnly("No embedding model is in use (embedding.model of retriever.yaml names one), so only keywords were searched."))
	case errors.Is(err, context.DeadlineExceeded):
		out.Degradations = append(out.Degradations, keywordOnly("The embedding model did not answer in time, so only keywords were searched."))
	default:
		out.Degradations = append(out.Degradations, keywordOnly("The embedding model cannot be used right now, so only keywords were searched."))
	}
}

func (s *Searcher) vector(ctx context.Context, r Request) ([]float32, store.Space, error) {
	if s.embedder == nil {
		return nil, store.Space{}, ErrNoModel
	}
	if at, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(float64(time.Until(at))*embedShare))
		defer cancel()
	}
	return s.embedder.Query(ctx, r.Workspace, r.Query)
}

// checkVectors says when the store has no vectors to compare the query with, or not yet of every document.
func (s *Searcher) checkVectors(workspace string, ask store.Query, found store.Candidates, out *Result) {
	if ask.Nearest == 0 {
		return
	}
	behind := s.embedder.Behind(workspace)
	switch {
	case found.Vectors == 0 && found.Stats.Chunks > 0:
		out.Embedding = ""
		out.Degradations = append(out.Degradations, keywordOnly("The documents have no vectors of the embedding model "+ask.Space.Model+" as it is now; they are being made, and only keywords were searched."))
	case behind > 0:
		out.Degradations = append(out.Degradations, Degradation{
			Stage: "embed", Reason: "vectors_behind", Message: fmt.Sprintf("The vectors of %d documents are still being made; those were found by keywords only.", behind),
		})
	}
}

func keywordOnly(message string) Degradation {
	return Degradation{Stage: "embed", Reason: "keyword_only", Message: message}
}

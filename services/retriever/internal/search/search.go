// Package search answers queries: it takes candidates from a store, scores them exactly, joins neighbours that say the same
// and returns the best, within the time there is.
package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// Share of the time a caller allows that a search uses; the rest is for the way back.
const budget = 0.9

// Store is what search needs of a store.
type Store interface {
	Candidates(ctx context.Context, workspace string, q store.Query) (store.Candidates, error)
}

// Manifest tells which versions of a workspace's documents are live, and the sequence of the newest of them.
type Manifest interface {
	Live(workspace string) (live store.Manifest, sequence uint64)
	// Hidden tells which documents do not exist for a reader, as it is whenever it is asked; nil when all do.
	Hidden(workspace string, r document.Reader) func(documentID string) bool
}

// Observer is told of every search; r is what it gave when err is nil.
type Observer interface {
	Searched(ctx context.Context, r Result, took time.Duration, err error)
}

// Config is what can be chosen about search.
type Config struct {
	Strategies map[string]Strategy // by name
	Default    string              // the strategy of requests that name none
}

// Searcher answers queries. It is safe for concurrent use.
type Searcher struct {
	config   Config
	store    Store
	manifest Manifest
	observer Observer
	embedder Embedder
	reranker Reranker
}

// Deps is what search works with.
type Deps struct {
	Store    Store
	Manifest Manifest
	Observer Observer
	Embedder Embedder // nil without an embedding model
	Reranker Reranker // nil without a gateway
}

// New returns a searcher. The default strategy must be among the strategies.
func New(c Config, d Deps) (*Searcher, error) {
	if _, ok := c.Strategies[c.Default]; !ok {
		names := slices.Sorted(maps.Keys(c.Strategies))
		return nil, fmt.Errorf("there is no retrieval strategy %q, which is to be the default; there are %s", c.Default, strings.Join(names, ", "))
	}
	return &Searcher{config: c, store: d.Store, manifest: d.Manifest, observer: d.Observer, embedder: d.Embedder, reranker: d.Reranker}, nil
}

// Request asks for passages.
type Request struct {
	Workspace string
	Query     string
	Strategy  string // empty: the default
	TopK      int    // 0: the strategy's
	Filter    store.Filter
	Reader    document.Reader // who asks
}

// Passage is a chunk that was found, with neighbours that were found too. Its text is the canonical text in its range.
type Passage struct {
	store.Candidate
	Score float64
	// Parts say how the score came about and add up to it; "cosine" stands beside them, the similarity to the query as it was
	// measured.
	Parts map[string]float64

	words rank.Score // what the words alone score
	lead  float64    // what they gain because the passage opens its document
}

// explain makes the parts of a passage that its words have found. Most passages are never shown, and need none.
func (p *Passage) explain() {
	if p.Parts != nil {
		return
	}
	p.Parts = map[string]float64{"bm25": p.words.BM25, "pairs": p.words.Pairs}
	if p.lead > 0 {
		p.Parts["lead"] = p.lead
	}
}

// Degradation says what a search left out and why.
type Degradation struct {
	Stage, Reason, Message string
}

// Result is what was found.
type Result struct {
	Passages     []Passage // best first
	Degradations []Degradation
	Strategy     string
	Candidates   int    // scored
	Sequence     uint64 // of the newest live version
	Embedding    string // model the query was compared with; empty when only keywords were searched
	Reranker     string // model that put the first in order; empty when none did
}

// Search returns the best passages. It answers before ctx's deadline with what it has by then.
func (s *Searcher) Search(ctx context.Context, r Request) (Result, error) {
	began := time.Now()
	result, err := s.search(ctx, r)
	s.observer.Searched(ctx, result, time.Since(began), err)
	return result, err
}

func (s *Searcher) search(ctx context.Context, r Request) (Result, error) {
	name := cmp.Or(r.Strategy, s.config.Default)
	strategy, ok := s.config.Strategies[name]
	if !ok {
		return Result{}, fault.New(fault.NotFound, fault.StrategyNotFound, "there is no retrieval strategy %q", name)
	}
	out := Result{Strategy: name}
	bounded, cancel := withBudget(ctx)
	defer cancel()

	ask := store.Query{Rank: rank.NewQuery(r.Query), Filter: r.Filter, Limit: strategy.Candidates}
	if strategy.Type != Keyword {
		s.approach(bounded, r, strategy, &ask, &out)
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	found, sequence, err := s.candidates(bounded, r, ask)
	out.Sequence = sequence
	if err != nil {
		if ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
			out.Degradations = append(out.Degradations, late("the index did not answer in time"))
			return out, nil
		}
		return Result{}, fmt.Errorf("search candidates: %w", err)
	}
	s.checkVectors(r.Workspace, ask, found, &out)
	if ask.Nearest > 0 && out.Embedding == "" {
		// There are none to compare with: by keywords then, whatever the strategy.
		ask.Vector, ask.Nearest = nil, 0
		if ask.Limit == 0 {
			ask.Limit = strategy.Candidates
			if found, out.Sequence, err = s.candidates(bounded, r, ask); err != nil {
				return Result{}, fmt.Errorf("search candidates: %w", err)
			}
		}
	}
	scorer := rank.NewScorer(ask.Rank, found.Stats)
	passages := make([]Passage, 0, len(found.Found))
	for i := range found.Found {
		c := &found.Found[i]
		if bounded.Err() != nil {
			out.Degradations = append(out.Degradations,
				late(fmt.Sprintf("%d of %d candidates were scored in time", len(passages), len(found.Found))))
			break
		}
		words, lead := scorer.Score(c.Terms), 0.0
		if c.Ordinal == 0 && ask.Rank.Covers(c.Title) {
			lead = leadWeight * words.Total()
		}
		passages = append(passages, Passage{Candidate: *c, Score: words.Total() + lead, words: words, lead: lead})
	}
	// What was hidden meanwhile is not shown any more: whoever takes a document away from readers can rely on it.
	if hidden := s.manifest.Hidden(r.Workspace, r.Reader); hidden != nil {
		passages = slices.DeleteFunc(passages, func(p Passage) bool { return hidden(p.DocumentID) })
	}
	out.Candidates = len(passages)
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if ask.Nearest > 0 {
		passages = strategy.fuse(passages)
	}
	order(passages)
	top := cmp.Or(r.TopK, strategy.TopK)
	passages = s.rerank(bounded, r, strategy, top, scorer, passages, &out)
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	out.Passages = joinNeighbours(passages, top, strategy.PerDocument)
	for i := range out.Passages {
		out.Passages[i].explain()
	}
	return out, nil
}

// order puts the best passages first.
func order(passages []Passage) {
	slices.SortStableFunc(passages, func(a, b Passage) int {
		return cmp.Or(-cmp.Compare(a.Score, b.Score), cmp.Compare(a.SourceURI, b.SourceURI), cmp.Compare(a.Ordinal, b.Ordinal))
	})
}

// leadWeight is what the opening of a document gains, as a share of its score, when the query names all that the document is
// about: "what is a DaemonSet" is answered where the page on DaemonSets begins, in words that the rest of the page repeats.
const leadWeight = 0.25

// maxLooks bounds how often a search looks again because documents were replaced while it looked.
const maxLooks = 4

// candidates asks the store by one state of the manifest: of a document that is replaced meanwhile, one version counts, and not
// both. When that may have left out a document altogether, its old version gone and its new one not looked for, it looks again.
func (s *Searcher) candidates(ctx context.Context, r Request, q store.Query) (found store.Candidates, sequence uint64, err error) {
	q.Hidden = memoized(s.manifest.Hidden(r.Workspace, r.Reader))
	for range maxLooks {
		var live store.Manifest
		live, sequence = s.manifest.Live(r.Workspace)
		known := map[string]string{}
		q.Live = func(documentID string) string {
			hash, ok := known[documentID]
			if !ok {
				hash = live(documentID)
				known[documentID] = hash
			}
			return hash
		}
		found, err = s.store.Candidates(ctx, r.Workspace, q)
		if err != nil || !found.Passed {
			break
		}
		if _, now := s.manifest.Live(r.Workspace); now == sequence {
			break
		}
	}
	return found, sequence, err
}

// memoized asks once for each document: a store asks for every chunk that holds one of the query's words.
func memoized(hidden func(string) bool) func(string) bool {
	if hidden == nil {
		return nil
	}
	known := map[string]bool{}
	return func(documentID string) bool {
		h, ok := known[documentID]
		if !ok {
			h = hidden(documentID)
			known[documentID] = h
		}
		return h
	}
}

func late(message string) Degradation {
	return Degradation{Stage: "retriever", Reason: "timeout", Message: message}
}

// withBudget returns a context that ends when nine tenths of ctx's time have passed.
func withBudget(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(float64(time.Until(deadline))*budget))
}

// maxPassage bounds a joined passage in bytes: about two chunks.
const maxPassage = 3000

// joinNeighbours returns the first top passages, each with the overlapping chunks before and after it that come later in the
// list, so that one place is not told twice; at most each of one document, where each is not 0.
func joinNeighbours(passages []Passage, top, each int) []Passage {
	out := make([]Passage, 0, min(top, len(passages)))
	of := map[string]int{}
next:
	for n := range passages {
		p := &passages[n]
		for i := range out {
			if out[i].DocumentID == p.DocumentID && join(&out[i], p) {
				continue next
			}
		}
		if len(out) < top && (each == 0 || of[p.DocumentID] < each) {
			out = append(out, *p)
			of[p.DocumentID]++
		}
	}
	return out
}

// join extends p by its neighbour q if their ranges overlap and the whole is not too large.
func join(p, q *Passage) bool {
	start, end := min(p.Start, q.Start), max(p.End, q.End)
	if p.Hash != q.Hash || q.Start >= p.End || p.Start >= q.End || end-start > maxPassage {
		return false
	}
	if q.Start < p.Start {
		p.Text = q.Text[:p.Start-q.Start] + p.Text
	}
	if q.End > p.End {
		p.Text += q.Text[len(q.Text)-(q.End-p.End):]
	}
	p.Start, p.End = start, end
	p.Pages = joinPages(p.Pages, q.Pages)
	return true
}

// joinPages returns the pages of two passages in order, each with the boxes of both.
func joinPages(a, b []document.Page) []document.Page {
	if len(b) == 0 {
		return a
	}
	out := slices.Clone(a) // stores keep what they gave
	for _, page := range b {
		at := slices.IndexFunc(out, func(p document.Page) bool { return p.Number == page.Number })
		if at < 0 {
			out = append(out, page)
			continue
		}
		boxes := slices.Clone(out[at].Boxes)
		for _, box := range page.Boxes {
			if !slices.Contains(boxes, box) {
				boxes = append(boxes, box)
			}
		}
		out[at].Boxes = boxes
	}
	slices.SortFunc(out, func(x, y document.Page) int { return cmp.Compare(x.Number, y.Number) })
	return out
}

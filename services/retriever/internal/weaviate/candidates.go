package weaviate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	pb "github.com/weaviate/weaviate/grpc/generated/protocol/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/rank"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

const (
	// maxScan bounds how many hits are looked through at a time for live ones. Dead ones exist only while a version is being
	// replaced.
	maxScan = 1600
	// maxHidden bounds the documents that are left out of a query by name.
	maxHidden = 20_000
)

// Candidates returns chunks that hold a query's terms or are near its vector. Terms, statistics and vector are asked for at
// the same time.
func (s *Store) Candidates(ctx context.Context, workspace string, q store.Query) (store.Candidates, error) {
	var out store.Candidates
	byTerms, byVector := &finder{store: s, workspace: workspace, query: q, limit: q.Limit}, &finder{store: s, workspace: workspace, query: q, limit: q.Nearest}
	near := ""
	if len(q.Vector) > 0 {
		var err error
		if near, err = s.vectorsOf(ctx, q.Space); err != nil {
			return out, fmt.Errorf("search: %w", err)
		}
	}
	// Live and Hidden are called by one goroutine at a time: hits of both kinds wait for their turn.
	turn := make(chan struct{}, 1)
	byTerms.turn, byVector.turn = turn, turn
	group, ask := errgroup.WithContext(ctx)
	if words, among := wording(q.Rank); words != "" && q.Limit > 0 {
		byTerms.whole = true
		group.Go(func() (err error) {
			if out.Stats, err = s.stats(ask, workspace, q.Rank.Terms); err != nil {
				return fmt.Errorf("count terms: %w", err)
			}
			return nil
		})
		group.Go(func() error {
			return byTerms.find(ask, &pb.SearchRequest{Collection: s.config.Collection, Bm25Search: &pb.BM25{Query: words, Properties: among}})
		})
	}
	if near != "" {
		group.Go(func() (err error) {
			out.Vectors, err = s.countVectors(ask, near, workspace)
			return err
		})
		if q.Nearest > 0 {
			group.Go(func() error {
				return byVector.find(ask, &pb.SearchRequest{Collection: near, NearVector: nearTo(q.Vector)})
			})
		}
	}
	if err := group.Wait(); err != nil {
		return store.Candidates{}, fmt.Errorf("search: %w", err)
	}
	out.Passed = byTerms.passed || byVector.passed
	return out, s.merge(ctx, workspace, near, q, &out, byTerms, byVector)
}

// merge puts together what terms and the vector have found, with the vectors' similarity for all that have one.
func (s *Store) merge(ctx context.Context, workspace, near string, q store.Query, out *store.Candidates, byTerms, byVector *finder) error {
	cosines, whole := map[string]float64{}, map[string]object{}
	for _, o := range byVector.found {
		cosines[o.id] = 1 - o.distance
	}
	var order, bare, unlike []string
	for _, o := range slices.Concat(byTerms.found, byVector.found) {
		if slices.Contains(order, o.id) {
			continue
		}
		order = append(order, o.id)
		if _, ok := o.fields[propRead]; ok {
			whole[o.id] = o
		} else {
			bare = append(bare, o.id)
		}
		if _, ok := cosines[o.id]; !ok && near != "" {
			unlike = append(unlike, o.id)
		}
	}
	group, ask := errgroup.WithContext(ctx)
	var read map[string]object
	group.Go(func() (err error) {
		read, err = s.byID(ask, workspace, bare, chunkProperties()...)
		return err
	})
	var compared []object
	if len(unlike) > 0 {
		group.Go(func() (err error) {
			compared, err = s.search(ask, "compare", workspace, &pb.SearchRequest{
				Collection: near, NearVector: nearTo(q.Vector), Filters: oneOf("_id", unlike...), Limit: uint32(len(unlike)),
			}, propVersion)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("search: %w", err)
	}
	maps.Copy(whole, read)
	for _, o := range compared {
		cosines[o.id] = 1 - o.distance
	}
	for _, id := range order {
		o, ok := whole[id]
		if !ok { // removed since it was found
			out.Passed = true
			continue
		}
		c, err := o.candidate()
		if err != nil {
			return err
		}
		c.Cosine, c.Embedded = cosines[id], false
		_, c.Embedded = cosines[id]
		out.Found = append(out.Found, c)
	}
	return nil
}

// wording is a query as the server gets it: terms that it splits at white space, and the properties that may hold them.
func wording(q rank.Query) (words string, among []string) {
	pairs := ""
	for _, t := range q.Terms {
		if t.Kind == text.HanPair {
			pairs += t.Text
		}
	}
	among = []string{propTerms}
	var b strings.Builder
	for _, t := range q.Terms {
		if t.Kind == text.Han {
			if strings.Contains(pairs, t.Text) { // its pairs say it better
				continue
			}
			among = []string{propTerms, propSingles}
		}
		b.WriteString(t.Text)
		b.WriteByte(' ')
	}
	return b.String(), among
}

// finder looks for a query's best hits that are live and exist for who asks.
type finder struct {
	store     *Store
	workspace string
	query     store.Query
	limit     int
	whole     bool          // ask for all of a chunk at first
	turn      chan struct{} // capacity 1: who puts something in may call the query's functions

	found  []object
	passed bool
	hidden map[string]bool // documents met that don't exist for who asks
}

// find asks for as many hits as are wanted, which nearly always is enough. Where some of them don't count, it asks for more, and
// leaves out by name the hidden documents it has met. From then on it asks for whose the hits are only.
func (f *finder) find(ctx context.Context, r *pb.SearchRequest) error {
	f.hidden = map[string]bool{}
	fields := []string{propVersion, propSource}
	if f.whole {
		fields = chunkProperties()
	}
	for size := f.limit; ; size = min(4*size, max(maxScan, f.limit)) {
		met := len(f.hidden)
		r.Limit, r.Filters = uint32(size), conditions(f.query.Filter, slices.Sorted(maps.Keys(f.hidden)))
		hits, err := f.store.search(ctx, "search", f.workspace, r, fields...)
		if err != nil {
			return err
		}
		f.choose(hits)
		more := len(f.hidden) > met && len(f.hidden) <= maxHidden || size < maxScan
		if len(f.found) == f.limit || len(hits) < size || !more {
			return nil
		}
		fields = []string{propVersion, propSource}
	}
}

// choose keeps those of the hits that count, as many as are wanted.
func (f *finder) choose(hits []object) {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	f.passed, f.found = false, nil
	for _, o := range hits {
		documentID, hash, _ := strings.Cut(o.text(propVersion), "/")
		switch {
		case f.query.Hidden != nil && f.query.Hidden(documentID):
			f.hidden[documentID] = true
		case !begins(o.text(propSource), f.query.Filter.SourcePrefixes):
		case f.query.Live(documentID) != hash:
			f.passed = true
		default:
			if f.found = append(f.found, o); len(f.found) == f.limit {
				return
			}
		}
	}
}

func begins(s string, prefixes []string) bool {
	return len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

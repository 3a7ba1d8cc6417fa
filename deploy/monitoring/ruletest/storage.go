package ruletest

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// series are time series in memory. Samples are added in the order of time.
type series struct {
	order  []string
	labels map[string]labels.Labels
	points map[string][]point
}

type point struct {
	t int64 // milliseconds
	v float64
}

var _ chunks.Sample = point{}

func (p point) T() int64                      { return p.t }
func (p point) ST() int64                     { return 0 }
func (p point) F() float64                    { return p.v }
func (p point) H() *histogram.Histogram       { return nil }
func (p point) FH() *histogram.FloatHistogram { return nil }
func (p point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() chunks.Sample           { return p }

func newSeries() *series {
	return &series{labels: map[string]labels.Labels{}, points: map[string][]point{}}
}

func (s *series) add(l labels.Labels, t int64, v float64) {
	key := l.String()
	if _, known := s.labels[key]; !known {
		s.order = append(s.order, key)
		s.labels[key] = l
	}
	s.points[key] = append(s.points[key], point{t, v})
}

// Querier implements [storage.Queryable].
func (s *series) Querier(from, to int64) (storage.Querier, error) {
	return &querier{Querier: storage.NoopQuerier(), series: s, from: from, to: to}, nil
}

type querier struct {
	storage.Querier
	series   *series
	from, to int64
}

// Select implements [storage.Querier].
func (q *querier) Select(_ context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &set{at: -1}
next:
	for _, key := range q.series.order {
		l := q.series.labels[key]
		for _, m := range matchers {
			if !m.Matches(l.Get(m.Name)) {
				continue next
			}
		}
		all := q.series.points[key]
		first, _ := slices.BinarySearchFunc(all, q.from, func(p point, t int64) int { return int(p.t - t) })
		var samples []chunks.Sample
		for _, p := range all[first:] {
			if p.t > q.to {
				break
			}
			samples = append(samples, p)
		}
		set.series = append(set.series, storage.NewListSeries(l, samples))
	}
	if sorted {
		slices.SortFunc(set.series, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	}
	return set
}

// set implements [storage.SeriesSet].
type set struct {
	series []storage.Series
	at     int
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *set) At() storage.Series                { return s.series[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

package search

import (
	"cmp"
	"slices"
)

// rrfBase damps the first ranks of reciprocal-rank fusion: 60 as in the paper it comes from.
const rrfBase = 60

// fuse scores passages by keywords and vectors together, or by vectors alone. A passage that neither found is gone: one whose
// similarity is below the threshold counts for its keywords only.
func (s Strategy) fuse(passages []Passage) []Passage {
	kept := passages[:0]
	top := 0.0
	for _, p := range passages {
		p.explain()
		if p.Embedded {
			p.Parts["cosine"] = p.Cosine
		}
		if p.Score > 0 && s.Type != Vector || s.near(p) {
			kept = append(kept, p)
			top = max(top, p.Score)
		}
	}
	switch {
	case s.Type == Vector:
		for i := range kept {
			kept[i].Score = kept[i].Cosine
			kept[i].Parts = map[string]float64{"vector": kept[i].Cosine, "cosine": kept[i].Cosine}
		}
	case s.Fusion == RRF:
		s.byRank(kept)
	default:
		s.byWeight(kept, top)
	}
	return kept
}

// near says whether a passage counts as found by the vector.
func (s Strategy) near(p Passage) bool { return p.Embedded && p.Cosine >= s.SimilarityThreshold }

// byWeight adds the share of the best keyword score that a passage has, and its similarity, in the proportion of the weights.
// The similarity is taken as it is: a model to which all candidates are about as similar, since it can't tell them apart,
// then changes little.
func (s Strategy) byWeight(passages []Passage, top float64) {
	for i := range passages {
		p := &passages[i]
		scale := 0.0
		if top > 0 {
			scale = s.KeywordWeight / top
		}
		for _, part := range []string{"bm25", "pairs", "lead"} {
			if v, ok := p.Parts[part]; ok {
				p.Parts[part] = v * scale
			}
		}
		p.Score *= scale
		if s.near(*p) {
			p.Parts["vector"] = (1 - s.KeywordWeight) * p.Cosine
			p.Score += p.Parts["vector"]
		}
	}
}

// byRank adds the reciprocals of a passage's two ranks, in the proportion of the weights.
func (s Strategy) byRank(passages []Passage) {
	parts := make([]map[string]float64, len(passages))
	for i, p := range passages {
		parts[i] = map[string]float64{}
		if p.Embedded {
			parts[i]["cosine"] = p.Cosine
		}
	}
	add := func(part string, weight float64, value func(Passage) float64, counts func(Passage) bool) {
		order := make([]int, 0, len(passages))
		for i, p := range passages {
			if counts(p) {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(value(passages[b]), value(passages[a])) })
		for place, i := range order {
			parts[i][part] = weight / float64(rrfBase+place+1)
		}
	}
	add("keyword_rank", s.KeywordWeight, func(p Passage) float64 { return p.Score }, func(p Passage) bool { return p.Score > 0 })
	add("vector_rank", 1-s.KeywordWeight, func(p Passage) float64 { return p.Cosine }, s.near)
	for i := range passages {
		passages[i].Parts = parts[i]
		passages[i].Score = parts[i]["keyword_rank"] + parts[i]["vector_rank"]
	}
}

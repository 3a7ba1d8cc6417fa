// Package measure computes retrieval quality and latency, and writes runs. Its formulas are those of trec_eval, so that
// anyone can check the numbers with the run file and the dataset's qrels:
//
//	hit@k     1 when one of the first k documents is relevant (grade above 0), else 0
//	recall@k  relevant documents among the first k, divided by all relevant ones
//	MRR@k     1 divided by the rank of the first relevant document; 0 when it is not among the first k
//	nDCG@k    DCG divided by the DCG of the best possible order, where DCG = Σ grade(i) / log2(i+1) over ranks i = 1…k
//
// Each is the mean over the queries that have at least one relevant document; the others can't be scored and are left out. A
// query without results counts as 0.
package measure

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Depth is how many documents of a ranking count.
const Depth = 10

// Scores is the quality of a run.
type Scores struct {
	// Queries is how many were scored.
	Queries  int     `json:"queries"`
	Hit1     float64 `json:"hit@1"`
	Hit5     float64 `json:"hit@5"`
	Recall10 float64 `json:"recall@10"`
	MRR10    float64 `json:"mrr@10"`
	NDCG10   float64 `json:"ndcg@10"`
}

// Score compares rankings, document ids best first by query id, with grades by query id and document id.
func Score(rankings map[string][]string, grades map[string]map[string]int) Scores {
	var s Scores
	// In a fixed order, because adding floating-point numbers in another one can change the last digit.
	for _, query := range sorted(grades) {
		ideal := relevant(grades[query])
		if len(ideal) == 0 {
			continue
		}
		s.Queries++
		ranking := rankings[query]
		ranking = ranking[:min(len(ranking), Depth)]
		gains := make([]int, len(ranking))
		found, first := 0, 0
		for i, document := range ranking {
			gains[i] = grades[query][document]
			if gains[i] > 0 {
				found++
				if first == 0 {
					first = i + 1
				}
			}
		}
		if first == 0 {
			continue
		}
		if first == 1 {
			s.Hit1++
		}
		if first <= 5 {
			s.Hit5++
		}
		s.MRR10 += 1 / float64(first)
		s.Recall10 += float64(found) / float64(len(ideal))
		s.NDCG10 += dcg(gains) / dcg(ideal[:min(len(ideal), Depth)])
	}
	if s.Queries > 0 {
		for _, sum := range []*float64{&s.Hit1, &s.Hit5, &s.Recall10, &s.MRR10, &s.NDCG10} {
			*sum /= float64(s.Queries)
		}
	}
	return s
}

// relevant returns the grades above 0, best first.
func relevant(grades map[string]int) []int {
	var gains []int
	for _, g := range grades {
		if g > 0 {
			gains = append(gains, g)
		}
	}
	slices.SortFunc(gains, func(a, b int) int { return cmp.Compare(b, a) })
	return gains
}

func dcg(gains []int) float64 {
	sum := 0.0
	for i, g := range gains {
		sum += float64(g) / math.Log2(float64(i)+2)
	}
	return sum
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Latency is how long queries took.
type Latency struct {
	P50 time.Duration
	P95 time.Duration
	P99 time.Duration
}

// Percentiles returns the nearest-rank percentiles: of n durations in order, the p-th is number ⌈p·n/100⌉.
func Percentiles(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	took = slices.Clone(took)
	slices.Sort(took)
	at := func(p int) time.Duration { return took[(p*len(took)+99)/100-1] }
	return Latency{P50: at(50), P95: at(95), P99: at(99)}
}

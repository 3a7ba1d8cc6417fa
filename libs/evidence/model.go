package evidence

import (
	"cmp"
	"math"
	"slices"
)

// Threshold is the Score from which Judge calls a question answerable.
const Threshold = 0.5

// ranking is the sentences of an analysis by how well they seem to answer.
type ranking struct {
	order  []int     // sentences, best first
	score  []float64 // linear score, by sentence
	belief []float64 // softmax of score, by sentence
}

const sentenceFeatures = 18

// features describes sentence i to the model that ranks sentences.
func (a *analysis) features(i int) [sentenceFeatures]float64 {
	q, st := a.q, &a.sentences[i]
	ctx := a.context(i)
	own := q.coverage(st.own)
	keys, hasKeys := q.share(ctx, isKey)
	f := [sentenceFeatures]float64{
		own,
		q.coverage(ctx),
		a.adjacency(st),
		1 / float64(1+st.passage),
		math.Log(float64(1 + st.size)),
		oneIf(st.heading),
		oneIf(st.code),
		oneIf(st.negated != q.negated),
		oneIf(st.clash),
		min(1, float64(st.news)/4),
		oneIf(st.ordinal == 0),
	}
	if hasKeys {
		f[11] = keys
		own, _ := q.share(st.own, isKey)
		f[12] = own
	}
	switch q.expects.kind {
	case quantity, duration, moment, person, place:
		f[13] = oneIf(st.cands > 0)
		if st.cands > 0 {
			f[14] = 1 / float64(1+st.near)
			f[15] = own
		}
	case definition:
		f[16] = oneIf(st.defines)
	case reason:
		f[17] = oneIf(st.defines)
	}
	return f
}

// adjacency is the share of neighbouring units of the question that stand
// together in st.
func (a *analysis) adjacency(st *sentence) float64 {
	n := len(a.q.units) - 1
	if n < 1 {
		return 0
	}
	count := 0
	for b := st.adjacent; b != 0; b &= b - 1 {
		count++
	}
	return float64(count) / float64(n)
}

func (a *analysis) rank() ranking {
	r := ranking{order: make([]int, len(a.sentences)), score: make([]float64, len(a.sentences))}
	w := &sentenceEnglish
	if a.q.chinese {
		w = &sentenceChinese
	}
	for i := range a.sentences {
		r.order[i] = i
		f := a.features(i)
		for k, v := range f {
			r.score[i] += w[k] * v
		}
	}
	r.belief = softmax(r.score)
	slices.SortStableFunc(r.order, func(x, y int) int { return cmp.Compare(r.score[y], r.score[x]) })
	return r
}

const verdictFeatures = 20

// describe gives the features of the verdict.
func (a *analysis) describe(r ranking) [verdictFeatures]float64 {
	q := a.q
	best := r.order[0]
	st := &a.sentences[best]
	ctx := a.context(best)
	covCtx := q.coverage(ctx)
	var maxOwn, maxPassage float64
	for i := range a.sentences {
		maxOwn = max(maxOwn, q.coverage(a.sentences[i].own))
	}
	for p := range a.passage {
		maxPassage = max(maxPassage, q.coverage(a.passage[p]))
	}
	keysHere, _ := q.share(ctx, isKey)
	keysAll, _ := q.share(a.all, isKey)
	numbersHere, _ := q.share(a.passage[st.passage], isNumber)
	keysPassage, _ := q.share(a.passage[st.passage], isKey)
	missing := 0.0
	for i, u := range q.units {
		if a.all[i] < supports {
			missing = max(missing, u.weight)
		}
	}
	missingHere := 0.0
	for i, u := range q.units {
		if a.passage[st.passage][i] < supports {
			missingHere += u.weight
		}
	}
	typed := q.expects.kind == quantity || q.expects.kind == duration || q.expects.kind == moment || q.expects.kind == person || q.expects.kind == place
	return [verdictFeatures]float64{
		1,
		r.score[best],
		r.belief[best],
		q.coverage(st.own),
		covCtx,
		maxOwn,
		maxPassage,
		q.coverage(a.all),
		keysHere,
		keysPassage,
		keysAll,
		numbersHere,
		missing,
		missingHere,
		oneIf(typed && st.cands == 0),
		oneIf(st.clash),
		oneIf(q.negated && !st.negated),
		math.Log(float64(len(q.units))),
		1 / float64(1+st.passage),
		a.adjacency(st),
	}
}

func (a *analysis) verdict(r ranking) float64 {
	w := &verdictEnglish
	if a.q.chinese {
		w = &verdictChinese
	}
	z := 0.0
	for k, v := range a.describe(r) {
		z += w[k] * v
	}
	return 1 / (1 + math.Exp(-z))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

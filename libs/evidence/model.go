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

const sentenceFeatures = 24

// features describes sentence i to the model that ranks sentences.
func (a *analysis) features(i int) [sentenceFeatures]float64 {
	q, st := a.q, &a.sentences[i]
	ctx := a.context(i)
	own := q.coverage(st.own)
	keys, hasKeys := q.share(ctx, isKey)
	f := [sentenceFeatures]float64{
		0:  own,
		1:  q.coverage(ctx),
		2:  a.adjacency(st),
		3:  1 / float64(1+st.passage),
		4:  math.Log(float64(1 + st.size)),
		5:  oneIf(st.heading),
		6:  oneIf(st.code),
		7:  oneIf(st.negated != q.negated),
		8:  oneIf(st.clash),
		9:  min(1, float64(st.news)/4),
		10: oneIf(st.ordinal == 0),
	}
	if hasKeys {
		f[11] = keys
		f[12], _ = q.share(st.own, isKey)
	}
	has, near := 0.0, 0.0
	if st.cands > 0 {
		has, near = 1, 1/float64(1+st.near)
	}
	switch q.expects.kind {
	case quantity, duration, setting:
		f[13], f[14], f[15] = has, near, has*own
		f[16] = oneIf(st.count)
	case moment, occasion:
		f[17], f[18], f[19] = has, near, has*own
	case person, place:
		f[20], f[21], f[22] = has, near, has*own
	case definition:
		f[23] = oneIf(st.defines)
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

const verdictFeatures = 28

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
	missing, missingHere := 0.0, 0.0
	for i, u := range q.units {
		if a.all[i] < supports {
			missing += u.weight
		}
		if a.passage[st.passage][i] < supports {
			missingHere += u.weight
		}
	}
	strict, loose := q.expects.kind.strict(), q.expects.kind.loose()
	cands, near := 0, farAway
	for _, i := range r.order[:min(3, len(r.order))] {
		cands += a.sentences[i].cands
		near = min(near, a.sentences[i].near)
	}
	plains, _ := q.share(ctx, func(u unit) bool { return !isKey(u) })
	worst := 0.0
	for i, u := range q.units {
		worst = max(worst, u.weight*float64(1-ctx[i]))
	}
	return [verdictFeatures]float64{
		0:  1,
		1:  r.score[best],
		2:  r.belief[best],
		3:  q.coverage(st.own),
		4:  covCtx,
		5:  maxOwn,
		6:  maxPassage,
		7:  q.coverage(a.all),
		8:  keysHere,
		9:  keysPassage,
		10: keysAll,
		11: numbersHere,
		12: min(missing, 3),
		13: min(missingHere, 3),
		14: oneIf(strict && cands == 0),
		15: oneIf(st.clash),
		16: oneIf(q.negated && !st.negated),
		17: math.Log(float64(len(q.units))),
		18: 1 / float64(1+st.passage),
		19: a.adjacency(st),
		20: oneIf(loose && cands == 0),
		21: oneIf(q.counted >= 0 && st.count),
		22: oneIf(strict),
		23: oneIf(loose),
		24: plains,
		25: worst,
		26: oneIf(strict) / float64(1+near),
		27: oneIf(loose) / float64(1+near),
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

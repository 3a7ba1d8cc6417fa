package evidence

import (
	"flag"
	"fmt"
	"go/format"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var fit = flag.Bool("fit", false, "fit the weights of model.go on the training articles and print them")

type fitted struct {
	e       example
	chinese bool
	a       *analysis
	feats   [][sentenceFeatures]float64
	golds   []bool
}

func TestFit(t *testing.T) {
	if !*fit {
		t.Skip("run with -fit to fit the weights")
	}
	squad := loadDataset(t, "squad-v1.1-dev")
	cmrc := loadDataset(t, "cmrc2018-dev")
	var ex []example
	ex = append(ex, squad.examples(t, "squad", 1)...)
	un := readLines[query](t, filepath.Join(datasetRoot(), "squad-v1.1-dev", "unanswerable.jsonl"))
	ex = append(ex, squad.unanswerable(un)...)
	ex = append(ex, cmrc.examples(t, "cmrc", 2)...)
	var fs []fitted
	for _, e := range ex {
		q := parse(e.question, true)
		if len(q.units) == 0 {
			continue
		}
		a := analyse(&q, e.passages)
		if len(a.sentences) == 0 {
			continue
		}
		f := fitted{e: e, a: a, chinese: q.chinese}
		for i := range a.sentences {
			f.feats = append(f.feats, a.features(i))
			st := a.sentences[i]
			f.golds = append(f.golds, st.passage == e.gold && holds(e.passages[st.passage].Text[st.span.Start:st.span.End], e.answers))
		}
		fs = append(fs, f)
	}
	for _, chinese := range []bool{false, true} {
		w := fitSentences(fs, chinese)
		if chinese {
			sentenceChinese = w
		} else {
			sentenceEnglish = w
		}
	}
	for _, chinese := range []bool{false, true} {
		var xs [][]float64
		var ys []bool
		var ws []float64
		for i := range fs {
			f := &fs[i]
			if f.chinese != chinese || held(f.e.article) || f.e.answer && f.e.gold < 0 {
				continue
			}
			d := f.a.evidence(f.a.rank())
			xs = append(xs, d[:])
			ys = append(ys, f.e.answer)
			ws = append(ws, setWeight(f.e.set))
		}
		var yes, no float64
		for i, y := range ys {
			if y {
				yes += ws[i]
			} else {
				no += ws[i]
			}
		}
		for i, y := range ys {
			if y {
				ws[i] *= no / yes
			}
		}
		pr := verdictPrior()
		if chinese {
			// Questions of this set repeat the passage's own words, so that a
			// missing one weighs too much: English knows better.
			for _, k := range []int{missingAnywhere, missingHere, worstUnit} {
				pr[k].mean, pr[k].strength = verdictEnglish[k], 300
			}
		}
		w := logistic(xs, ys, ws, pr)
		for again := true; again; {
			again = false
			for k := range w {
				if w[k]*float64(pr[k].sign) < -1e-6 {
					pr[k], again = prior{0, 1e9, 0}, true
				}
			}
			w = logistic(xs, ys, ws, pr)
		}
		if chinese {
			w[always] += 0.6
			copy(verdictChinese[:], w)
		} else {
			copy(verdictEnglish[:], w)
		}
	}
	writeWeights(t)
	report(fs, true)
	report(fs, false)
}

// prior is the Gaussian prior of a weight. What the training sets can't teach,
// because passages of an encyclopedia always hold some number or have no code, is
// set by a strong one.
// A sign keeps a weight from taking the direction that makes no sense, which
// features that go together would otherwise talk it into.
type prior struct {
	mean, strength float64
	sign           int
}

func verdictPrior() []prior {
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

func sentencePrior() []prior {
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
	out[isDefinition] = prior{2.5, .3, 1}
	return out
}

func setWeight(set string) float64 {
	for _, kv := range strings.Fields(os.Getenv("SETW")) {
		k, v, _ := strings.Cut(kv, "=")
		if k == set {
			x, _ := strconv.ParseFloat(v, 64)
			return x
		}
	}
	switch set {
	case "squad-un":
		return 5
	case "squad-swap", "squad-cut", "squad-away":
		return .4
	case "cmrc-swap":
		return .15
	}
	return 1
}

func datasetRoot() string {
	if r := os.Getenv("RAGMESH_DATASETS"); r != "" {
		return r
	}
	return "../../../shared/datasets"
}

func report(fs []fitted, heldOut bool) {
	scores := map[string][]float64{}
	top1, top2, n := map[string]int{}, map[string]int{}, map[string]int{}
	for i := range fs {
		f := &fs[i]
		if held(f.e.article) != heldOut {
			continue
		}
		r := f.a.rank()
		scores[f.e.set] = append(scores[f.e.set], f.a.verdict(r))
		if f.e.answer {
			n[f.e.set]++
			for k := 0; k < 2 && k < len(r.order); k++ {
				st := f.a.sentences[r.order[k]]
				sp := f.a.quoted(r.order[k])
				if holds(f.e.passages[st.passage].Text[sp.Start:sp.End], f.e.answers) {
					if k == 0 {
						top1[f.e.set]++
					}
					top2[f.e.set]++
					break
				}
			}
		}
	}
	fmt.Printf("held out %v\n", heldOut)
	for _, p := range [][2]string{{"squad", "squad-un"}, {"squad", "squad-cut"}, {"squad", "squad-away"}, {"squad", "squad-swap"}, {"cmrc", "cmrc-cut"}, {"cmrc", "cmrc-away"}, {"cmrc", "cmrc-swap"}} {
		y, no := scores[p[0]], scores[p[1]]
		fmt.Printf("  %-6s %-10s AUC %.4f  yes>=.5 %.3f  no<.5 %.3f\n", p[0], p[1], auc(y, no), share(y, .5), 1-share(no, .5))
	}
	for _, s := range []string{"squad", "cmrc"} {
		fmt.Printf("  %-6s top1 %.4f top2 %.4f n %d\n", s, float64(top1[s])/float64(n[s]), float64(top2[s])/float64(n[s]), n[s])
	}
}

func share(xs []float64, t float64) float64 {
	n := 0
	for _, x := range xs {
		if x >= t {
			n++
		}
	}
	return float64(n) / float64(len(xs))
}

// fitSentences maximises the likelihood that softmax picks a sentence holding
// the answer in the right passage (full-batch gradient descent with momentum).
func fitSentences(fs []fitted, chinese bool) [sentenceFeatures]float64 {
	var w, v [sentenceFeatures]float64
	pr := sentencePrior()
	var sel []*fitted
	for i := range fs {
		f := &fs[i]
		if f.chinese == chinese && f.e.answer && !held(f.e.article) && slices.Contains(f.golds, true) {
			sel = append(sel, f)
		}
	}
	for iter := range 400 {
		var g [sentenceFeatures]float64
		ll := 0.0
		for _, f := range sel {
			s := make([]float64, len(f.feats))
			for i := range f.feats {
				for k, x := range f.feats[i] {
					s[i] += w[k] * x
				}
			}
			p := softmax(s)
			var pg float64
			for i := range p {
				if f.golds[i] {
					pg += p[i]
				}
			}
			ll += math.Log(pg + 1e-12)
			for i := range p {
				c := -p[i]
				if f.golds[i] {
					c += p[i] / (pg + 1e-12)
				}
				for k, x := range f.feats[i] {
					g[k] += c * x
				}
			}
		}
		for k := range w {
			g[k] = g[k]/float64(len(sel)) + pr[k].strength*(pr[k].mean-w[k])
			v[k] = .9*v[k] + g[k]
			w[k] += .4 * v[k]
			if w[k]*float64(pr[k].sign) < 0 {
				w[k], v[k] = 0, 0
			}
		}
		if iter%200 == 199 {
			fmt.Printf("iter %d ll %.4f\n", iter, ll/float64(len(sel)))
		}
	}
	return w
}

// logistic fits a ridge logistic regression by Newton's method.
func logistic(xs [][]float64, ys []bool, ws []float64, priors []prior) []float64 {
	n := len(xs[0])
	w := make([]float64, n)
	for range 15 {
		h := make([][]float64, n)
		for i := range h {
			h[i] = make([]float64, n+1)
			h[i][i] = priors[i].strength
			h[i][n] = priors[i].strength * (priors[i].mean - w[i])
		}
		for s, x := range xs {
			z := 0.0
			for k, v := range x {
				z += w[k] * v
			}
			p := 1 / (1 + math.Exp(-z))
			y := 0.0
			if ys[s] {
				y = 1
			}
			for i, v := range x {
				h[i][n] += ws[s] * (y - p) * v
				for j := range x {
					h[i][j] += ws[s] * p * (1 - p) * v * x[j]
				}
			}
		}
		for i := range h { // Gauss-Jordan
			d := h[i][i]
			for j := range h[i] {
				h[i][j] /= d
			}
			for r := range h {
				if r != i {
					c := h[r][i]
					for j := range h[r] {
						h[r][j] -= c * h[i][j]
					}
				}
			}
		}
		for i := range w {
			w[i] += h[i][n]
		}
	}
	return w
}

const weightsFile = "weights.go"

func writeWeights(t *testing.T) {
	var b strings.Builder
	b.WriteString("package evidence\n\n// Code generated by go test -run TestFit -fit; DO NOT EDIT.\n\nvar (\n")
	for _, m := range []struct {
		name, size string
		w          []float64
	}{
		{"sentenceEnglish", "sentenceFeatures", sentenceEnglish[:]},
		{"sentenceChinese", "sentenceFeatures", sentenceChinese[:]},
		{"verdictEnglish", "verdictFeatures", verdictEnglish[:]},
		{"verdictChinese", "verdictFeatures", verdictChinese[:]},
	} {
		fmt.Fprintf(&b, "%s = [%s]float64{", m.name, m.size)
		for i, v := range m.w {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%.3f", v)
		}
		b.WriteString("}\n")
	}
	b.WriteString(")\n")
	src, err := format.Source([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(weightsFile, src, 0o644); err != nil {
		t.Fatal(err)
	}
}

package evidence

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var full = flag.Bool("full", false, "measure on all held-out questions rather than every third")

// TestMeasure prints how well Judge does on the articles no weight was fitted on,
// and holds it to floors a little below what it was when they were set.
func TestMeasure(t *testing.T) {
	stride := 3 // takes a second; -full all questions
	if *full {
		stride = 1
	}
	samples := measured(allExamples(t, stride, held))
	scores := map[string][]float64{}
	for _, s := range samples {
		scores[s.set] = append(scores[s.set], s.a.verdict(s.a.rank()))
	}
	for _, c := range []struct {
		yes, no, why string
		floor        float64
	}{
		{"squad", "squad-unanswerable", "SQuAD 2.0's own, written to look answerable", 0.66},
		{"squad", "squad-cut", "the right passage without its answering sentences", 0.79},
		{"squad", "squad-swap", "one word of the question changed", 0.73},
		{"squad", "squad-away", "passages of other articles", 0.92},
		{"cmrc", "cmrc-cut", "the right passage without its answering sentences", 0.82},
		{"cmrc", "cmrc-swap", "one word of the question changed", 0.82},
		{"cmrc", "cmrc-away", "passages of other articles", 0.92},
	} {
		yes, no := scores[c.yes], scores[c.no]
		got := auc(yes, no)
		t.Logf("%-18s AUC %.3f  answered %.3f  declined %.3f  (%s; %d and %d questions)",
			c.no, got, share(yes, Threshold), 1-share(no, Threshold), c.why, len(yes), len(no))
		if got < c.floor {
			t.Errorf("AUC of %s against %s = %.3f, want at least %.2f", c.yes, c.no, got, c.floor)
		}
	}
	for set, floor := range map[string]float64{"squad": 0.72, "cmrc": 0.80} {
		first, second, n := answered(samples, set)
		t.Logf("%-18s answer in the first sentence %.3f, in the first two %.3f (%d questions)", set, first, second, n)
		if first < floor {
			t.Errorf("%s: answer in the first sentence of %.3f, want at least %.2f", set, first, floor)
		}
	}
}

// answered is the share of a set's answerable questions whose first, or first or
// second, sentence holds an answer. Questions whose passage was not retrieved
// count as failures.
func answered(samples []*sample, set string) (first, second float64, n int) {
	for _, s := range samples {
		if s.set != set {
			continue
		}
		n++
		r := s.a.rank()
		for k, sentence := range s.a.choose(r, s.passages) {
			if k < 2 && holds(sentence.Text, s.answers) {
				second++
				if k == 0 {
					first++
				}
				break
			}
		}
	}
	return first / float64(n), second / float64(n), n
}

// kubernetes is testdata/kubernetes.json: questions on the concept pages in two
// languages with the passages a search found for them.
type kubernetes struct {
	Questions []struct {
		Question   string
		Language   string
		Answers    []string // any of these, white space folded, in a quote answers
		Answerable bool
		Near       bool // unanswerable though the right page was found
		Held       bool // written after the features were settled on the others; Threshold was chosen on all
		Passages   []string
	}
	Passages []struct {
		ID       string
		Title    string
		Headings []string
		Text     string
	}
}

// TestKubernetes holds Judge to what ragmesh promises on technical documentation:
// of 20 answerable questions 18 are answered, of 10 others, half of them near
// misses, 8 are declined.
func TestKubernetes(t *testing.T) {
	raw, err := os.ReadFile("testdata/kubernetes.json")
	if err != nil {
		t.Fatal(err)
	}
	var set kubernetes
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	passages := map[string]Passage{}
	for _, p := range set.Passages {
		passages[p.ID] = Passage{Title: p.Title, Headings: p.Headings, Text: p.Text}
	}
	for _, language := range []string{"en", "zh"} {
		var yes, near, far []float64
		quoted := 0
		for _, q := range set.Questions {
			if q.Language != language {
				continue
			}
			var given []Passage
			for _, id := range q.Passages {
				given = append(given, passages[id])
			}
			v := Judge(q.Question, given)
			switch {
			case q.Answerable:
				yes = append(yes, v.Score)
				if slices.ContainsFunc(v.Sentences, func(s Sentence) bool {
					return holds(strings.Join(strings.Fields(s.Text), " "), q.Answers)
				}) {
					quoted++
				}
			case q.Near:
				near = append(near, v.Score)
			default:
				far = append(far, v.Score)
			}
			if v.Answerable != q.Answerable {
				t.Logf("answerable %v, score %.2f, missing %q: %s", q.Answerable, v.Score, v.Missing, q.Question)
			}
		}
		declined := (1 - share(near, Threshold) + 1 - share(far, Threshold)) / 2
		t.Logf("%s: AUC %.3f; answered %.2f of %d, answer among the sentences %.2f; declined %.2f of %d near misses and %.2f of %d others",
			language, auc(yes, append(slices.Clone(near), far...)), share(yes, Threshold), len(yes), float64(quoted)/float64(len(yes)),
			1-share(near, Threshold), len(near), 1-share(far, Threshold), len(far))
		if share(yes, Threshold) < 0.9 || declined < 0.8 {
			t.Errorf("%s: answered %.2f, declined %.2f; want at least 0.9 and 0.8", language, share(yes, Threshold), declined)
		}
	}
}

func share(scores []float64, threshold float64) float64 {
	n := 0
	for _, s := range scores {
		if s >= threshold {
			n++
		}
	}
	return float64(n) / float64(len(scores))
}

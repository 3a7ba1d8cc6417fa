package evidence

import (
	"bufio"
	"cmp"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/text"
)

// dataset is a folder of ../shared/datasets with a small exact BM25 index over it.
type dataset struct {
	dir     string
	docs    []document
	byID    map[string]int
	queries []query
	posts   map[string][]posting
	length  []float64
	average float64
}

type document struct{ ID, Title, Text string }

type query struct {
	ID, Text, Near string
	Answers        []string
}

type posting struct {
	doc int
	tf  float64
}

func loadDataset(t testing.TB, name string) *dataset {
	t.Helper()
	root := os.Getenv("RAGMESH_DATASETS")
	if root == "" {
		// The checkout lies beside shared/: walk up from the package.
		for dir := ".."; len(dir) < 30; dir = filepath.Join("..", dir) {
			if c := filepath.Join(dir, "shared", "datasets"); exists(c) {
				root = c
				break
			}
		}
	}
	dir := filepath.Join(root, name)
	if root == "" || !exists(filepath.Join(dir, "corpus.jsonl")) {
		t.Skipf("no dataset %s: set RAGMESH_DATASETS to the folder that holds it", name)
	}
	d := &dataset{dir: dir, docs: readLines[document](t, filepath.Join(dir, "corpus.jsonl")), byID: map[string]int{}, posts: map[string][]posting{}}
	d.queries = readLines[query](t, filepath.Join(dir, "queries.jsonl"))
	near := map[string]string{}
	raw, err := os.ReadFile(filepath.Join(dir, "qrels.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Split(line, "\t"); len(f) > 1 {
			near[f[0]] = f[1]
		}
	}
	for i := range d.queries {
		d.queries[i].Near = near[d.queries[i].ID]
	}
	for i, doc := range d.docs {
		d.byID[doc.ID] = i
		tf := map[string]float64{}
		var n float64
		for weight, s := range map[float64]string{2: doc.Title, 1: doc.Text} {
			for _, tok := range text.Tokens(s) {
				if !tok.Stop {
					tf[tok.Term] += weight
					n += weight
				}
			}
		}
		for term, f := range tf {
			d.posts[term] = append(d.posts[term], posting{i, f})
		}
		d.length = append(d.length, n)
		d.average += n / float64(len(d.docs))
	}
	return d
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readLines[T any](t testing.TB, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []T
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

type hit struct {
	doc   int
	score float64
}

// search returns the k best documents that keep accepts.
func (d *dataset) search(q string, k int, keep func(document) bool) []hit {
	const k1, b = 1.2, 0.75
	scores := map[int]float64{}
	for _, tok := range text.Tokens(q) {
		posts := d.posts[tok.Term]
		if tok.Stop {
			continue
		}
		n := float64(len(posts))
		idf := math.Log(1 + (float64(len(d.docs))-n+.5)/(n+.5))
		for _, p := range posts {
			scores[p.doc] += idf * p.tf * (k1 + 1) / (p.tf + k1*(1-b+b*d.length[p.doc]/d.average))
		}
	}
	hits := make([]hit, 0, len(scores))
	for doc, s := range scores {
		hits = append(hits, hit{doc, s})
	}
	slices.SortFunc(hits, func(x, y hit) int { return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.doc, y.doc)) })
	out := hits[:0]
	for _, h := range hits {
		if len(out) == k {
			break
		}
		if keep == nil || keep(d.docs[h.doc]) {
			out = append(out, h)
		}
	}
	return out
}

func (d *dataset) passages(hits []hit) []Passage {
	out := make([]Passage, len(hits))
	for i, h := range hits {
		out[i] = Passage{Title: d.docs[h.doc].Title, Text: d.docs[h.doc].Text, Score: h.score}
	}
	return out
}

// article is the id without its paragraph.
func article(id string) string { return id[:strings.LastIndexByte(id, '-')] }

// example is a question with what was retrieved for it.
type example struct {
	set      string // which kind of example
	article  string
	question string
	passages []Passage
	gold     int // passage that holds the answer, -1 when none
	answers  []string
	answer   bool
}

const topK = 8

// held tells the articles no weight was fitted on.
func held(article string) bool {
	n := 0
	for _, c := range article {
		if c >= '0' && c <= '9' {
			n = n*10 + int(c-'0')
		}
	}
	return n%3 == 0
}

// examples makes of every stride-th question: the question as it is; its near
// miss "cut", where every sentence that holds an answer was taken out of the
// passages; and "away", where only passages of other articles are left. SQuAD
// adds its own unanswerable questions.
func (d *dataset) examples(name string, stride int, keep func(article string) bool) []example {
	var out []example
	for i := 0; i < len(d.queries); i += stride {
		q := d.queries[i]
		art := article(q.Near)
		if !keep(art) {
			continue
		}
		hits := d.search(q.Text, topK, nil)
		e := example{set: name, article: art, question: q.Text, answers: q.Answers, gold: -1, answer: true, passages: d.passages(hits)}
		for k, h := range hits {
			if d.docs[h.doc].ID == q.Near {
				e.gold = k
			}
		}
		out = append(out, e)
		cut := e
		cut.set, cut.answer, cut.gold = name+"-cut", false, -1
		cut.passages = slices.Clone(e.passages)
		for k := range cut.passages {
			cut.passages[k].Text = without(cut.passages[k].Text, q.Answers)
		}
		out = append(out, cut)
		if other := &d.queries[(i+len(d.queries)/2)%len(d.queries)]; article(other.Near) != art {
			swap := e
			swap.set, swap.answer, swap.gold = name+"-swap", false, -1
			if q, ok := swapWord(q.Text, other.Text, i); ok {
				swap.question = q
				out = append(out, swap)
			}
		}
		away := e
		away.set, away.answer, away.gold = name+"-away", false, -1
		away.passages = d.passages(d.search(q.Text, topK, func(doc document) bool { return article(doc.ID) != art }))
		out = append(out, away)
	}
	return out
}

// swapWord puts a content word of other in the place of one of q: the right page
// is still found, but what is asked about it is not there.
func swapWord(q, other string, seed int) (string, bool) {
	from, to := plainUnits(q), plainUnits(other)
	if len(from) == 0 || len(to) == 0 {
		return "", false
	}
	f, o := from[seed%len(from)], to[seed/7%len(to)]
	return q[:f.start] + other[o.start:o.end] + q[f.end:], true
}

func plainUnits(s string) []unit {
	q := parse(s, true)
	var out []unit
	for _, u := range q.units {
		if u.kind == plain && u.weight == plainWeight || u.kind == hanPair && u.weight == pairWeight {
			out = append(out, u)
		}
	}
	return out
}

// allExamples makes examples of every stride-th question of both sets, and all
// unanswerable ones, about the articles that keep accepts.
func allExamples(t testing.TB, stride int, keep func(article string) bool) []example {
	t.Helper()
	squad, cmrc := loadDataset(t, "squad-v1.1-dev"), loadDataset(t, "cmrc2018-dev")
	out := squad.examples("squad", stride, keep)
	for _, q := range readLines[query](t, filepath.Join(squad.dir, "unanswerable.jsonl")) {
		if keep(article(q.Near)) {
			out = append(out, example{
				set: "squad-unanswerable", article: article(q.Near), question: q.Text, gold: -1,
				passages: squad.passages(squad.search(q.Text, topK, nil)),
			})
		}
	}
	return append(out, cmrc.examples("cmrc", stride, keep)...)
}

func without(s string, answers []string) string {
	var b strings.Builder
	for _, sp := range text.Sentences(s) {
		if sentence := s[sp.Start:sp.End]; !holds(sentence, answers) {
			b.WriteString(sentence)
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func holds(s string, answers []string) bool {
	for _, a := range answers {
		if a != "" && strings.Contains(s, a) {
			return true
		}
	}
	return false
}

// auc is the probability that an answerable question scores above one that is not.
func auc(yes, no []float64) float64 {
	slices.Sort(no)
	var sum float64
	for _, y := range yes {
		lo, _ := slices.BinarySearch(no, y)
		hi := lo
		for hi < len(no) && no[hi] == y {
			hi++
		}
		sum += float64(lo) + float64(hi-lo)/2
	}
	return sum / float64(len(yes)) / float64(len(no))
}

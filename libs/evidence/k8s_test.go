package evidence

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

type k8sQuestion struct {
	Question   string
	Language   string
	Answers    []string
	Answerable bool
	Near       bool
	Passages   []string
}

func TestK8sDev(t *testing.T) {
	raw, err := os.ReadFile("testdata/k8s.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Questions []k8sQuestion
		Passages  []struct {
			ID       string
			Title    string
			Headings []string
			Text     string
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	byID := map[string]Passage{}
	for _, p := range file.Passages {
		byID[p.ID] = Passage{Title: p.Title, Headings: p.Headings, Text: p.Text}
	}
	var yes, no []float64
	for _, q := range file.Questions {
		var ps []Passage
		for _, id := range q.Passages {
			ps = append(ps, byID[id])
		}
		v := Judge(q.Question, ps)
		if d := os.Getenv("DEBUGQ"); d != "" && strings.Contains(q.Question, d) {
			qq := parse(q.Question, true)
			a := analyse(&qq, ps)
			r := a.rank()
			w := verdictEnglish
			if qq.chinese {
				w = verdictChinese
			}
			for _, u := range qq.units {
				fmt.Printf("%s:%.2f ", u.term, u.weight)
			}
			fmt.Println(qq.expects)
			for k, x := range a.describe(r) {
				fmt.Printf("%d: %.2f * %.2f = %.2f\n", k, x, w[k], x*w[k])
			}
			for _, i := range r.order[:min(5, len(r.order))] {
				fmt.Printf("%.2f %v %.80q\n", r.score[i], a.features(i), ps[a.sentences[i].passage].Text[a.sentences[i].span.Start:a.sentences[i].span.End])
			}
		}
		mark := "  "
		rank := 0
		for i, s := range v.Sentences {
			if holds(strings.Join(strings.Fields(s.Text), " "), q.Answers) {
				rank = i + 1
				break
			}
		}
		if q.Answerable {
			yes = append(yes, v.Score)
			if !v.Answerable || rank == 0 || rank > 2 {
				mark = "**"
			}
		} else {
			no = append(no, v.Score)
			if v.Answerable {
				mark = "**"
			}
		}
		top := ""
		if len(v.Sentences) > 0 {
			top = v.Sentences[0].Text
		}
		if testing.Verbose() {
			fmt.Printf("%s %v %.2f rank %d %s | %q | %.140q\n", mark, q.Answerable, v.Score, rank, q.Question, v.Missing, top)
		}
	}
	fmt.Printf("k8s AUC %.3f answered %.3f declined %.3f\n", auc(yes, no), share(yes, Threshold), 1-share(no, Threshold))
}

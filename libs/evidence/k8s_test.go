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
	Held       bool
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
	byLang := map[string][2][]float64{}
	for _, q := range file.Questions {
		if os.Getenv("HELD") != "all" && q.Held != (os.Getenv("HELD") != "") {
			continue
		}
		var ps []Passage
		for _, id := range q.Passages {
			ps = append(ps, byID[id])
		}
		v := Judge(q.Question, ps)
		mark := "  "
		bl := byLang[q.Language]
		if q.Answerable {
			bl[0] = append(bl[0], v.Score)
		} else if q.Near {
			bl[1] = append(bl[1], v.Score)
		}
		byLang[q.Language] = bl
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
	for l, b := range byLang {
		fmt.Printf("%s near AUC %.3f\n", l, auc(b[0], b[1]))
		for _, th := range []float64{.3, .35, .4, .45, .5, .55, .6} {
			fmt.Printf("%s th %.2f answered %.2f near declined %.2f\n", l, th, share(b[0], th), 1-share(b[1], th))
		}
	}
}

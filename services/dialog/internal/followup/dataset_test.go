package followup

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOthersQuestionsAreLeftAlone asks public sets' questions after unrelated ones: every one of them changes the topic. What is
// changed all the same are, for the most part, questions with a pronoun that only their paragraph explains.
func TestOthersQuestionsAreLeftAlone(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]float64{"squad-v1.1-dev": .04, "cmrc2018-dev": .01} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(filepath.Join(datasets(), name, "queries.jsonl"))
			if err != nil {
				t.Skipf("the data set is not here (%v); set RAGMESH_DATASETS to the folder that holds it", err)
			}
			var asked []string
			for line := range strings.Lines(string(raw)) {
				var q struct{ Text string }
				if err := json.Unmarshal([]byte(line), &q); err != nil {
					t.Fatal(err)
				}
				asked = append(asked, q.Text)
			}
			changed := 0
			for i, q := range asked {
				if got := Rewrite(q, []Exchange{{Question: asked[(7*i+len(asked)/2)%len(asked)]}}); got.Rule != "" {
					changed++
				}
			}
			t.Logf("%d of %d changed", changed, len(asked))
			if share := float64(changed) / float64(len(asked)); share > most {
				t.Errorf("%.3f of the questions were changed; want at most %.3f", share, most)
			}
		})
	}
}

// datasets is the folder of the public data sets: beside the repository, where nothing else is said.
func datasets() string {
	if dir := os.Getenv("RAGMESH_DATASETS"); dir != "" {
		return dir
	}
	at, err := os.Getwd()
	if err != nil {
		return ""
	}
	for ; at != filepath.Dir(at); at = filepath.Dir(at) {
		if dir := filepath.Join(at, "shared", "datasets"); len(at) > 1 {
			if _, err := os.Stat(dir); err == nil {
				return dir
			}
		}
	}
	return ""
}

func FuzzUsable(f *testing.F) {
	f.Add("And last year?", "What was the revenue last year?", "What was the revenue this year?")
	f.Add("那去年呢？", "“去年的净利润是多少？”", "今年的净利润是多少？")
	f.Add("x", "\"", "\xff")
	f.Add("And \x04\x00 \x89", "haA 000 000 \x00000000 0000 00000", "What ws\xa6\x84R yas txe reaaaaa this\xe1\xe1e00")
	f.Add("And the silver İ?", "x", "How much is the gold İİİ fee for the gold İ?")
	f.Fuzz(func(t *testing.T, question, said, before string) {
		history := []Exchange{{Question: before, Answer: before}}
		got, why := Usable(question, said, history)
		if (got == "") != (why != "") || len(got) > len(question)+maxAdded || strings.ContainsAny(got, "\n\r\x00") {
			t.Fatalf("%q (%q) of %q", got, why, said)
		}
		Unsure(question, Rewrite(question, history), history)
	})
}

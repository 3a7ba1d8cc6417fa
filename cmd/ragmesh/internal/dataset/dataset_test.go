package dataset_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/dataset"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func whole() map[string]string {
	return map[string]string{
		"corpus.jsonl":  "\ufeff" + `{"id":"d1","title":"One","text":"first"}` + "\n\n" + `{"id":"d2","text":"第二"}` + "\r\n",
		"queries.jsonl": `{"id":"q1","text":"which?","answers":["first"]}`,
		"qrels.tsv":     "q1\td1\t1\nq1\td2\t0\n",
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	got, err := dataset.Read(folder(t, whole()))
	want := &dataset.Dataset{
		Documents:  []dataset.Document{{ID: "d1", Title: "One", Text: "first"}, {ID: "d2", Text: "第二"}},
		Queries:    []dataset.Query{{ID: "q1", Text: "which?"}},
		Judgements: dataset.Judgements{"q1": {"d1": 1, "d2": 0}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ file, text, want string }{
		"broken JSON":           {"corpus.jsonl", "{\"id\":\"d1\",\"text\":\"x\"}\n{", "corpus.jsonl:2: not a JSON document"},
		"no id":                 {"corpus.jsonl", `{"text":"x"}`, "corpus.jsonl:1: id is missing"},
		"id with a space":       {"corpus.jsonl", `{"id":"a b","text":"x"}`, "white space"},
		"an id twice":           {"queries.jsonl", "{\"id\":\"q1\",\"text\":\"x\"}\n{\"id\":\"q1\",\"text\":\"y\"}", "queries.jsonl:2: id \"q1\" is used twice"},
		"empty text":            {"queries.jsonl", `{"id":"q1","text":"  "}`, "text is empty"},
		"not UTF-8":             {"corpus.jsonl", "{\"id\":\"d1\",\"text\":\"\xff\"}", "not UTF-8"},
		"two fields":            {"qrels.tsv", "q1\td1", "qrels.tsv:1: 2 tab separated fields"},
		"grade that is a word":  {"qrels.tsv", "q1\td1\tgood", "grade \"good\""},
		"grade below zero":      {"qrels.tsv", "q1\td1\t-1", "grade \"-1\""},
		"unknown query":         {"qrels.tsv", "q9\td1\t1", "query \"q9\""},
		"unknown document":      {"qrels.tsv", "q1\td9\t1", "document \"d9\""},
		"line beyond its bound": {"corpus.jsonl", `{"id":"d1","text":"` + strings.Repeat("x", 4<<20) + `"}`, "line of more than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := whole()
			files[tt.file] = tt.text
			if _, err := dataset.Read(folder(t, files)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Read = %v; want %q in it", err, tt.want)
			}
		})
	}
	t.Run("missing file", func(t *testing.T) {
		t.Parallel()
		files := whole()
		delete(files, "queries.jsonl")
		if _, err := dataset.Read(folder(t, files)); err == nil || !strings.Contains(err.Error(), "queries.jsonl") {
			t.Errorf("Read = %v; want the file's name", err)
		}
	})
}

func FuzzReadDocuments(f *testing.F) {
	f.Add(whole()["corpus.jsonl"])
	f.Fuzz(func(t *testing.T, text string) {
		documents, err := dataset.ReadDocuments(strings.NewReader(text))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, d := range documents {
			if d.ID == "" || strings.TrimSpace(d.Text) == "" || seen[d.ID] || strings.Contains(d.ID, " ") {
				t.Errorf("taken: %+v", d)
			}
			seen[d.ID] = true
		}
	})
}

func FuzzReadQueries(f *testing.F) {
	f.Add(whole()["queries.jsonl"])
	f.Fuzz(func(t *testing.T, text string) {
		queries, err := dataset.ReadQueries(strings.NewReader(text))
		for _, q := range queries {
			if err == nil && (q.ID == "" || q.Text == "") {
				t.Errorf("taken: %+v", q)
			}
		}
	})
}

func FuzzReadJudgements(f *testing.F) {
	f.Add(whole()["qrels.tsv"])
	f.Fuzz(func(t *testing.T, text string) {
		judgements, err := dataset.ReadJudgements(strings.NewReader(text))
		if err != nil {
			return
		}
		for q, grades := range judgements {
			for d, g := range grades {
				if q == "" || d == "" || g < 0 {
					t.Errorf("taken: %q %q %d", q, d, g)
				}
			}
		}
	})
}

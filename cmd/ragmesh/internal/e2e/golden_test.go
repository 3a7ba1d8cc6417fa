package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// golden is a question with the words of which one must stand in a cited quote. Without any, it must be declined.
type golden struct {
	ID       string   `json:"id"`
	Question string   `json:"question"`
	Answers  []string `json:"answers"`
}

func readGolden(t *testing.T, path string) (answerable, unanswerable []golden) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if len(g.Answers) > 0 {
			answerable = append(answerable, g)
		} else {
			unanswerable = append(unanswerable, g)
		}
	}
	return answerable, unanswerable
}

// ask asks through the public API and returns the finished turn.
func ask(t *testing.T, s *e2e.System, question string) *dialogv1.Turn {
	t.Helper()
	return askIn(t, s, "default", question)
}

func askIn(t *testing.T, s *e2e.System, workspace, question string) *dialogv1.Turn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := dialogv1connect.NewDialogServiceClient(http.DefaultClient, s.Server).Chat(ctx, &dialogv1.ChatRequest{Workspace: workspace, Question: question})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var streamed strings.Builder
	for stream.Receive() {
		switch event := stream.Msg().GetEvent().(type) {
		case *dialogv1.ChatResponse_Delta:
			streamed.WriteString(event.Delta.GetText())
		case *dialogv1.ChatResponse_Restarted:
			streamed.Reset()
		case *dialogv1.ChatResponse_Failed:
			t.Fatalf("%q failed: %s", question, event.Failed.GetMessage())
		case *dialogv1.ChatResponse_Completed:
			turn := event.Completed.GetTurn()
			if turn.GetAnswer() != streamed.String() {
				t.Errorf("%q: the record says %q, the stream said %q", question, turn.GetAnswer(), streamed.String())
			}
			return turn
		}
	}
	t.Fatalf("%q: the stream ended without completed: %v", question, stream.Err())
	return nil
}

// plain makes quotes and expected words comparable: Markdown's backticks and line breaks aside, they must be the same.
func plain(s string) string {
	return strings.ToLower(strings.Join(strings.Fields(strings.NewReplacer("`", "", "*", "").Replace(s)), " "))
}

// cites reports whether a citation that was found supported quotes one of the answers.
func cites(turn *dialogv1.Turn, answers []string) bool {
	for _, c := range turn.GetCitations() {
		for _, answer := range answers {
			if c.GetSupport() == dialogv1.Support_SUPPORT_SUPPORTED && strings.Contains(plain(c.GetQuote()), plain(answer)) {
				return true
			}
		}
	}
	return false
}

// checkGolden asks every question and fails when fewer than the wanted numbers come out right.
func checkGolden(t *testing.T, s *e2e.System, path string, wantAnswered, wantDeclined int) {
	t.Helper()
	answerable, unanswerable := readGolden(t, path)
	answered, declined := 0, 0
	for _, g := range answerable {
		turn := ask(t, s, g.Question)
		if turn.GetOutcome() == dialogv1.Outcome_OUTCOME_ANSWERED && cites(turn, g.Answers) {
			answered++
			continue
		}
		t.Logf("%s %q: %v, evidence %.2f, no quote with %q in\n%s\n%v", g.ID, g.Question, turn.GetOutcome(), turn.GetEvidence().GetScore(), g.Answers, turn.GetAnswer(), turn.GetCitations())
	}
	for _, g := range unanswerable {
		turn := ask(t, s, g.Question)
		if turn.GetOutcome() == dialogv1.Outcome_OUTCOME_ABSTAINED {
			declined++
			continue
		}
		t.Logf("%s %q should be declined: %v, evidence %.2f\n%s", g.ID, g.Question, turn.GetOutcome(), turn.GetEvidence().GetScore(), turn.GetAnswer())
	}
	t.Logf("answered with the right quote: %d of %d; declined: %d of %d", answered, len(answerable), declined, len(unanswerable))
	if answered < wantAnswered || declined < wantDeclined {
		t.Errorf("want at least %d answered and %d declined", wantAnswered, wantDeclined)
	}
}

// datasets returns a folder of the reference datasets, or skips: they are not part of the repository.
func datasets(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("RAGMESH_DATASETS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "..", "..", "shared", "datasets")
	}
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the dataset %s is not here (%v); set RAGMESH_DATASETS to the folder that holds it", name, err)
	}
	return dir
}

// Thirty questions on the Kubernetes concept pages in both languages: the thread through all five services.
func TestGoldenQuestionsOnKubernetesDocs(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	dir := datasets(t, "docs-k8s")
	for name, start := range systems() {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			must(t, s, "ingest", "--base", dir, filepath.Join(dir, "en"), filepath.Join(dir, "zh-cn"))
			checkGolden(t, s, filepath.Join("testdata", "docs-k8s-golden.jsonl"), 18, 8)
			if name == "all in one" {
				checkFollowUps(t, s)
			}
		})
	}
}

// The example does what its README says.
func TestBankSupportExample(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole system")
	}
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "..", "examples", "bank-support"))
	if err != nil {
		t.Fatal(err)
	}
	s := e2e.StartAllInOne(t, e2e.WithConfig(filepath.Join(dir, "config")))
	must(t, s, "config", "check", "--config", filepath.Join(dir, "config"))
	must(t, s, "ingest", filepath.Join(dir, "documents"))
	checkGolden(t, s, filepath.Join(dir, "golden.jsonl"), 11, 4)
	if turn := ask(t, s, "转人工"); !strings.Contains(turn.GetAnswer(), "+353 1 555 0100") {
		t.Errorf("the fixed reply is %q", turn.GetAnswer())
	}
}

package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// TestOfficialOpenAIClients holds a conversation with the whole system through OpenAI's own clients.
func TestOfficialOpenAIClients(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	clients := filepath.Join(e2e.Root(t), ".bin", "clients")
	for name, command := range map[string][]string{
		"JavaScript": {"node", filepath.Join("testdata", "clients", "openai.mjs")},
		"Python":     {filepath.Join(clients, "python", "bin", "python"), filepath.Join("testdata", "clients", "openai_client.py")},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(clients, "ready")); err != nil {
				t.Skip("the clients are not installed: run `make clients`, which needs node, npm and python3")
			}
			dir := documents(t)
			s := e2e.StartAllInOne(t)
			must(t, s, "ingest", "--base", dir, dir)

			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, command[0], append(command[1:], s.Server, "What does a replacement card cost?", "And within how many working days does it arrive?")...) //nolint:gosec // a script of ours
			cmd.Env = append(os.Environ(), "RAGMESH_CLIENTS="+clients)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			checkConversation(t, out)
		})
	}
}

func checkConversation(t *testing.T, out []byte) {
	t.Helper()
	type answer struct {
		Text, Finish string
		Tokens       int
		Annotations  []struct {
			Citation struct{ URL, Title string } `json:"url_citation"`
		}
	}
	var got struct {
		Models          []string
		Whole, Streamed answer
		Chunks          int
		Refused         struct {
			Type        string
			Status      int
			Code, Param string
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !slices.Contains(got.Models, "default") {
		t.Errorf("models %v", got.Models)
	}
	for what, test := range map[string]struct {
		answer answer
		want   string
	}{"whole": {got.Whole, "12 euros"}, "streamed": {got.Streamed, "five working days"}} {
		a := test.answer
		if !strings.Contains(a.Text, test.want) || a.Finish != "stop" || a.Tokens == 0 {
			t.Errorf("%s: %+v", what, a)
		}
		if len(a.Annotations) == 0 || a.Annotations[0].Citation.URL != "cards.md" || a.Annotations[0].Citation.Title == "" {
			t.Errorf("%s: citations %+v", what, a.Annotations)
		}
	}
	if got.Chunks == 0 {
		t.Error("nothing was streamed")
	}
	if r := got.Refused; r.Type != "NotFoundError" || r.Status != 404 || r.Code != "model_not_found" || r.Param != "model" {
		t.Errorf("the refusal is %+v", r)
	}
}

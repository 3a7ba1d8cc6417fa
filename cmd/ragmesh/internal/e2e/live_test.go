package e2e_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

func configure(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// revisions asks a question and returns the configuration revisions that its turn carries, by service.
func revisions(t *testing.T, s *e2e.System, question string) map[string]string {
	t.Helper()
	for line := range strings.Lines(must(t, s, "ask", "--json", question)) {
		var event struct {
			Completed *struct {
				Turn struct{ ConfigRevisions map[string]string }
			}
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if event.Completed != nil {
			return event.Completed.Turn.ConfigRevisions
		}
	}
	t.Fatal("the turn did not complete")
	return nil
}

// within gives a condition as long as a change may take on a busy machine.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// Files change while everything runs: the next turn follows, and what is not good changes nothing.
func TestConfigurationIsLive(t *testing.T) {
	for name, start := range systems() {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("starts whole systems")
			}
			const question = "What does a replacement card cost?"
			dir, config := documents(t), t.TempDir()
			configure(t, config, map[string]string{"retrieval/narrow.yaml": "top_k: 1\n", "prompts/default.yaml": "system_prompt: Be brief.\n"})
			s := start(t, e2e.WithConfig(config))
			must(t, s, "ingest", "--base", dir, dir)
			before := revisions(t, s, question)

			configure(t, config, map[string]string{
				"dialog.yaml":          "turn: {top_k: 0}\n",
				"retriever.yaml":       "search: {strategy: narrow}\n",
				"prompts/default.yaml": "system_prompt: Be kind.\n",
			})
			var after map[string]string
			within(t, "every service has its new revision", func() bool {
				after = revisions(t, s, question)
				for service, revision := range after {
					if before[service] == revision {
						return false
					}
				}
				return len(after) >= 3
			})

			configure(t, config, map[string]string{"dialog.yaml": "trun: {top_k: 0}\n"})
			within(t, "dialog says what is wrong, and is ready", func() bool {
				resp, err := http.Get(s.Admin + "/health/ready")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("%s: %v\n%s", resp.Status, err, body)
				}
				return strings.Contains(string(body), "dialog.yaml:1") && strings.Contains(string(body), "the last good configuration stays in use")
			})
			if got := revisions(t, s, question); !maps.Equal(got, after) {
				t.Errorf("revisions %v after a bad change, want those before it, %v", got, after)
			}
		})
	}
}

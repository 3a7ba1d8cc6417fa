package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/libs/port"
)

// TestOfficialOpenAIClientsOfTheGateway has other applications use the gateway's models through OpenAI's own clients.
func TestOfficialOpenAIClientsOfTheGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	clients := installed(t)
	const key = "sk-of-another-application-0123456789"
	mock := httptest.NewServer(mockllm.New(1))
	t.Cleanup(mock.Close)
	ports, err := port.Free(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"key": key,
		"llm-gateway.yaml": fmt.Sprintf(`
api: {addr: %q}
keys: [{name: app, key: {file: %q}, models: [small, failing]}]
providers: {mock: {base_url: %q}}
models:
  small: {targets: [{provider: mock, model: mock-len16}]}
  failing: {targets: [{provider: mock, model: mock-fail1}]}
  other: {targets: [{provider: mock, model: mock}]}
`, ports[0], filepath.Join(dir, "key"), mock.URL+"/v1"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "llm-gateway.yaml"), filepath.Join(dir, "config", "llm-gateway.yaml")); err != nil {
		t.Fatal(err)
	}
	e2e.StartAllInOne(t, e2e.WithConfig(filepath.Join(dir, "config")))
	for script, errors := range map[string]string{"gateway.mjs": "JavaScript", "gateway_client.py": "Python"} {
		t.Run(errors, func(t *testing.T) {
			type answer struct {
				Text, Finish string
				Tokens       int
			}
			type refused struct {
				Type        string
				Status      int
				Code, Param string
			}
			var got struct {
				Models          []string
				Whole, Streamed answer
				Chunks          int
				Refused         []refused
			}
			out := runScript(t, clients, script, "http://"+ports[0], key)
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if strings.Join(got.Models, " ") != "failing small" {
				t.Errorf("models %v", got.Models)
			}
			if a := got.Whole; a.Text == "" || a.Finish != "length" || a.Tokens != 9 {
				t.Errorf("whole: %+v", a)
			}
			if a := got.Streamed; a.Text == "" || a.Finish != "stop" || a.Tokens != 16 || got.Chunks == 0 {
				t.Errorf("streamed in %d chunks: %+v", got.Chunks, a)
			}
			want := []refused{
				{"NotFoundError", 404, "model_not_found", "model"}, {"AuthenticationError", 401, "invalid_api_key", ""},
				{"BadRequestError", 400, "", "messages"}, {"InternalServerError", 503, "provider_unavailable", ""},
			}
			if diff := cmp.Diff(want, got.Refused); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
}

package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
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

func load(t *testing.T, src settings.Source) *settings.Settings {
	t.Helper()
	s, err := settings.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func documents(t *testing.T, src settings.Source) []settings.Document {
	t.Helper()
	all, err := load(t, src).Documents()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDefaultsLoadForEveryService(t *testing.T) {
	t.Parallel()
	var got []string
	for _, d := range documents(t, settings.Source{}) {
		got = append(got, d.Service)
		if len(d.Revision) < 12 || d.YAML == "" || len(d.Files) != 0 {
			t.Errorf("%s: revision %q, files %v", d.Service, d.Revision, d.Files)
		}
	}
	if diff := cmp.Diff([]string{"dialog", "retriever", "tools", "llm-gateway", "eval"}, got); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

func TestLoadReportsTheProblemsOfAllServicesAtOnce(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"eval.yaml": "retention:\n  turns: -1\n", "retriever.yaml": "uplaod:\n  ttl: 1h\n", "dialogue.yaml": "x: 1\n"})
	_, err := settings.Load(settings.Source{
		Dir: dir, Environ: []string{"RAGMESH_EVIL__TRACE__WAIT=1s"}, Set: map[string]map[string]string{"nobody": {"a": "b"}},
	})
	for _, want := range []string{"eval.yaml:2", "retriever.yaml:1", "dialogue.yaml", "RAGMESH_EVIL", "--set nobody"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load = %v; want %s named", err, want)
		}
	}
}

func TestLayersComeInOrder(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"eval.yaml": "trace:\n  wait: 1s\nretention:\n  turns: 1\n  spans: 1\n"})
	s, err := settings.Load(settings.Source{
		Dir: dir, Environ: []string{"RAGMESH_EVAL__RETENTION__TURNS=2", "RAGMESH_EVAL__RETENTION__SPANS=2"},
		Set: map[string]map[string]string{"eval": {"retention.spans": "3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Eval.Value.Retention
	if s.Eval.Value.Trace.Wait.String() != "1s" || r.Turns != 2 || r.Spans != 3 {
		t.Errorf("wait %v, turns %d, spans %d; want file, environment, flag", s.Eval.Value.Trace.Wait, r.Turns, r.Spans)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"eval.yaml":        "retention:\n  turns: 7\n",
		"llm-gateway.yaml": "providers:\n  local:\n    type: openai\n    base_url: http://127.0.0.1:11434/v1\n    key: {env: SECRET_NAME}\n",
	})
	got := map[string][2]string{}
	for _, c := range settings.Diff(load(t, settings.Source{}), load(t, settings.Source{Dir: dir})) {
		got[c.Key] = [2]string{c.Old, c.New}
	}
	if got["eval.retention.turns"] != [2]string{"500000", "7"} || got["llm-gateway.providers.local.base_url"][1] != "http://127.0.0.1:11434/v1" {
		t.Errorf("changes = %v", got)
	}
	for key := range got {
		if !strings.HasPrefix(key, "llm-gateway.providers") && key != "eval.retention.turns" {
			t.Errorf("%s did not change: %v", key, got[key])
		}
	}
	if same := settings.Diff(load(t, settings.Source{}), load(t, settings.Source{})); len(same) != 0 {
		t.Errorf("Diff of the same = %v", same)
	}
}

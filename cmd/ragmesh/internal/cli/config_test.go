package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func configFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	good := configFolder(t, map[string]string{"eval.yaml": "trace:\n  wait: 1s\n"})
	got := run(t, t.Context(), "", "config", "check", "--config", good)
	if got.code != 0 || strings.Count(got.stdout, "✓") != 5 || !strings.Contains(got.stdout, filepath.Join(good, "eval.yaml")) {
		t.Errorf("%+v", got)
	}
	asJSON := run(t, t.Context(), "", "config", "check", "--config", good, "--json")
	if asJSON.code != 0 || !json.Valid([]byte(asJSON.stdout)) {
		t.Errorf("%+v", asJSON)
	}
	bad := configFolder(t, map[string]string{"eval.yaml": "\ntrace:\n  wiat: 1s\n", "retriever.yaml": "search: 7\n"})
	got = run(t, t.Context(), "", "config", "check", "--config", bad)
	for _, want := range []string{"ragmesh: " + filepath.Join(bad, "eval.yaml") + ":3", "ragmesh: " + filepath.Join(bad, "retriever.yaml") + ":1", "wait"} {
		if got.code != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("%+v; want %q", got, want)
		}
	}
	prompt := configFolder(t, map[string]string{"prompts/default.yaml": "system_promt: x\n"})
	if got := run(t, t.Context(), "", "config", "check", "--config", prompt); got.code != 1 || !strings.Contains(got.stderr, "default.yaml:1") {
		t.Errorf("%+v; want the prompt named", got)
	}
	if got := run(t, t.Context(), "", "config", "check", "--config", filepath.Join(good, "missing")); got.code != 1 {
		t.Errorf("%+v; want the missing folder refused", got)
	}
}

func TestConfigShow(t *testing.T) {
	t.Parallel()
	dir := configFolder(t, map[string]string{
		"dialog.yaml": "auth:\n  bootstrap_key: {env: THE_KEY}\n",
	})
	got := runEnv(t.Context(), []string{"THE_KEY=hidden-from-everyone-for-ever-and-ever", "RAGMESH_EVAL__TRACE__WAIT=3s"}, "", "config", "show", "--config", dir)
	if got.code != 0 || !strings.Contains(got.stdout, "THE_KEY") || strings.Contains(got.stdout, "hidden-from-everyone") || !strings.Contains(got.stdout, "wait: 3s") {
		t.Errorf("%+v; want the reference, not the secret, and the environment's value", got)
	}
	one := run(t, t.Context(), "", "config", "show", "--service", "eval")
	if one.code != 0 || !strings.HasPrefix(one.stdout, "# eval.yaml, revision ") || strings.Contains(one.stdout, "# dialog.yaml") {
		t.Errorf("%+v", one)
	}
}

func TestConfigDiff(t *testing.T) {
	t.Parallel()
	dir := configFolder(t, map[string]string{"eval.yaml": "retention:\n  turns: 7\n"})
	got := run(t, t.Context(), "", "config", "diff", "--config", dir)
	if want := "- eval.retention.turns: 500000\n+ eval.retention.turns: 7\n"; got.code != 0 || got.stdout != want {
		t.Errorf("%+v; want %q", got, want)
	}
	if got := run(t, t.Context(), "", "config", "diff", "--config", dir, "--with", dir); got.code != 0 || got.stdout != "No differences.\n" {
		t.Errorf("%+v", got)
	}
	asJSON := run(t, t.Context(), "", "config", "diff", "--config", dir, "--json")
	if asJSON.stdout != `{"key":"eval.retention.turns","old":"500000","new":"7","live":false}`+"\n" {
		t.Errorf("%+v", asJSON)
	}
}

func TestUpRefusesWhatItCannotRunWith(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	dir := configFolder(t, map[string]string{"eval.yaml": "retention:\n  turns: -7\n"})
	tests := map[string]struct {
		args []string
		want string
	}{
		"a bad file":            {[]string{"--config", dir}, filepath.Join(dir, "eval.yaml") + ":2"},
		"a bad flag":            {[]string{"--set", "eval.retention.turns=-1"}, "--set eval.retention.turns"},
		"the world as address":  {[]string{"--addr", "0.0.0.0:0"}, "no authentication is configured"},
		"a service without one": {[]string{"--set", "nobody.key=1"}, "there is no such service"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, t.Context(), "", append([]string{"up", "--data", data}, tt.args...)...)
			if got.code != 1 || !strings.Contains(got.stderr, tt.want) {
				t.Errorf("%+v; want %q", got, tt.want)
			}
			if _, err := os.Stat(data); err == nil {
				t.Error("it wrote something before it refused")
			}
		})
	}
}

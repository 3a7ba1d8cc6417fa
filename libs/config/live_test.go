package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
)

func loaded(t *testing.T, yaml string) config.Loaded[sample] {
	t.Helper()
	got, err := config.Load("s", defaults(), config.Source{Dir: write(t, map[string]string{"s.yaml": yaml})})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestOverlayTakesLiveKeysOnly(t *testing.T) {
	t.Parallel()
	running := loaded(t, "search: {top_k: 5, limit: 7}\n")
	next := loaded(t, "search: {top_k: 6, limit: 8, mode: vector}\nenabled_plugins: [fx]\nlisten: {addr: ':9'}\n")
	got, waiting, err := config.Overlay(running, next)
	if err != nil {
		t.Fatal(err)
	}
	want := loaded(t, "search: {top_k: 6, limit: 7}\nenabled_plugins: [fx]\n")
	if diff := cmp.Diff(want.Value, got.Value); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
	if got.Revision != want.Revision || got.Revision == next.Revision {
		t.Errorf("revision %s, want that of what runs, %s", got.Revision, want.Revision)
	}
	if diff := cmp.Diff(next.Files, got.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	wantWaiting := []config.Change{
		{Key: "listen.addr", Old: "127.0.0.1:8081", New: ":9"}, {Key: "search.mode", Old: "hybrid", New: "vector"}, {Key: "search.limit", Old: "7", New: "8"},
	}
	if diff := cmp.Diff(wantWaiting, waiting); diff != "" {
		t.Errorf("waiting (-want +got):\n%s", diff)
	}
	got.Value.Plugins[0] = "changed"
	if next.Value.Plugins[0] != "fx" {
		t.Error("the overlay shares memory with what it was made of")
	}
}

// bounded has a live key that must fit to one that needs a restart.
type bounded struct {
	Most int `yaml:"most" doc:"Most."`
	Now  int `yaml:"now" doc:"Now." live:"true"`
}

func (b bounded) Validate() error {
	if b.Now > b.Most {
		return config.Invalid("now", "must be at most %d, not %d", b.Most, b.Now)
	}
	return nil
}

func TestOverlayRefusesWhatDoesNotGoTogether(t *testing.T) {
	t.Parallel()
	running := config.Loaded[bounded]{Value: bounded{Most: 5, Now: 1}}
	got, _, err := config.Overlay(running, config.Loaded[bounded]{Value: bounded{Most: 10, Now: 8}})
	if err == nil || !strings.Contains(err.Error(), "now must be at most 5, not 8") || got.Value != running.Value {
		t.Errorf("Overlay = %+v, %v", got.Value, err)
	}
}

func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	got, err := config.Fingerprint(dir, "prompts", "tools")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFingerprintSeesContent(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"s.yaml": "a: 1\n", "prompts/p.yaml": "b: 1\n", "other/x.yaml": "", "notes.txt": ""})
	before := fingerprint(t, dir)
	change := func(name, content string) func() error {
		return func() error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600) }
	}
	for _, step := range []struct {
		what string
		do   func() error
		same bool
	}{
		{"the same again", change("s.yaml", "a: 1\n"), true},
		{"what is not read", change("notes.txt", "x"), true},
		{"a folder that is not read", change("other/x.yaml", "x"), true},
		{"a hidden file", change("prompts/.p.yaml.swp", "x"), true},
		{"another value", change("s.yaml", "a: 2\n"), false},
		{"a prompt", change("prompts/p.yaml", "b: 2\n"), false},
		{"a new prompt", change("prompts/q.yaml", ""), false},
		{"a prompt less", func() error { return os.Remove(filepath.Join(dir, "prompts", "q.yaml")) }, false},
		{"a new folder", func() error { return os.Mkdir(filepath.Join(dir, "tools"), 0o700) }, true},
		{"a tool in it", change("tools/t.yaml", "b: 2\n"), false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		after := fingerprint(t, dir)
		if same := after == before; same != step.same {
			t.Errorf("after %s: the same %t", step.what, same)
		}
		before = after
	}
	if _, err := config.Fingerprint(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing folder has a fingerprint")
	}
}

// A mounted ConfigMap: every file is a link through ..data, which is exchanged as a whole.
func TestFingerprintFollowsAConfigMap(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"..1/s.yaml": "search: {top_k: 5}\n", "..1/prompts/p.yaml": "b: 1\n", "..2/s.yaml": "search: {top_k: 6}\n", "..2/prompts/p.yaml": "b: 2\n"})
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/s.yaml", "s.yaml")
	link("..data/prompts", "prompts")
	before := fingerprint(t, dir)
	link("..2", "..new")
	if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if fingerprint(t, dir) == before {
		t.Error("the exchange goes unseen")
	}
	got, err := config.Load("s", defaults(), config.Source{Dir: dir})
	if err != nil || got.Value.Search.TopK != 6 {
		t.Errorf("top_k %d, %v", got.Value.Search.TopK, err)
	}
}

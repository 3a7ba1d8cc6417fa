package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"

	"github.com/ragmesh/ragmesh/libs/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with testdata/name, or rewrites it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); if that is right, run with -update:\n%s", name, diff)
	}
}

// full is a configuration with something in every field.
func full() sample {
	s := defaults()
	s.Hidden = "nobody configures this"
	s.Providers["openai"] = provider{URL: "https://api.openai.com/v1", Key: config.Secret{Env: "OPENAI_API_KEY"}}
	s.Rules = []rule{{Intent: "greet", Words: []string{"hi", "你好", "true", "12", "a: b", ""}}}
	s.Schema = map[string]any{"type": "object", "n": 1, "f": 2.5, "list": []any{"a", true, nil}}
	s.Tuning = &tuning{Depth: 3}
	return s
}

func TestEffective(t *testing.T) {
	t.Parallel()
	got, err := config.Effective(full())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "effective.golden.yaml", got)

	dir := write(t, map[string]string{"s.yaml": string(got)})
	again, err := config.Load("s", sample{}, config.Source{Dir: dir})
	if err != nil {
		t.Fatalf("it does not load: %v", err)
	}
	if diff := cmp.Diff(full(), again.Value, cmpopts.IgnoreFields(sample{}, "Hidden")); diff != "" {
		t.Errorf("it loads as something else (-want +got):\n%s", diff)
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := config.Reference(&b, "llm-gateway", defaults()); err != nil {
		t.Fatal(err)
	}
	golden(t, "reference.golden.md", b.Bytes())
}

func TestReferenceRefusesAKeyWithoutMeaning(t *testing.T) {
	t.Parallel()
	type section struct {
		A int `yaml:"a"`
		B int `yaml:"b" doc:"Something."`
	}
	err := config.Reference(&bytes.Buffer{}, "s", struct {
		S section   `yaml:"s"`
		L []section `yaml:"l"`
	}{})
	if want := "write reference of s: no doc tag on s.a, l, l[].a"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRevision(t *testing.T) {
	t.Parallel()
	revision := func(yaml string) string {
		dir := write(t, map[string]string{"s.yaml": yaml})
		got, err := config.Load("s", defaults(), config.Source{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return got.Revision
	}
	base := revision("")
	if len(base) != 12 {
		t.Errorf("revision %q", base)
	}
	for why, yaml := range map[string]string{
		"a default that is written down":  "search: {top_k: 10}\n",
		"another notation":                "search: {timeout: 2000ms, cache: 65536KiB}\n",
		"a comment":                       "# hello\n",
		"where the process listens":       "listen: {addr: ':1'}\n",
		"a section that is commented out": "search:\n",
	} {
		if got := revision(yaml); got != base {
			t.Errorf("%s changes the revision", why)
		}
	}
	seen := map[string]string{base: "the defaults"}
	for why, yaml := range map[string]string{
		"another value":              "search: {top_k: 11}\n",
		"another secret's reference": "providers: {built-in: {key: {env: A}}}\n",
		"a file instead of env":      "providers: {built-in: {key: {file: A}}}\n",
		"the order of a list":        "enabled_plugins: [time, calculator]\n",
	} {
		got := revision(yaml)
		if other, ok := seen[got]; ok {
			t.Errorf("%s has the revision of %s", why, other)
		}
		seen[got] = why
	}
	if config.Revision("a", "b") == config.Revision("ab") || config.Revision("a", "b") == config.Revision("b", "a") {
		t.Error("parts run into each other")
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	before, after := full(), full()
	after.Search.TopK = 20
	after.Search.Mode = "vector"
	after.Plugins = []string{"calculator", "time", "fx"}
	after.Providers = map[string]provider{"built-in": before.Providers["built-in"], "local": {URL: "http://l"}}
	after.Tuning = nil
	want := []config.Change{
		{Key: "search.top_k", Old: "10", New: "20", Live: true},
		{Key: "search.mode", Old: "hybrid", New: "vector"},
		{Key: "providers.local.url", New: "http://l"},
		{Key: "enabled_plugins[2]", New: "fx", Live: true},
		{Key: "providers.openai.url", Old: "https://api.openai.com/v1"},
		{Key: "providers.openai.key", Old: "{env: OPENAI_API_KEY}"},
		{Key: "tuning.depth", Old: "3"},
	}
	if diff := cmp.Diff(want, config.Diff(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := config.Diff(full(), full()); len(got) != 0 {
		t.Errorf("equal ones differ: %v", got)
	}
}

func TestSecretResolve(t *testing.T) {
	dir := write(t, map[string]string{
		"plain": "s3cret", "newline": "s3cret\n", "windows": "s3cret\r\n", "inner": "a\nb\n", "empty": "\n",
		"large": strings.Repeat("x", 64<<10+1), "largest": strings.Repeat("x", 64<<10) + "\n",
	})
	t.Setenv("RAGMESH_TEST_SECRET", "s3cret\n")
	t.Setenv("RAGMESH_TEST_EMPTY", "")
	file := func(name string) config.Secret { return config.Secret{File: filepath.Join(dir, name)} }
	for name, test := range map[string]struct {
		secret config.Secret
		want   string
		fails  string
	}{
		"environment":       {config.Secret{Env: "RAGMESH_TEST_SECRET"}, "s3cret", ""},
		"file":              {file("plain"), "s3cret", ""},
		"line break":        {file("newline"), "s3cret", ""},
		"Windows":           {file("windows"), "s3cret", ""},
		"inner line break":  {file("inner"), "a\nb", ""},
		"largest":           {file("largest"), strings.Repeat("x", 64<<10), ""},
		"too large":         {file("large"), "", "is larger than 64KiB"},
		"empty file":        {file("empty"), "", "is empty"},
		"empty environment": {config.Secret{Env: "RAGMESH_TEST_EMPTY"}, "", "env:RAGMESH_TEST_EMPTY is empty"},
		"missing file":      {file("no"), "", "no such file"},
		"not set":           {config.Secret{Env: "RAGMESH_TEST_NO"}, "", "environment variable RAGMESH_TEST_NO is not set"},
		"none":              {config.Secret{}, "", "no reference"},
		"both":              {config.Secret{Env: "A", File: "b"}, "", "both"},
	} {
		got, err := test.secret.Resolve()
		if got != test.want || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: %.20q, %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: the message shows the secret", name)
		}
	}
}

// TestNothingPrintsASecret resolves a secret and then prints the configuration in every way there is.
func TestNothingPrintsASecret(t *testing.T) {
	const value = "sk-verysecret"
	t.Setenv("OPENAI_API_KEY", value)
	s := full()
	if got, err := s.Providers["openai"].Key.Resolve(); got != value || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	var log bytes.Buffer
	logger := zerolog.New(&log)
	logger.Info().Interface("config", s).Any("key", s.Providers["openai"].Key).Stringer("s", s.Providers["openai"].Key).Send()
	asJSON, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	effective, err := config.Effective(s)
	if err != nil {
		t.Fatal(err)
	}
	key := s.Providers["openai"].Key
	for way, text := range map[string]string{
		"%v": fmt.Sprintf("%v", s), "%+v": fmt.Sprintf("%+v", s), "%#v": fmt.Sprintf("%#v", s), "%s": fmt.Sprintf("%s", []any{key}),
		"%q": fmt.Sprintf("%q", key), "JSON": string(asJSON), "YAML": string(asYAML), "effective": string(effective), "zerolog": log.String(),
		"diff": fmt.Sprint(config.Diff(sample{}, s)),
	} {
		if strings.Contains(text, value) {
			t.Errorf("%s shows the secret: %s", way, text)
		}
		if !strings.Contains(text, "OPENAI_API_KEY") {
			t.Errorf("%s does not show the reference: %s", way, text)
		}
	}
	for secret, want := range map[config.Secret]string{key: "env:OPENAI_API_KEY", {File: "/f"}: "file:/f", {}: "none"} {
		if got := secret.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if b, err := json.Marshal(config.Secret{File: "/f"}); string(b) != `{"file":"/f"}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestLoadDir(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"b.yaml": "top_k: 5\n", "a-1.json": `{"top_k": 7, "mode": "vector"}`, "README.md": "#", ".hidden.yaml": "x: y", "sub/c.yaml": "x: y",
	})
	d := search{TopK: 1, Mode: "keyword"}
	got, err := config.LoadDir(dir, d, ".yaml", ".json")
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Named[search]{
		{Name: "a-1", Path: filepath.Join(dir, "a-1.json"), Value: search{TopK: 7, Mode: "vector"}},
		{Name: "b", Path: filepath.Join(dir, "b.yaml"), Value: search{TopK: 5, Mode: "keyword"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(config.Named[search]{}, "Revision")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got[0].Revision) != 12 || got[0].Revision == got[1].Revision {
		t.Errorf("revisions %q and %q", got[0].Revision, got[1].Revision)
	}
	if config.RevisionWith("r", got[:0]) != "r" || config.RevisionWith("r", got) == config.RevisionWith("r", got[:1]) || config.RevisionWith("r", got) == config.RevisionWith("s", got) {
		t.Error("a revision with files is not that of the configuration and all of them")
	}
	if got, err := config.LoadDir(filepath.Join(dir, "none"), d); got != nil || err != nil {
		t.Errorf("missing folder: %v, %v", got, err)
	}
}

func TestLoadDirRefuses(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"a.yaml": "top_k: 0\n", "b.yml": "", "Bad Name.yaml": "", "c.yaml": "top: 5\n", "d.yaml": "top_k: 5\n", "d.json": "{}", "e.yaml": "[",
	})
	_, err := config.LoadDir(dir, search{TopK: 1}, ".yaml", ".json")
	want := `Bad Name.yaml: has a name that is not allowed; lower-case letters, digits, - and _, at most 64
a.yaml:1: top_k must be 1 to 100, not 0
b.yml: is not read here; files end in .yaml or .json
c.yaml:1: key "top" is not known here; allowed: cache, limit, mode, rerank, similarity_threshold, timeout, top_k (did you mean "top_k"?)
d.yaml: has the name of d.json
e.yaml:1: did not find expected node content`
	if diff := cmp.Diff(want, shorten(err, dir).Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzDecode feeds files and environment values: nothing panics, and what is accepted survives a round trip.
func FuzzDecode(f *testing.F) {
	seed, err := config.Effective(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, "5")
	for _, s := range []string{"", "search: {top_k: 5}", "a: &a [*a]", "schema: {<<: x}", "? {a: b}\n: c", "---\n---\n", "\xff", "rules: [{words: [1]}]", "&a [*a, *a]", "tuning: null"} {
		f.Add([]byte(s), s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte, value string) {
		if err := os.WriteFile(filepath.Join(dir, "s.yaml"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := config.Load("s", defaults(), config.Source{Dir: dir, Environ: []string{
			"RAGMESH_S__SCHEMA__X=" + value, "RAGMESH_S__ENABLED_PLUGINS=" + value, "RAGMESH_S__LISTEN__ADDR=" + value,
		}})
		if err != nil {
			return
		}
		out, err := config.Effective(got.Value)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", got.Value, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "s.yaml"), out, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := config.Load("s", sample{}, config.Source{Dir: dir})
		if err != nil {
			t.Fatalf("%s\ndoes not load: %v", out, err)
		}
		if again.Revision != got.Revision {
			t.Fatalf("%s\nloads as something else:\n%s", out, cmp.Diff(got.Value, again.Value))
		}
	})
}

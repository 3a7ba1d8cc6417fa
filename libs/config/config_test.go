package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ragmesh/ragmesh/libs/config"
)

// sample has a field of every kind a service may use.
type sample struct {
	Host      `yaml:",inline"`
	Search    search              `yaml:"search"`
	Providers map[string]provider `yaml:"providers" doc:"Models' providers."`
	Plugins   []string            `yaml:"enabled_plugins" doc:"Tools on offer." live:"true"`
	Rules     []rule              `yaml:"rules" doc:"First match wins."`
	Schema    map[string]any      `yaml:"schema" doc:"A JSON schema."`
	Tuning    *tuning             `yaml:"tuning" doc:"Rarely needed."`
	Hidden    string              `yaml:"-"`
}

type Host struct {
	Listen listen `yaml:"listen" revision:"-"`
}

type listen struct {
	Addr string `yaml:"addr" doc:"Address, host:port."`
}

type search struct {
	TopK      int           `yaml:"top_k" doc:"Passages returned. Count, 1 to 100." live:"true"`
	Threshold float64       `yaml:"similarity_threshold" doc:"Least score. 0 to 1."`
	Timeout   time.Duration `yaml:"timeout" doc:"Time for one search."`
	Cache     config.Bytes  `yaml:"cache" doc:"Cache | memory."`
	Mode      string        `yaml:"mode" oneof:"keyword,vector,hybrid" doc:"How passages are found."`
	Rerank    bool          `yaml:"rerank" doc:"Whether results are ranked again."`
	Limit     uint16        `yaml:"limit" doc:"Candidates."`
}

func (s search) Validate() error {
	if s.TopK < 1 || s.TopK > 100 {
		return config.Invalid("top_k", "must be 1 to 100, not %d", s.TopK)
	}
	return nil
}

type provider struct {
	URL string        `yaml:"url" doc:"Base address."`
	Key config.Secret `yaml:"key" doc:"API key."`
}

func (p *provider) Validate() error {
	if p.URL == "" {
		return config.Invalid("url", "is needed")
	}
	return nil
}

type rule struct {
	Intent string   `yaml:"intent" doc:"Its name."`
	Words  []string `yaml:"words" doc:"Any of them."`
}

type tuning struct {
	Depth int `yaml:"depth" doc:"How deep."`
}

func (s sample) Validate() error {
	var errs []error
	if len(s.Rules) > 0 && s.Rules[0].Intent == "" {
		errs = append(errs, config.Invalid("rules[0].intent", "is needed"))
	}
	if s.Listen.Addr == "" {
		errs = append(errs, config.Invalid("listen.addr", "is needed"))
	}
	if s.Listen.Addr == "plain" {
		errs = append(errs, errors.New("plain is not an address"))
	}
	return errors.Join(errs...)
}

func defaults() sample {
	return sample{
		Host:      Host{Listen: listen{Addr: "127.0.0.1:8081"}},
		Search:    search{TopK: 10, Threshold: 0.5, Timeout: 2 * time.Second, Cache: 64 * config.MiB, Mode: "hybrid", Limit: 200},
		Providers: map[string]provider{"built-in": {URL: "memory:"}},
		Plugins:   []string{"calculator", "time"},
	}
}

// write puts files into a new folder and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, yaml string, environ []string, flags map[string]string) (sample, error) {
	t.Helper()
	dir := write(t, map[string]string{"llm-gateway.yaml": yaml})
	got, err := config.Load("llm-gateway", defaults(), config.Source{Dir: dir, Environ: environ, Flags: flags})
	return got.Value, shorten(err, dir)
}

// shorten takes the temporary folder out of a message.
func shorten(err error, dir string) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const (
		file = "search: {top_k: 20, limit: 300}\n"
		env  = "RAGMESH_LLM_GATEWAY__SEARCH__TOP_K=30"
	)
	tests := map[string]struct {
		file    string
		environ []string
		flags   map[string]string
		want    int
	}{
		"default":                     {"", nil, nil, 10},
		"file over default":           {file, nil, nil, 20},
		"environment over file":       {file, []string{env}, nil, 30},
		"flag over environment":       {file, []string{env}, map[string]string{"search.top_k": "40"}, 40},
		"flag over default":           {"", nil, map[string]string{"search.top_k": "40"}, 40},
		"another service's prefix":    {"", []string{"RAGMESH_TOOLS__SEARCH__TOP_K=30"}, nil, 10},
		"variables that are not ours": {"", []string{"PATH=/bin", "RAGMESH_SERVER=x", "RAGMESH_LLM_GATEWAY_PORT=tcp://1"}, nil, 10},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := load(t, test.file, test.environ, test.flags)
			if err != nil {
				t.Fatal(err)
			}
			if got.Search.TopK != test.want {
				t.Errorf("top_k = %d, want %d", got.Search.TopK, test.want)
			}
		})
	}
}

func TestEveryKindOfValue(t *testing.T) {
	t.Parallel()
	const file = `
listen: {addr: ":1"}
search:
  top_k: 5
  similarity_threshold: 1
  timeout: 1m30s
  cache: 1GiB
  mode: keyword
  rerank: true
  limit: 0x10
providers:
  openai:
    url: https://api.openai.com/v1
    key: {env: OPENAI_API_KEY}
  mounted: &mounted
    url: "x"
    key:
      file: /run/secrets/key
  again: *mounted
enabled_plugins: [a, "1"]
rules:
  - intent: greet
    words: [hi, 你好]
schema:
  type: object
  properties: {n: {type: integer, minimum: 1, maximum: 2.5}}
  nothing: null
  since: 2024-01-02
tuning: {depth: 3}
`
	want := sample{
		Host:   Host{Listen: listen{Addr: ":1"}},
		Search: search{TopK: 5, Threshold: 1, Timeout: 90 * time.Second, Cache: config.GiB, Mode: "keyword", Rerank: true, Limit: 16},
		Providers: map[string]provider{
			"built-in": {URL: "memory:"}, // tables are merged
			"openai":   {URL: "https://api.openai.com/v1", Key: config.Secret{Env: "OPENAI_API_KEY"}},
			"mounted":  {URL: "x", Key: config.Secret{File: "/run/secrets/key"}},
			"again":    {URL: "x", Key: config.Secret{File: "/run/secrets/key"}},
		},
		Plugins: []string{"a", "1"}, // lists are replaced
		Rules:   []rule{{Intent: "greet", Words: []string{"hi", "你好"}}},
		Schema: map[string]any{
			"type": "object", "nothing": nil, "since": "2024-01-02",
			"properties": map[string]any{"n": map[string]any{"type": "integer", "minimum": 1, "maximum": 2.5}},
		},
		Tuning: &tuning{Depth: 3},
	}
	got, err := load(t, file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEnvironmentAndFlagsHaveTheTargetsType(t *testing.T) {
	t.Parallel()
	got, err := load(t, "", []string{
		"RAGMESH_LLM_GATEWAY__LISTEN__ADDR=8080",
		"RAGMESH_LLM_GATEWAY__SEARCH__RERANK=TRUE",
		"RAGMESH_LLM_GATEWAY__SEARCH__TIMEOUT=0",
		"RAGMESH_LLM_GATEWAY__ENABLED_PLUGINS=a, b,",
		"RAGMESH_LLM_GATEWAY__PROVIDERS__BUILT_IN__KEY__FILE=/run/key",
		"RAGMESH_LLM_GATEWAY__PROVIDERS__OPENAI__URL=https://x/?a=b",
		"RAGMESH_LLM_GATEWAY__PROVIDERS__OPENAI__KEY={env: K}",
	}, map[string]string{
		"rules":                       "[{intent: a, words: [b]}]",
		"schema":                      `{"type": "object"}`,
		"search.similarity_threshold": "0.25",
		"search.limit":                "7",
		"tuning.depth":                "4",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Listen.Addr = "8080"
	want.Search.Rerank, want.Search.Timeout, want.Search.Threshold, want.Search.Limit = true, 0, 0.25, 7
	want.Plugins = []string{"a", "b"}
	want.Providers = map[string]provider{
		"built-in": {URL: "memory:", Key: config.Secret{File: "/run/key"}},
		"openai":   {URL: "https://x/?a=b", Key: config.Secret{Env: "K"}},
	}
	want.Rules = []rule{{Intent: "a", Words: []string{"b"}}}
	want.Schema = map[string]any{"type": "object"}
	want.Tuning = &tuning{Depth: 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestALaterLayerReplacesASecretsReference(t *testing.T) {
	t.Parallel()
	got, err := load(t, "providers: {a: {url: x, key: {env: A}}}\n", []string{"RAGMESH_LLM_GATEWAY__PROVIDERS__A__KEY__FILE=/b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Providers["a"].Key != (config.Secret{File: "/b"}) {
		t.Errorf("got %v", got.Providers["a"].Key)
	}
}

func TestNullTakesAnEntryAwayAndLeavesSectionsAlone(t *testing.T) {
	t.Parallel()
	got, err := load(t, "providers:\n  built-in:\nsearch:\n  # top_k: 5\nenabled_plugins:\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Providers, want.Plugins = map[string]provider{}, []string{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadLeavesTheDefaultsAlone(t *testing.T) {
	t.Parallel()
	d := defaults()
	d.Tuning = &tuning{Depth: 1}
	want := defaults()
	want.Tuning = &tuning{Depth: 1}
	dir := write(t, map[string]string{"s.yaml": "providers: {built-in: {url: y}, b: {url: z}}\nenabled_plugins: [c]\ntuning: {depth: 9}\n"})
	if _, err := config.Load("s", d, config.Source{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFlagsAreNamedAsTheyWereTyped(t *testing.T) {
	t.Parallel()
	_, err := config.Load("s", defaults(), config.Source{
		Flags: map[string]string{"listen.addr": ""}, FlagNames: map[string]string{"listen.addr": "--rpc-addr"},
	})
	if want := "flag --rpc-addr: listen.addr is needed"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	p, ok := errors.AsType[*config.Problem](err)
	if !ok || p.Key != "listen.addr" || p.Position.Via != "flag --rpc-addr" {
		t.Errorf("got %+v", p)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"other.yaml": ""})
	for name, test := range map[string]struct {
		dir string
		ok  bool
	}{
		"none": {"", true}, "without our file": {dir, true}, "missing": {filepath.Join(dir, "no"), false},
		"a file": {filepath.Join(dir, "other.yaml"), false},
	} {
		got, err := config.Load("s", defaults(), config.Source{Dir: test.dir})
		if (err == nil) != test.ok || len(got.Files) != 0 {
			t.Errorf("%s: %v, %v", name, got.Files, err)
		}
	}
	got, err := config.Load("other", defaults(), config.Source{Dir: dir})
	if err != nil || len(got.Files) != 1 || got.Files[0] != filepath.Join(dir, "other.yaml") {
		t.Errorf("%v, %v", got.Files, err)
	}
	if diff := cmp.Diff(defaults(), got.Value, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("an empty file changes (-want +got):\n%s", diff)
	}
}

// level reads itself and writes itself with String only; its methods are the pointer's.
type level struct{ n int }

func (l *level) UnmarshalText(text []byte) error {
	if len(text) != 1 || text[0] < '0' || text[0] > '9' {
		return errors.New("must be a digit")
	}
	l.n = int(text[0] - '0')
	return nil
}

func (l *level) String() string { return string(rune('0' + l.n)) }

func TestTypesThatReadThemselves(t *testing.T) {
	t.Parallel()
	type levels struct {
		Level level   `yaml:"level"`
		List  []level `yaml:"list"`
	}
	dir := write(t, map[string]string{"s.yaml": "level: 7\nlist: [1, \"2\"]\n", "bad.yaml": "level: x\n"})
	got, err := config.Load("s", levels{}, config.Source{Dir: dir})
	if err != nil || got.Value.Level.n != 7 || len(got.Value.List) != 2 || got.Value.List[1].n != 2 {
		t.Errorf("%+v, %v", got.Value, err)
	}
	out, err := config.Effective(got.Value)
	if want := "level: \"7\"\nlist:\n  - \"1\"\n  - \"2\"\n"; string(out) != want || err != nil {
		t.Errorf("%s, %v", out, err)
	}
	_, err = config.Load("bad", levels{}, config.Source{Dir: dir})
	if err := shorten(err, dir); err == nil || err.Error() != `bad.yaml:1: level must be a digit, not "x"` {
		t.Errorf("got %v", err)
	}
}

// Base has a Validate that is promoted to what inlines it.
type Base struct {
	A int `yaml:"a"`
	B int `yaml:"b"`
}

func (Base) Validate() error {
	return errors.Join(config.Invalid("a", "is wrong"), config.Invalid("b", "is wrong"))
}

func TestAPromotedValidateCountsOnce(t *testing.T) {
	t.Parallel()
	type outer struct {
		Base `yaml:",inline"`
	}
	_, err := config.Load("s", outer{}, config.Source{Flags: map[string]string{"a": "1"}})
	if want := "b is wrong\nflag --set a: a is wrong"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

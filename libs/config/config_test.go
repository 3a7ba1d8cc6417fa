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

func TestRefused(t *testing.T) {
	t.Parallel()
	const file = "llm-gateway.yaml"
	tests := map[string]struct {
		file    string
		environ []string
		flags   map[string]string
		want    []string
	}{
		"unknown key": {
			file: "search:\n  topk: 5\n",
			want: []string{file + `:2: key "topk" is not known here; allowed: cache, limit, mode, rerank, similarity_threshold, timeout, top_k (did you mean "top_k"?)`},
		},
		"unknown key, nothing near": {
			file: "colour: red\n",
			want: []string{file + `:1: key "colour" is not known here; allowed: enabled_plugins, listen, providers, rules, schema, search, tuning`},
		},
		"unknown key in a list": {
			file: "rules:\n- intent: a\n- intents: b\n",
			want: []string{file + `:3: key "intents" is not known here; allowed: intent, words (did you mean "intent"?)`},
		},
		"hidden field": {
			file: "Hidden: x\n",
			want: []string{file + `:1: key "Hidden" is not known here; allowed: enabled_plugins, listen, providers, rules, schema, search, tuning`},
		},
		"key twice":                     {file: "search:\n  top_k: 1\n  top_k: 2\n", want: []string{file + `:3: key "top_k" is there twice, first in line 2`}},
		"merge key":                     {file: "search: &s {top_k: 1}\ntuning:\n  <<: *s\n", want: []string{file + `:3: tuning.<< is not supported; use an alias for the whole value`}},
		"key no text":                   {file: "? [a]\n: b\n", want: []string{file + `:1: has a key that is not a text`}},
		"not a number":                  {file: "search: {top_k: many}\n", want: []string{file + `:1: search.top_k must be a whole number, not "many"`}},
		"number in text":                {file: "search: {top_k: \"5\"}\n", want: []string{file + `:1: search.top_k must be a whole number, not "5"`}},
		"fraction":                      {file: "search: {top_k: 1.5}\n", want: []string{file + `:1: search.top_k must be a whole number, not "1.5"`}},
		"too large":                     {file: "search: {limit: 70000}\n", want: []string{file + `:1: search.limit must be a whole number that is not negative, not "70000"`}},
		"negative":                      {file: "search: {limit: -1}\n", want: []string{file + `:1: search.limit must be a whole number that is not negative, not "-1"`}},
		"not finite":                    {file: "search: {similarity_threshold: .nan}\n", want: []string{file + `:1: search.similarity_threshold must be a number, not ".nan"`}},
		"no switch":                     {file: "search: {rerank: 1}\n", want: []string{file + `:1: search.rerank must be true or false, not "1"`}},
		"number as text":                {file: "listen: {addr: 8080}\n", want: []string{file + `:1: listen.addr must be a text; write "8080" in quotes`}},
		"no value":                      {file: "listen:\n  addr:\n", want: []string{file + `:2: listen.addr must be a text, not nothing; leave the key out to get its default`}},
		"no unit":                       {file: "search: {timeout: 5}\n", want: []string{file + `:1: search.timeout must be a duration with its unit, such as "500ms", "2s", "1h30m" or "7d", not "5"`}},
		"no size":                       {file: "search: {cache: big}\n", want: []string{file + `:1: search.cache must be a size such as "64KiB", "100MiB" or "512B", not "big"`}},
		"no section":                    {file: "search: 5\n", want: []string{file + `:1: search must be a section with keys, not "5"`}},
		"no list":                       {file: "rules: {a: b}\n", want: []string{file + `:1: rules must be a list, not a section`}},
		"no table":                      {file: "providers: [a]\n", want: []string{file + `:1: providers must be a table of names and values, not a list`}},
		"list of wrong":                 {file: "enabled_plugins:\n- a\n- [b]\n", want: []string{file + `:3: enabled_plugins[1] must be a text, not a list`}},
		"not one of":                    {file: "search:\n  mode: fuzzy\n", want: []string{file + `:2: search.mode must be one of keyword, vector, hybrid, not "fuzzy"`}},
		"top level":                     {file: "- a\n", want: []string{file + `:1: must be a section with keys, not a list`}},
		"syntax":                        {file: "search:\n  a: [\n", want: []string{file + `:2: did not find expected node content`}},
		"tab":                           {file: "search:\n\ttop_k: 1\n", want: []string{file + `:2: found character that cannot start any token`}},
		"two documents":                 {file: "search: {top_k: 1}\n---\nsearch: {top_k: 2}\n", want: []string{file + `:2: a second document is not allowed`}},
		"too large file":                {file: "# " + strings.Repeat("x", 1<<20), want: []string{file + `: is larger than 1MiB`}},
		"validate, position of the key": {file: "search:\n  rerank: true\n  top_k: 0\n", want: []string{file + `:3: search.top_k must be 1 to 100, not 0`}},
		"validate, position of what it stands in": {file: "rules:\n\n- words: [a]\n", want: []string{file + `:3: rules[0].intent is needed`}},
		"validate, in a table":                    {file: "providers:\n  openai: {}\n", want: []string{file + `:2: providers.openai.url is needed`}},
		"validate, several":                       {file: "listen: {addr: ''}\nsearch: {top_k: 1000}\n", want: []string{file + `:1: listen.addr is needed`, file + `:2: search.top_k must be 1 to 100, not 1000`}},
		"validate, no key":                        {file: "listen: {addr: plain}\n", want: []string{file + `: plain is not an address`}},
		"all problems at once": {
			file: "search:\n  topk: 5\n  rerank: maybe\n", environ: []string{"RAGMESH_LLM_GATEWAY__SEARCH__LIMIT=x"},
			want: []string{
				file + `:2: key "topk" is not known here; allowed: cache, limit, mode, rerank, similarity_threshold, timeout, top_k (did you mean "top_k"?)`,
				file + `:3: search.rerank must be true or false, not "maybe"`,
				`environment variable RAGMESH_LLM_GATEWAY__SEARCH__LIMIT: search.limit must be a whole number that is not negative, not "x"`,
			},
		},
		"unknown environment variable": {
			environ: []string{"RAGMESH_LLM_GATEWAY__SEARCH__TOPK=5"},
			want:    []string{`environment variable RAGMESH_LLM_GATEWAY__SEARCH__TOPK: key "topk" is not known here; allowed: cache, limit, mode, rerank, similarity_threshold, timeout, top_k (did you mean "top_k"?)`},
		},
		"environment variable, wrong type": {
			environ: []string{"RAGMESH_LLM_GATEWAY__SEARCH__TOP_K="},
			want:    []string{`environment variable RAGMESH_LLM_GATEWAY__SEARCH__TOP_K: search.top_k must be a whole number, not ""`},
		},
		"environment variable, not valid": {
			environ: []string{"RAGMESH_LLM_GATEWAY__SEARCH__TOP_K=0"},
			want:    []string{`environment variable RAGMESH_LLM_GATEWAY__SEARCH__TOP_K: search.top_k must be 1 to 100, not 0`},
		},
		"environment variable, section": {
			environ: []string{"RAGMESH_LLM_GATEWAY__SEARCH=hybrid"},
			want:    []string{`environment variable RAGMESH_LLM_GATEWAY__SEARCH: search must be a section with keys, not "hybrid"`},
		},
		"environment variable, bad YAML": {
			environ: []string{"RAGMESH_LLM_GATEWAY__RULES=[{"},
			want:    []string{`environment variable RAGMESH_LLM_GATEWAY__RULES: rules must be written as YAML, such as [a, b] or {key: value}`},
		},
		"environment variable without a key": {
			environ: []string{"RAGMESH_LLM_GATEWAY__=x"},
			want:    []string{`environment variable RAGMESH_LLM_GATEWAY__: key "" is not known here; allowed: enabled_plugins, listen, providers, rules, schema, search, tuning`},
		},
		"unknown flag": {
			flags: map[string]string{"serch.top_k": "5"},
			want:  []string{`flag --set serch.top_k: key "serch" is not known here; allowed: enabled_plugins, listen, providers, rules, schema, search, tuning (did you mean "search"?)`},
		},
		"flag, not valid": {
			file: "search: {top_k: 5}\n", flags: map[string]string{"search.top_k": "101"},
			want: []string{`flag --set search.top_k: search.top_k must be 1 to 100, not 101`},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, test.file, test.environ, test.flags)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestASecretInPlaceOfItsReferenceIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	const secret = "sk-verysecret"
	for name, test := range map[string]struct{ file, env string }{
		"text":          {file: "providers: {a: {url: x, key: " + secret + "}}\n"},
		"number":        {file: "providers: {a: {url: x, key: 5}}\n"},
		"other mapping": {file: "providers: {a: {url: x, key: {value: " + secret + "}}}\n"},
		"list":          {file: "providers: {a: {url: x, key: [" + secret + "]}}\n"},
		"empty env":     {file: "providers: {a: {url: x, key: {env: ''}}}\n"},
		"nested":        {file: "providers: {a: {url: x, key: {env: {a: " + secret + "}}}}\n"},
		"twice":         {file: "providers: {a: {url: x, key: {env: A, env: B}}}\n"},
		"both":          {file: "providers: {a: {url: x, key: {env: A, file: B}}}\n"},
		"environment":   {env: "RAGMESH_LLM_GATEWAY__PROVIDERS__A__KEY=" + secret},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, test.file, []string{test.env}, nil)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "providers.a.key ") {
				t.Errorf("message: %v", err)
			}
		})
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

func TestMisnamedThingsAreNotIgnored(t *testing.T) {
	t.Parallel()
	services := []string{"dialog", "llm-gateway"}
	err := config.CheckEnviron([]string{"A=b", "RAGMESH_SERVER=x", "RAGMESH_DIALOG_SERVICE_HOST=1", "RAGMESH_DIALOG__A=b", "RAGMESH_LLM_GATEWAY__A=b"}, services)
	if err != nil {
		t.Errorf("good environment: %v", err)
	}
	err = config.CheckEnviron([]string{"RAGMESH_DIALOGUE__A=secret"}, services)
	want := `environment variable RAGMESH_DIALOGUE__A: service "RAGMESH_DIALOGUE" is not known here; allowed: RAGMESH_DIALOG, RAGMESH_LLM_GATEWAY (did you mean "RAGMESH_DIALOG"?)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}

	dir := write(t, map[string]string{"dialog.yaml": "", "README.md": "", "prompts/a.yaml": "", ".hidden.yaml": "", "x.json": ""})
	if err := config.CheckDir(dir, services); err != nil {
		t.Errorf("good folder: %v", err)
	}
	if err := config.CheckDir("", services); err != nil {
		t.Errorf("no folder: %v", err)
	}
	dir = write(t, map[string]string{"llm_gateway.yaml": "", "dialog.yml": ""})
	want = `dialog.yml: file "dialog.yml" is not known here; allowed: dialog.yaml, llm-gateway.yaml (did you mean "dialog.yaml"?)
llm_gateway.yaml: file "llm_gateway.yaml" is not known here; allowed: dialog.yaml, llm-gateway.yaml (did you mean "llm-gateway.yaml"?)`
	if err := shorten(config.CheckDir(dir, services), dir); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
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

func TestTypesThatCannotBeConfigured(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func(config.Source) error{
		"channel": func(s config.Source) error {
			_, err := config.Load("s", struct {
				X chan int `yaml:"x"`
			}{}, s)
			return err
		},
		"numbers as keys": func(s config.Source) error {
			_, err := config.Load("s", struct {
				X map[int]string `yaml:"x"`
			}{}, s)
			return err
		},
		"no struct": func(s config.Source) error {
			_, err := config.Load("s", 5, s)
			return err
		},
	} {
		if err := load(config.Source{Flags: map[string]string{"x": "{1: a}"}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFilesThatExplodeAreRefused(t *testing.T) {
	t.Parallel()
	bomb := "schema:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'j'; c++ {
		p := string(c - 1)
		bomb += "  " + string(c) + ": &" + string(c) + " [*" + strings.TrimSuffix(strings.Repeat(p+",*", 10), ",*") + "]\n"
	}
	deep := "schema: {a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}\n"
	cycle := "schema:\n  a: &a\n    b: *a\n"
	for name, file := range map[string]string{"bomb": bomb, "deep": deep, "cycle": cycle} {
		began := time.Now()
		_, err := load(t, file, nil, nil)
		if err == nil || !strings.Contains(err.Error(), "too many or too deep values") {
			t.Errorf("%s: %.200v", name, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	_, err := load(t, strings.Repeat("? [a]\n: b\n", 500), nil, nil)
	if n := strings.Count(err.Error(), "\n"); n != 20 || !strings.HasSuffix(err.Error(), "and 480 more") {
		t.Errorf("%d lines: %v", n+1, err)
	}
}

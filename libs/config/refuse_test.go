package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
)

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
		if took := time.Since(began); took > time.Minute { // on a busy machine; without a bound it is for ever
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

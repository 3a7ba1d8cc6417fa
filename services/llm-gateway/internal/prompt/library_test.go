package prompt

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

func given(s string) *string { return &s }

func system(t *testing.T, l *Library, id string, r ask.Request) string {
	t.Helper()
	tm, err := l.Get(id)
	if err != nil {
		t.Fatalf("Get(%s): %v", id, err)
	}
	got, err := tm.Render(r, day, wide())
	if err != nil {
		t.Fatalf("Render(%s): %v", id, err)
	}
	return got.Messages[0].Content
}

func TestVariables(t *testing.T) {
	t.Parallel()
	least, most := 1.0, 9.0
	l, err := NewLibrary([]Source{{ID: "bank", Revision: "r", File: File{
		SystemPrompt: `{{.Workspace}} on {{.Date}}: {{.Vars.company}}, {{.Vars.tone}}{{if gt .Vars.sentences 3}}, long{{end}}{{if .Vars.beta}}, beta{{end}}{{if ge .Vars.ratio 0.5}}, half{{end}}`,
		Variables: map[string]Variable{
			"company":   {Description: "Who speaks."},
			"tone":      {OneOf: []string{"formal", "friendly"}, Default: given("formal")},
			"sentences": {Type: "integer", Default: given("4"), Min: &least, Max: &most},
			"ratio":     {Type: "number", Default: given("0.25")},
			"beta":      {Type: "boolean", Default: given("false")},
		},
	}}})
	if err != nil {
		t.Fatalf("NewLibrary: %v", err)
	}
	request := func(kv ...string) ask.Request {
		r := ask.Request{Workspace: "w", Question: "q", Variables: map[string]string{"company": "Example <source> Bank"}}
		for i := 0; i < len(kv); i += 2 {
			r.Variables[kv[i]] = kv[i+1]
		}
		return r
	}
	if got, want := system(t, l, "bank", request()), "w on 2026-11-21: Example ‹source> Bank, formal, long"; got != want {
		t.Errorf("defaults: %q, want %q", got, want)
	}
	got := system(t, l, "bank", request("tone", "friendly", "sentences", "2", "beta", "true", "ratio", "0.5"))
	if want := "w on 2026-11-21: Example ‹source> Bank, friendly, beta, half"; got != want {
		t.Errorf("given: %q, want %q", got, want)
	}
	tm, err := l.Get("bank")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]ask.Request{
		"missing":   {Question: "q"},
		"unknown":   request("colour", "red"),
		"one of":    request("tone", "rude"),
		"integer":   request("sentences", "2.5"),
		"too small": request("sentences", "0"),
		"too large": request("sentences", "10"),
		"number":    request("ratio", "NaN"),
		"boolean":   request("beta", "yes"),
		"long":      request("company", strings.Repeat("x", 201)),
		"no UTF-8":  request("company", "\xff"),
	} {
		_, err := tm.Render(r, day, wide())
		if f := fault.As(err); f == nil || f.Reason != fault.InvalidRequest || len(f.Fields) != 1 || !strings.HasPrefix(f.Fields[0].Path, "variables.") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestPartials(t *testing.T) {
	t.Parallel()
	files := []Source{
		{ID: "rules", Revision: "p1", File: File{Partial: true, SystemPrompt: "Cite{{if eq .Sources 0}} nothing{{end}}, {{.Vars.company}}.", Languages: map[string]Locale{"zh": {SystemPrompt: "引用。"}}}},
		{ID: "a", Revision: "a1", File: File{SystemPrompt: `A. {{template "rules" .}}`, Variables: map[string]Variable{"company": {Default: given("X")}}}},
		{ID: "b", Revision: "b1", File: File{SystemPrompt: `{{if eq .Sources 0}}{{template "rules" .}}{{else}}B{{end}}`, Variables: map[string]Variable{"company": {Default: given("Y")}}}},
	}
	l, err := NewLibrary(files)
	if err != nil {
		t.Fatalf("NewLibrary: %v", err)
	}
	if got := system(t, l, "a", ask.Request{Question: "q"}); got != "A. Cite nothing, X." {
		t.Errorf("a is %q", got)
	}
	if got := system(t, l, "a", ask.Request{Question: "问题是什么？"}); got != "A. 引用。" {
		t.Errorf("a in Chinese is %q", got)
	}
	if got := system(t, l, "b", ask.Request{Question: "q"}); got != "Cite nothing, Y." {
		t.Errorf("b is %q", got)
	}
	if _, err := l.Get("rules"); fault.ReasonOf(err) != fault.PromptNotFound {
		t.Errorf("a partial can be asked for: %v", err)
	}
	before, _ := l.Get("a")
	files[0].Revision = "p2"
	again, err := NewLibrary(files)
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := again.Get("a"); after.Revision == before.Revision || before.Revision == "a1" {
		t.Errorf("the revision with another partial: %s, before %s", after.Revision, before.Revision)
	}
	if d, _ := l.Get(""); d.Revision != fingerprint(Builtin()) {
		t.Error("the revision of a template without partials is not its own")
	}
}

func TestCanary(t *testing.T) {
	t.Parallel()
	library := func(percent float64) *Library {
		l, err := NewLibrary([]Source{
			{ID: "default", Revision: "1", File: File{SystemPrompt: "old", Canary: Canary{Prompt: "next", Percent: percent}}},
			{ID: "next", Revision: "2", File: File{SystemPrompt: "new"}},
		})
		if err != nil {
			t.Fatalf("NewLibrary: %v", err)
		}
		return l
	}
	on := func(l *Library) map[string]bool {
		out := map[string]bool{}
		for i := range 4000 {
			session := fmt.Sprintf("01J%06d", i)
			first, err := l.Choose("", session, 0)
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := l.Choose("default", session, 0.999); again != first {
				t.Fatalf("session %s got %s, then %s", session, first.ID, again.ID)
			}
			if first.ID == "next" {
				out[session] = true
			}
		}
		return out
	}
	small, large := on(library(10)), on(library(25))
	if len(small) < 320 || len(small) > 480 || len(large) < 900 || len(large) > 1100 {
		t.Errorf("of 4000 sessions %d of 10 %% and %d of 25 %%", len(small), len(large))
	}
	for s := range small {
		if !large[s] {
			t.Fatalf("session %s lost the canary when its share grew", s)
		}
	}
	l := library(10)
	if got, _ := l.Choose("", "", 0.05); got.ID != "next" {
		t.Errorf("without a session, a draw below the share gets %s", got.ID)
	}
	if got, _ := l.Choose("", "", 0.1); got.ID != "default" {
		t.Errorf("without a session, a draw above the share gets %s", got.ID)
	}
	if got, _ := l.Choose("next", "", 0); got.ID != "next" {
		t.Errorf("who asks for the canary gets %s", got.ID)
	}
}

func TestLibraryRefuses(t *testing.T) {
	t.Parallel()
	plain := File{SystemPrompt: "x"}
	partial := File{Partial: true, SystemPrompt: "x"}
	needs := File{SystemPrompt: "{{.Vars.v}}", Variables: map[string]Variable{"v": {}}}
	object := map[string]any{"type": "object"}
	tests := []struct {
		name  string
		files map[string]File
		want  string
	}{
		{"a partial that is not there", map[string]File{"a": {SystemPrompt: `{{template "nope" .}}`}}, `prompts/a.yaml: system_prompt includes "nope"`},
		{"a template as a partial", map[string]File{"a": {SystemPrompt: `{{template "b" .}}`}, "b": plain}, `includes "b", which is no partial`},
		{"a partial without the dot", map[string]File{"a": {SystemPrompt: `{{template "b"}}`}, "b": partial}, `write {{template "b" .}}`},
		{"a partial in a partial", map[string]File{"a": {SystemPrompt: `{{template "b" .}}`}, "b": {Partial: true, SystemPrompt: `{{if eq .Sources 0}}{{template "b" .}}{{end}}`}}, "only templates include partials"},
		{"a partial's variable that the template lacks", map[string]File{"a": {SystemPrompt: `{{template "b" .}}`}, "b": {Partial: true, SystemPrompt: "{{.Vars.v}}"}}, `partial "b": {{.Vars.v}} is not declared`},
		{"a built-in's id", map[string]File{"default": partial}, "prompts/default.yaml: partial is not for this id"},
		{"examples of a partial", map[string]File{"b": {Partial: true, SystemPrompt: "x", Examples: []Example{{Question: "q", Answer: "a"}}}}, "few_shot_examples is not for partials"},
		{"a canary that is not there", map[string]File{"a": {SystemPrompt: "x", Canary: Canary{Prompt: "nope", Percent: 1}}}, `canary.prompt is no template: "nope"`},
		{"a canary's canary", map[string]File{"a": {SystemPrompt: "x", Canary: Canary{Prompt: "b"}}, "b": {SystemPrompt: "x", Canary: Canary{Prompt: "c"}}, "c": plain}, "has a canary itself"},
		{"a canary that needs more", map[string]File{"a": {SystemPrompt: "x", Canary: Canary{Prompt: "b"}}, "b": needs}, "needs variable v"},
		{"a canary that knows less", map[string]File{"a": {SystemPrompt: "{{.Vars.v}}", Variables: needs.Variables, Canary: Canary{Prompt: "b"}}, "b": plain}, "does not declare variable v"},
		{"a canary of another form", map[string]File{"a": {SystemPrompt: "x", Canary: Canary{Prompt: "b"}}, "b": {SystemPrompt: "x", OutputSchema: object}}, "answers in another form"},
		{"a canary without a name", map[string]File{"a": {SystemPrompt: "x", Canary: Canary{Percent: 1}}}, "canary.prompt must name"},
		{"a share", map[string]File{"a": {SystemPrompt: "x", Canary: Canary{Prompt: "b", Percent: 101}}}, "canary.percent must be 0 to 100"},
		{"a variable nobody declared", map[string]File{"a": {SystemPrompt: "{{.Vars.v}}"}}, "not declared under variables; there are none"},
		{"a comparison of unlike things", map[string]File{"a": {SystemPrompt: "{{if eq .Sources 9}}{{if gt .Vars.v 1}}x{{end}}{{end}}y", Variables: needs.Variables}}, "compares a string with a integer"},
		{"a variable's name", map[string]File{"a": {SystemPrompt: "x", Variables: map[string]Variable{"V": {}}}}, "variables.V has a name"},
		{"a variable's default", map[string]File{"a": {SystemPrompt: "x", Variables: map[string]Variable{"v": {Type: "integer", Default: given("x")}}}}, "variables.v.default must be an integer"},
		{"bounds of a string", map[string]File{"a": {SystemPrompt: "x", Variables: map[string]Variable{"v": {Min: new(float64)}}}}, "for numbers"},
		{"a schema of no object", map[string]File{"a": {SystemPrompt: "x", OutputSchema: map[string]any{"type": "string"}}}, "output_schema must be of type object"},
		{"a schema that is none", map[string]File{"a": {SystemPrompt: "x", OutputSchema: map[string]any{"type": "object", "properties": 1}}}, "output_schema compile it"},
		{"a schema from elsewhere", map[string]File{"a": {SystemPrompt: "x", OutputSchema: map[string]any{"type": "object", "$ref": "https://example.com/x.json"}}}, "a schema stands for itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var files []Source
			for id, f := range tt.files {
				files = append(files, Source{ID: id, Revision: "r", File: f})
			}
			_, err := NewLibrary(files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewLibrary error = %v, want it to contain %q", err, tt.want)
			}
		})
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	tm := compileFile(t, File{SystemPrompt: "Judge.", OutputSchema: map[string]any{
		"type": "object", "required": []any{"verdict"}, "additionalProperties": false,
		"properties": map[string]any{"verdict": map[string]any{"enum": []any{"yes", "no"}}},
	}})
	for answer, ok := range map[string]bool{
		`{"verdict": "yes"}`: true, ` {"verdict":"no"}` + "\n": true,
		`{"verdict": "maybe"}`: false, `{}`: false, `yes`: false, "": false, `{"verdict": "yes"} {}`: false, "```json\n{\"verdict\": \"yes\"}\n```": false,
	} {
		if err := tm.Schema.Check(answer); (err == nil) != ok {
			t.Errorf("Check(%q) = %v", answer, err)
		}
	}
	if diff := cmp.Diff(`{"additionalProperties":false,"properties":{"verdict":{"enum":["yes","no"]}},"required":["verdict"],"type":"object"}`, string(tm.Schema.JSON)); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

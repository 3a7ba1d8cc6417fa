// Package prompt turns a question, its conversation and its sources into a model's messages. Templates are reviewed files
// (prompts/*.yaml); sources are data between delimiters that their text cannot forge; a token budget drops whole sources, the
// worst first, and the oldest of the conversation. Rendering is deterministic, so that a hash names what a model was asked.
package prompt

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

// Bounds of a template file.
const (
	maxSystemBytes = 64 << 10
	maxExamples    = 16
	maxTokens      = 32768
)

// File is a template as prompts/<id>.yaml has it.
type File struct {
	Description  string            `yaml:"description" doc:"What the template is for."`
	SystemPrompt string            `yaml:"system_prompt" doc:"Instructions; a Go template over .Language, .LanguageCode and .Sources."`
	Examples     []Example         `yaml:"few_shot_examples" doc:"Worked examples that precede the conversation. At most 16."`
	Params       Params            `yaml:"generation_params" doc:"How to generate."`
	Languages    map[string]Locale `yaml:"languages" doc:"Instructions and examples by the answer's language (en, zh); the ones above stand in for a language or a part that is missing here."`
}

// Locale is what differs by language.
type Locale struct {
	SystemPrompt string    `yaml:"system_prompt" doc:"Instructions in this language."`
	Examples     []Example `yaml:"few_shot_examples" doc:"Worked examples in this language."`
}

// Example is a worked example.
type Example struct {
	Question string `yaml:"question" doc:"What was asked."`
	Context  string `yaml:"context" doc:"The one source there was, shown as source 1; empty for none."`
	Answer   string `yaml:"answer" doc:"The answer to imitate."`
}

// Params says how to generate.
type Params struct {
	Model       string   `yaml:"model" doc:"Model name (route); empty for the configured default."`
	Temperature *float64 `yaml:"temperature" doc:"Sampling temperature, 0 to 2. Left to the provider when absent."`
	MaxTokens   int      `yaml:"max_tokens" doc:"Most tokens of an answer, up to 32768; 0 for the configured default."`
}

// Vars are what a system prompt may refer to.
type Vars struct {
	// Language is the answer's language by its own name: "English" or "简体中文".
	Language string
	// LanguageCode is "en" or "zh".
	LanguageCode string
	// Sources is how many sources the answer may cite.
	Sources int
}

func vars(language string, sources int) Vars {
	name := "English"
	if language == ask.Chinese {
		name = "简体中文"
	}
	return Vars{Language: name, LanguageCode: language, Sources: sources}
}

// Template is a checked template.
type Template struct {
	ID          string
	Revision    string
	Description string
	Params      Params
	locales     map[string]locale
}

type locale struct {
	system   *template.Template
	examples []Example
}

// Validate checks the file, for the loader, which adds the place.
func (f File) Validate() error {
	_, err := Compile("", "", f)
	return err
}

// Compile checks a file and makes a template of it. Its errors are *config.Problem and name the key that is wrong.
func Compile(id, revision string, f File) (*Template, error) {
	if f.Params.MaxTokens < 0 || f.Params.MaxTokens > maxTokens {
		return nil, config.Invalid("generation_params.max_tokens", "must be 0 to %d, not %d", maxTokens, f.Params.MaxTokens)
	}
	if t := f.Params.Temperature; t != nil && (*t < 0 || *t > 2) {
		return nil, config.Invalid("generation_params.temperature", "must be 0 to 2, not %g", *t)
	}
	for language := range f.Languages {
		if language != ask.English && language != ask.Chinese {
			return nil, config.Invalid("languages."+language, "is not a language that answers can have; there are en and zh")
		}
	}
	t := &Template{ID: id, Revision: revision, Description: f.Description, Params: f.Params, locales: make(map[string]locale)}
	for _, language := range []string{ask.English, ask.Chinese} {
		l, err := compileLocale(f, language)
		if err != nil {
			return nil, err
		}
		t.locales[language] = l
	}
	return t, nil
}

func compileLocale(f File, language string) (locale, error) {
	key, own := "", f.Languages[language]
	source := f.SystemPrompt
	if own.SystemPrompt != "" {
		key, source = "languages."+language+".", own.SystemPrompt
	}
	system, err := parseSystem(source)
	if err != nil {
		return locale{}, config.Invalid(key+"system_prompt", "%s", err)
	}
	key, examples := "", f.Examples
	if len(own.Examples) > 0 {
		key, examples = "languages."+language+".", own.Examples
	}
	key += "few_shot_examples"
	if len(examples) > maxExamples {
		return locale{}, config.Invalid(key, "must be at most %d, not %d", maxExamples, len(examples))
	}
	for i, e := range examples {
		if strings.TrimSpace(e.Question) == "" || strings.TrimSpace(e.Answer) == "" {
			return locale{}, config.Invalid(fmt.Sprintf("%s[%d]", key, i), "needs a question and an answer")
		}
	}
	return locale{system: system, examples: examples}, nil
}

// parseSystem parses a system prompt and refuses what could fail or run away when it is rendered: unknown variables, loops,
// functions.
func parseSystem(source string) (*template.Template, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("must not be empty")
	}
	if len(source) > maxSystemBytes {
		return nil, fmt.Errorf("must be at most %d KiB", maxSystemBytes>>10)
	}
	t, err := template.New("system_prompt").Parse(source)
	if err != nil {
		return nil, err
	}
	if t.Tree == nil || t.Root == nil || len(t.Templates()) > 1 {
		return nil, errors.New("{{define}} and {{block}} are not supported")
	}
	if err := checkList(t.Root); err != nil {
		return nil, err
	}
	// What the walk allows can still mismatch types, as in {{if eq .Sources "x"}}; rendering both ways tells.
	for _, v := range []Vars{vars(ask.English, 0), vars(ask.Chinese, 3)} {
		out, err := execute(t, v)
		if err != nil {
			return nil, err
		}
		if out == "" {
			return nil, fmt.Errorf("says nothing with .Sources = %d", v.Sources)
		}
	}
	return t, nil
}

func variables() []string {
	var names []string
	for f := range reflect.TypeFor[Vars]().Fields() {
		names = append(names, f.Name)
	}
	return names
}

func checkList(list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for _, n := range list.Nodes {
		var err error
		switch n := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			err = checkPipe(n.Pipe)
		case *parse.IfNode:
			err = errors.Join(checkPipe(n.Pipe), checkList(n.List), checkList(n.ElseList))
		default:
			err = fmt.Errorf("%s is not supported; a template has {{.Variable}} and {{if}}", n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkPipe(p *parse.PipeNode) error {
	if len(p.Decl) > 0 || len(p.Cmds) != 1 {
		return fmt.Errorf("{{%s}} is not supported; a template has {{.Variable}} and {{if}}", p)
	}
	for i, arg := range p.Cmds[0].Args {
		switch arg := arg.(type) {
		case *parse.FieldNode:
			if len(arg.Ident) != 1 || !slices.Contains(variables(), arg.Ident[0]) {
				return fmt.Errorf("{{%s}} is not a variable; there are .%s", arg, strings.Join(variables(), ", ."))
			}
		case *parse.StringNode, *parse.NumberNode, *parse.BoolNode:
		case *parse.IdentifierNode:
			if i != 0 || !slices.Contains([]string{"eq", "ne", "lt", "le", "gt", "ge", "not"}, arg.Ident) {
				return fmt.Errorf("{{%s}} is not supported; of functions there are eq, ne, lt, le, gt, ge and not", arg)
			}
		default:
			return fmt.Errorf("{{%s}} is not supported; a template has {{.Variable}} and {{if}}", p)
		}
	}
	return nil
}

func execute(t *template.Template, v Vars) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("render template: %w", err)
	}
	return strings.TrimSpace(b.String()), nil
}

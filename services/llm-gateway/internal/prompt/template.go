// Package prompt turns a question, its conversation and its sources into a model's messages. Templates are reviewed files
// (prompts/*.yaml) with typed variables, parts that they share, variants by language and, where a program reads the answer,
// its schema; sources are data between delimiters that their text cannot forge; a token budget drops whole sources, the worst
// first, and the oldest of the conversation. Rendering is deterministic, so that a hash names what a model was asked.
package prompt

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

// Template is a checked template.
type Template struct {
	ID string
	// Revision is the content hash of its file, and of the partials in it where there are any.
	Revision    string
	Description string
	Variables   map[string]Variable
	Params      Params
	// Schema is what answers must be; nil for text.
	Schema *Schema
	Canary Canary

	locales map[string]locale
}

type locale struct {
	system   *template.Template
	examples []ask.Message
}

// Validate checks the file, for the loader, which adds the place. What it includes is checked when all files are known.
func (f File) Validate() error {
	_, err := Compile("", "", f, nil)
	return err
}

// Compile checks a file and makes a template of it, with the partials that it may include; nil when they are not known yet.
// Its errors are *config.Problem and name the key that is wrong.
func Compile(id, revision string, f File, partials *Partials) (*Template, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	t := &Template{
		ID: id, Revision: revision, Description: f.Description, Variables: f.Variables, Params: f.Params, Canary: f.Canary,
		locales: make(map[string]locale),
	}
	if f.OutputSchema != nil {
		schema, err := compileSchema(f.OutputSchema)
		if err != nil {
			return nil, config.Invalid("output_schema", "%s", err)
		}
		t.Schema = schema
	}
	for _, language := range []string{ask.English, ask.Chinese} {
		l, err := compileLocale(f, language, partials.in(language))
		if err != nil {
			return nil, err
		}
		t.locales[language] = l
	}
	t.Revision = partials.revision(revision, t.locales)
	return t, nil
}

func compileLocale(f File, language string, partials map[string]*template.Template) (locale, error) {
	key, own := "", f.Languages[language]
	source := f.SystemPrompt
	if own.SystemPrompt != "" {
		key, source = "languages."+language+".", own.SystemPrompt
	}
	system, err := parseSystem(source, f.Variables, partials)
	if f.Partial {
		system, err = parsePartial(source)
	}
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
	return locale{system: system, examples: conversation(examples, language)}, nil
}

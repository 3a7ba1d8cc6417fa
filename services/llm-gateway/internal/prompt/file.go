package prompt

import (
	"maps"
	"slices"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

// Bounds of a template file.
const (
	maxSystemBytes = 64 << 10
	maxExamples    = 16
	maxTokens      = 32768
	maxVariables   = 32
	maxSchemaBytes = 64 << 10
)

// File is a template as prompts/<id>.yaml has it.
type File struct {
	Description  string              `yaml:"description" doc:"What the template is for."`
	Partial      bool                `yaml:"partial" doc:"A part of other templates, which include it as {{template \"its-id\" .}}, and may use their variables; nobody can ask for it alone."`
	SystemPrompt string              `yaml:"system_prompt" doc:"Instructions; a Go template over .Language, .LanguageCode, .Sources, .Workspace, .Date (of today, UTC) and the variables, as .Vars.name; with {{if}} and {{template}}."`
	Variables    map[string]Variable `yaml:"variables" doc:"Values that requests may give, by name. At most 32."`
	Examples     []Example           `yaml:"few_shot_examples" doc:"Worked examples that precede the conversation. At most 16."`
	Params       Params              `yaml:"generation_params" doc:"How to generate."`
	Languages    map[string]Locale   `yaml:"languages" doc:"Instructions and examples by the answer's language (en, zh); the ones above stand in for a language or a part that is missing here."`
	OutputSchema map[string]any      `yaml:"output_schema" doc:"JSON Schema that the whole answer must keep. Such an answer comes in one piece, checked; one that breaks it is a failed try. For callers of Generate that read JSON."`
	Canary       Canary              `yaml:"canary" doc:"Another template that answers a part of the sessions instead."`
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

// Canary is a template on trial.
type Canary struct {
	Prompt  string  `yaml:"prompt" doc:"Id of the template that answers instead; it declares at least the same variables."`
	Percent float64 `yaml:"percent" doc:"Share of the sessions that get it, always the same ones. Percent, 0 to 100."`
}

func (f File) validate() error {
	if f.Params.MaxTokens < 0 || f.Params.MaxTokens > maxTokens {
		return config.Invalid("generation_params.max_tokens", "must be 0 to %d, not %d", maxTokens, f.Params.MaxTokens)
	}
	if t := f.Params.Temperature; t != nil && (*t < 0 || *t > 2) {
		return config.Invalid("generation_params.temperature", "must be 0 to 2, not %g", *t)
	}
	for language := range f.Languages {
		if language != ask.English && language != ask.Chinese {
			return config.Invalid("languages."+language, "is not a language that answers can have; there are en and zh")
		}
	}
	if c := f.Canary; c.Percent < 0 || c.Percent > 100 {
		return config.Invalid("canary.percent", "must be 0 to 100, not %g", c.Percent)
	} else if c.Percent > 0 && c.Prompt == "" {
		return config.Invalid("canary.prompt", "must name a template")
	}
	if f.Partial {
		return f.validatePartial()
	}
	if len(f.Variables) > maxVariables {
		return config.Invalid("variables", "must be at most %d, not %d", maxVariables, len(f.Variables))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Variables)) {
		if err := f.Variables[name].validate("variables."+name, name); err != nil {
			return err
		}
	}
	return nil
}

// validatePartial refuses what a part of a template can't have.
func (f File) validatePartial() error {
	const lacks = "is not for partials: a template has it"
	switch {
	case len(f.Variables) > 0:
		return config.Invalid("variables", lacks)
	case len(f.Examples) > 0:
		return config.Invalid("few_shot_examples", lacks)
	case f.Params != Params{}:
		return config.Invalid("generation_params", lacks)
	case f.OutputSchema != nil:
		return config.Invalid("output_schema", lacks)
	case f.Canary != Canary{}:
		return config.Invalid("canary", lacks)
	}
	return nil
}

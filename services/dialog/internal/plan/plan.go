// Package plan decides by rules what a turn sets out to do: which intents a question shows, whether documents are searched,
// which tools are called with which arguments, and which prompt and strategy are used. The intents come from dialog.yaml;
// arithmetic, the time of day and small talk are built in. Rules are RE2 expressions, so that planning is linear in the
// question. The package is pure.
package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/width"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/text"
)

// Bounds.
const (
	// MaxCalls is the most tools one turn calls.
	MaxCalls = 4
	// MaxArguments bounds the arguments of one call as JSON, in bytes.
	MaxArguments = 4 << 10
	maxIntents   = 200
	maxPatterns  = 64
	// maxQuestion bounds what the rules read of a question, in bytes; a longer one is no command.
	maxQuestion = 2 << 10
)

// Intent is a rule: what a question looks like and what is done about it.
type Intent struct {
	Name      string            `yaml:"name" doc:"Name of the intent, as plans and traces show it. 1 to 64 letters, digits, - and _."`
	Patterns  []string          `yaml:"patterns" doc:"Regular expressions (RE2) of which one must match the question; named groups can be arguments. Case is ignored. At most 64."`
	Keywords  []string          `yaml:"keywords" doc:"Words or phrases of which one must be in the question; case is ignored. At most 64."`
	Tool      string            `yaml:"tool" doc:"Tool to call; empty for none. The intent is passed over while the tool is not enabled."`
	Arguments map[string]string `yaml:"arguments" doc:"The tool's arguments by name: a value, or $group for what a named group of the pattern matched."`
	PromptID  string            `yaml:"prompt_id" doc:"Prompt template to answer with; empty for the default."`
	Variables map[string]string `yaml:"prompt_variables" doc:"Values for the variables that prompt_id's template declares."`
	Strategy  string            `yaml:"strategy" doc:"Retrieval strategy; empty for the default."`
	Retrieve  *bool             `yaml:"retrieve" doc:"Whether documents are searched too. Unset means true."`
	Reply     map[string]string `yaml:"reply" doc:"A fixed answer by language (en, zh), given without search or model; empty for none."`
}

// Config configures a Planner.
type Config struct {
	Builtin   bool              `yaml:"builtin_intents" doc:"Whether arithmetic, the time of day and small talk are recognised without further rules."`
	Variables map[string]string `yaml:"prompt_variables" doc:"Values for the variables that the default prompt's template declares."`
	Intents   []Intent          `yaml:"intents" doc:"Rules, tried in order before the built-in ones; every match counts. At most 200."`
}

// Defaults returns the configuration used where none is given.
func Defaults() Config { return Config{Builtin: true} }

// Validate says what is wrong with c.
func (c Config) Validate() error {
	_, err := New(c)
	return err
}

// Call is a tool call to make.
type Call struct {
	// ID is unique within the turn: call-1, call-2 ...
	ID   string
	Tool string
	// Arguments is a JSON object.
	Arguments string
}

// Plan is what a turn sets out to do.
type Plan struct {
	// Intents are the names of the rules that matched, in order.
	Intents []string
	// Retrieve says whether documents are searched.
	Retrieve bool
	Calls    []Call
	PromptID string
	// Variables are values for the prompt's variables.
	Variables map[string]string
	Strategy  string
	// Reply is a fixed answer by language; nil when the turn has to find one.
	Reply map[string]string
}

// Planner makes plans. It is safe for concurrent use.
type Planner struct {
	rules     []rule
	variables map[string]string // of the default prompt
}

// rule looks at a question; it reports false when it does not apply.
type rule struct {
	name  string
	tool  string // that must be enabled; empty for none
	match func(question) (match, bool)
}

// question is what rules look at: as written, and folded to half-width lower case without the mark at its end.
type question struct{ raw, folded string }

type match struct {
	arguments map[string]string
	search    bool
	promptID  string
	variables map[string]string
	strategy  string
	reply     map[string]string
}

// New returns a Planner with the configured rules, and the built-in ones after them.
func New(cfg Config) (*Planner, error) {
	if len(cfg.Intents) > maxIntents {
		return nil, config.Invalid("intents", "must be at most %d, not %d", maxIntents, len(cfg.Intents))
	}
	p := &Planner{variables: cfg.Variables}
	seen := map[string]bool{}
	for i, intent := range cfg.Intents {
		r, err := compile(intent)
		if err == nil && seen[intent.Name] {
			err = errors.New("the name is taken by an earlier intent")
		}
		if err != nil {
			return nil, config.Invalid(fmt.Sprintf("intents[%d]", i), "is not good: %s", err)
		}
		seen[intent.Name] = true
		p.rules = append(p.rules, r)
	}
	if cfg.Builtin {
		p.rules = append(p.rules, builtin()...)
	}
	return p, nil
}

// Plan decides about a standalone question. enabled tells which tools may be called; nil means none.
func (p *Planner) Plan(q string, enabled func(tool string) bool) Plan {
	out := p.byRules(q, enabled)
	if out.PromptID == "" {
		out.Variables = p.variables
	}
	return out
}

func (p *Planner) byRules(q string, enabled func(tool string) bool) Plan {
	out := Plan{Retrieve: true}
	if len(q) > maxQuestion {
		return out
	}
	look := question{raw: strings.TrimSpace(q), folded: fold(q)}
	search, found := false, false
	for _, r := range p.rules {
		if r.tool != "" && (enabled == nil || !enabled(r.tool) || len(out.Calls) == MaxCalls) {
			continue
		}
		m, ok := r.match(look)
		if !ok {
			continue
		}
		var arguments []byte
		if r.tool != "" {
			var err error
			if arguments, err = json.Marshal(nonNil(m.arguments)); err != nil || len(arguments) > MaxArguments {
				continue
			}
		}
		if m.reply != nil {
			if found {
				continue // there is more to the question than small talk
			}
			return Plan{Intents: []string{r.name}, Reply: m.reply}
		}
		found = true
		out.Intents = append(out.Intents, r.name)
		search = search || m.search
		if out.PromptID == "" && m.promptID != "" {
			out.PromptID, out.Variables = m.promptID, m.variables
		}
		out.Strategy = or(out.Strategy, m.strategy)
		if r.tool != "" {
			out.Calls = append(out.Calls, Call{ID: fmt.Sprintf("call-%d", len(out.Calls)+1), Tool: r.tool, Arguments: string(arguments)})
		}
	}
	if found {
		out.Retrieve = search
	}
	return out
}

func compile(in Intent) (rule, error) {
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`).MatchString(in.Name):
		return rule{}, errors.New("name must be 1 to 64 letters, digits, - and _")
	case len(in.Patterns) == 0 && len(in.Keywords) == 0:
		return rule{}, errors.New("patterns or keywords must be given")
	case len(in.Patterns) > maxPatterns || len(in.Keywords) > maxPatterns:
		return rule{}, fmt.Errorf("at most %d patterns and %d keywords are allowed", maxPatterns, maxPatterns)
	case in.PromptID == "" && len(in.Variables) > 0:
		return rule{}, errors.New("prompt_variables are given without a prompt_id; those of the default prompt stand beside intents")
	case in.Tool == "" && len(in.Arguments) > 0:
		return rule{}, errors.New("arguments are given without a tool")
	}
	patterns := make([]*regexp.Regexp, len(in.Patterns))
	groups := map[string]bool{}
	for i, s := range in.Patterns {
		re, err := regexp.Compile("(?i:" + s + ")")
		if err != nil {
			return rule{}, fmt.Errorf("patterns[%d]: %w", i, err)
		}
		patterns[i] = re
		for _, g := range re.SubexpNames() {
			groups[g] = true
		}
	}
	keywords := make([]string, len(in.Keywords))
	for i, s := range in.Keywords {
		if keywords[i] = fold(s); keywords[i] == "" {
			return rule{}, fmt.Errorf("keywords[%d] is empty", i)
		}
	}
	for name, value := range in.Arguments {
		if g, ok := strings.CutPrefix(value, "$"); ok && !groups[g] {
			return rule{}, fmt.Errorf("arguments.%s: no pattern has a group named %q", name, g)
		}
	}
	if len(in.Reply) > 0 && in.Reply[text.English] == "" && in.Reply[text.Chinese] == "" {
		return rule{}, errors.New(`reply needs a text under "en" or "zh"`)
	}
	return rule{name: in.Name, tool: in.Tool, match: func(q question) (match, bool) { return in.match(q, patterns, keywords) }}, nil
}

func (in Intent) match(q question, patterns []*regexp.Regexp, keywords []string) (match, bool) {
	m := match{search: in.Retrieve == nil || *in.Retrieve, promptID: in.PromptID, variables: in.Variables, strategy: in.Strategy, arguments: map[string]string{}}
	if len(in.Reply) > 0 {
		m.reply = in.Reply
	}
	for _, re := range patterns {
		found := re.FindStringSubmatch(q.raw)
		if found == nil {
			continue
		}
		for name, value := range in.Arguments {
			if g, ok := strings.CutPrefix(value, "$"); ok {
				if value = group(re, found, g); value == "" {
					continue // an optional group that is not there: the tool's default applies
				}
			}
			m.arguments[name] = value
		}
		return m, true
	}
	if slices.ContainsFunc(keywords, func(k string) bool { return contains(q.folded, k) }) {
		for name, value := range in.Arguments {
			if !strings.HasPrefix(value, "$") {
				m.arguments[name] = value
			}
		}
		return m, true
	}
	return match{}, false
}

func group(re *regexp.Regexp, found []string, name string) string {
	if i := re.SubexpIndex(name); i >= 0 {
		return strings.TrimSpace(found[i])
	}
	return ""
}

// contains reports whether s holds the keyword k; a keyword in Latin letters has to stand as a word.
func contains(s, k string) bool {
	for from := 0; ; {
		i := strings.Index(s[from:], k)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(k)
		before, _ := utf8.DecodeLastRuneInString(s[:start])
		after, _ := utf8.DecodeRuneInString(s[end:])
		if !(letter(before) && letter(rune(k[0]))) && !(letter(after) && letter(rune(k[len(k)-1]))) {
			return true
		}
		from = end
	}
}

func letter(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }

// fold makes half-width lower case of s, single spaces, and drops the marks at its end.
func fold(s string) string {
	s = strings.ToLower(width.Narrow.String(s))
	s = strings.Join(strings.Fields(s), " ")
	return strings.TrimRight(s, " ?!.。？！~～")
}

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

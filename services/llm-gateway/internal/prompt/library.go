package prompt

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"text/template"
	"text/template/parse"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/sticky"
)

// Source is a template file that was read.
type Source struct {
	ID       string
	Revision string
	File     File
}

// Library holds the loaded templates. Safe for concurrent use; it does not change.
type Library struct {
	templates map[string]*Template
	partials  *Partials
}

// NewLibrary compiles files, and adds the built-in templates where none has their ids.
func NewLibrary(files []Source) (*Library, error) {
	for id, f := range map[string]File{DefaultID: Builtin(), RewriteID: BuiltinRewrite()} {
		if !slices.ContainsFunc(files, func(s Source) bool { return s.ID == id }) {
			files = append(slices.Clip(files), Source{ID: id, Revision: fingerprint(f), File: f})
		}
	}
	for _, f := range files {
		if f.File.Partial && (f.ID == DefaultID || f.ID == RewriteID) {
			return nil, fmt.Errorf("prompts/%s.yaml: %w", f.ID, config.Invalid("partial", "is not for this id: the program asks for it as a template"))
		}
	}
	partials, err := newPartials(files)
	if err != nil {
		return nil, err
	}
	l := &Library{templates: make(map[string]*Template), partials: partials}
	for _, f := range files {
		if f.File.Partial {
			continue
		}
		t, err := Compile(f.ID, f.Revision, f.File, partials)
		if err != nil {
			return nil, fmt.Errorf("prompts/%s.yaml: %w", f.ID, err)
		}
		l.templates[f.ID] = t
	}
	for _, t := range l.All() {
		if err := l.checkCanary(t); err != nil {
			return nil, fmt.Errorf("prompts/%s.yaml: %w", t.ID, err)
		}
	}
	return l, nil
}

// checkCanary refuses a canary that can't answer what its template can.
func (l *Library) checkCanary(t *Template) error {
	if t.Canary.Prompt == "" {
		return nil
	}
	canary, ok := l.templates[t.Canary.Prompt]
	switch {
	case !ok:
		return config.Invalid("canary.prompt", "is no template: %q", t.Canary.Prompt)
	case canary.Canary.Prompt != "":
		return config.Invalid("canary.prompt", "has a canary itself: %q", t.Canary.Prompt)
	case (canary.Schema == nil) != (t.Schema == nil):
		return config.Invalid("canary.prompt", "answers in another form: one of the two has an output_schema")
	}
	for name, v := range t.Variables {
		if other, ok := canary.Variables[name]; !ok || other.Kind() != v.Kind() {
			return config.Invalid("canary.prompt", "does not declare variable %s as a %s", name, v.Kind())
		}
	}
	for name, v := range canary.Variables {
		if _, ok := t.Variables[name]; !ok && v.Default == nil {
			return config.Invalid("canary.prompt", "needs variable %s, which has no default and is not declared here", name)
		}
	}
	return nil
}

// Get returns a template by id; empty means the default one.
func (l *Library) Get(id string) (*Template, error) {
	if id == "" {
		id = DefaultID
	}
	if t, ok := l.templates[id]; ok {
		return t, nil
	}
	return nil, fault.New(fault.NotFound, fault.PromptNotFound, "there is no prompt %q; ListPrompts names those there are", id)
}

// Choose returns the template that answers for a session where id is asked for: it, or its canary. The same session gets the
// same one for as long as the share stays as it is; growing it takes none back. draw, in [0, 1), decides where there is no
// session.
func (l *Library) Choose(id, session string, draw float64) (*Template, error) {
	t, err := l.Get(id)
	if err != nil || t.Canary.Percent == 0 {
		return t, err
	}
	if session != "" {
		draw = sticky.Point(t.ID, session)
	}
	if draw*100 < t.Canary.Percent {
		return l.Get(t.Canary.Prompt)
	}
	return t, nil
}

// All returns the templates ordered by id.
func (l *Library) All() []*Template {
	var out []*Template
	for _, id := range slices.Sorted(maps.Keys(l.templates)) {
		out = append(out, l.templates[id])
	}
	return out
}

// Partials are the parts that templates share.
type Partials struct {
	revisions map[string]string
	locales   map[string]map[string]*template.Template // by language, then id
}

func newPartials(files []Source) (*Partials, error) {
	p := &Partials{revisions: map[string]string{}, locales: map[string]map[string]*template.Template{ask.English: {}, ask.Chinese: {}}}
	for _, f := range files {
		if !f.File.Partial {
			continue
		}
		t, err := Compile(f.ID, f.Revision, f.File, nil)
		if err != nil {
			return nil, fmt.Errorf("prompts/%s.yaml: %w", f.ID, err)
		}
		p.revisions[f.ID] = f.Revision
		for language, l := range t.locales {
			p.locales[language][f.ID] = l.system
		}
	}
	return p, nil
}

func (p *Partials) in(language string) map[string]*template.Template {
	if p == nil {
		return nil
	}
	return p.locales[language]
}

// revision is a template's, with those of what it includes.
func (p *Partials) revision(own string, locales map[string]locale) string {
	if p == nil {
		return own
	}
	var names []string
	for _, l := range locales {
		for _, t := range l.system.Templates() {
			if _, ok := p.revisions[t.Name()]; ok {
				names = append(names, t.Name())
			}
		}
	}
	if len(names) == 0 {
		return own
	}
	slices.Sort(names)
	parts := []string{own}
	for _, name := range slices.Compact(names) {
		parts = append(parts, name, p.revisions[name])
	}
	return config.Revision(parts...)
}

// parsePartial parses a partial. What it refers to is checked where it is included.
func parsePartial(source string) (*template.Template, error) {
	t, err := parseText(source)
	if err != nil {
		return nil, err
	}
	for _, n := range t.Root.Nodes {
		if n, ok := n.(*parse.TemplateNode); ok {
			return nil, fmt.Errorf("%s: only templates include partials", n)
		}
	}
	return t, nil
}

// fingerprint is the revision of a template that comes from no file.
func fingerprint(f File) string {
	raw, err := json.Marshal(f)
	if err != nil {
		return "" // a File is plain data: it marshals
	}
	return config.Revision(string(raw))
}

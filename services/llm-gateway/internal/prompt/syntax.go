package prompt

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
)

// vars are what a system prompt may refer to.
type vars struct {
	// Language is the answer's language by its own name: "English" or "简体中文".
	Language string
	// LanguageCode is "en" or "zh".
	LanguageCode string
	// Sources is how many sources the answer may cite.
	Sources int
	// Workspace is on whose behalf it is asked.
	Workspace string
	// Date is today's in UTC, as 2026-11-21.
	Date string
	// Vars are the template's variables.
	Vars map[string]any
}

func (v vars) in(language string) vars {
	v.LanguageCode, v.Language = language, "English"
	if language == ask.Chinese {
		v.Language = "简体中文"
	}
	return v
}

func (v vars) with(sources int) vars {
	v.Sources = sources
	return v
}

// parseSystem parses a system prompt and refuses what could fail or run away when it is rendered: unknown variables, loops,
// functions, comparisons of unlike things. It includes partials by name; nil ones are not known yet, and are not asked for.
func parseSystem(source string, variables map[string]Variable, partials map[string]*template.Template) (*template.Template, error) {
	t, err := parseText(source)
	if err != nil {
		return nil, err
	}
	c := checker{variables: variables, partials: partials, into: t}
	if err := c.list(t.Root); err != nil {
		return nil, err
	}
	if partials == nil && c.includes {
		return t, nil // rendered once the partials are known
	}
	// What the walk allows may still say nothing at all; rendering both ways tells.
	samples := make(map[string]any, len(variables))
	for name, v := range variables {
		samples[name] = v.sample()
	}
	v := vars{Workspace: "default", Date: "2006-01-02", Vars: samples}
	for _, v := range []vars{v.in(ask.English), v.in(ask.Chinese).with(3)} {
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

// parseText parses a template's text.
func parseText(source string) (*template.Template, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("must not be empty")
	}
	if len(source) > maxSystemBytes {
		return nil, fmt.Errorf("must be at most %d KiB", maxSystemBytes>>10)
	}
	t, err := template.New("system_prompt").Option("missingkey=error").Parse(source)
	if err != nil {
		return nil, err
	}
	if t.Tree == nil || t.Root == nil || len(t.Templates()) > 1 {
		return nil, errors.New("{{define}} and {{block}} are not supported")
	}
	return t, nil
}

// checker walks a parsed template.
type checker struct {
	variables map[string]Variable
	partials  map[string]*template.Template
	into      *template.Template
	partial   string // that is being walked
	includes  bool
}

const allowed = "a template has {{.Variable}}, {{if}} and {{template}}"

func (c *checker) list(list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for _, n := range list.Nodes {
		var err error
		switch n := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			err = c.pipe(n.Pipe)
		case *parse.IfNode:
			err = errors.Join(c.pipe(n.Pipe), c.list(n.List), c.list(n.ElseList))
		case *parse.TemplateNode:
			err = c.include(n)
		default:
			err = fmt.Errorf("%s is not supported; %s", n, allowed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// include checks a partial where it is included: with the variables that it has there.
func (c *checker) include(n *parse.TemplateNode) error {
	c.includes = true
	switch {
	case c.partial != "":
		return fmt.Errorf("partial %q includes another one; only templates include partials", c.partial)
	case n.Pipe == nil || n.Pipe.String() != ".":
		return fmt.Errorf(`%s hands its partial nothing to refer to; write {{template "%s" .}}`, n, n.Name)
	case c.partials == nil:
		return nil
	}
	p, ok := c.partials[n.Name]
	if !ok {
		return fmt.Errorf("includes %q, which is no partial: a file of prompts/ with partial: true", n.Name)
	}
	if c.into.Lookup(n.Name) != nil {
		return nil // checked already
	}
	inner := checker{variables: c.variables, partials: c.partials, into: c.into, partial: n.Name}
	if err := inner.list(p.Root); err != nil {
		return fmt.Errorf("partial %q: %w", n.Name, err)
	}
	_, err := c.into.AddParseTree(n.Name, p.Tree)
	return err
}

func (c *checker) pipe(p *parse.PipeNode) error {
	if len(p.Decl) > 0 || len(p.Cmds) != 1 {
		return fmt.Errorf("{{%s}} is not supported; %s", p, allowed)
	}
	args := p.Cmds[0].Args
	function, named := args[0].(*parse.IdentifierNode)
	if !named {
		if len(args) > 1 {
			return fmt.Errorf("{{%s}} is not supported; %s", p, allowed)
		}
		_, err := c.kind(args[0])
		return err
	}
	args = args[1:]
	switch function.Ident {
	case "eq", "ne", "lt", "le", "gt", "ge":
		if len(args) < 2 || len(args) > 2 && function.Ident != "eq" {
			return fmt.Errorf("{{%s}} does not compare two things", p)
		}
	case "not":
		if len(args) != 1 {
			return fmt.Errorf("{{%s}} does not say what not", p)
		}
	default:
		return fmt.Errorf("{{%s}} is not supported; of functions there are eq, ne, lt, le, gt, ge and not", function)
	}
	first, err := c.kind(args[0])
	if err != nil {
		return err
	}
	for _, arg := range args[1:] {
		other, err := c.kind(arg)
		switch {
		case err != nil:
			return err
		case other != first:
			return fmt.Errorf("{{%s}} compares a %s with a %s", p, first, other)
		}
	}
	if first == typeBoolean && len(args) > 1 && function.Ident != "eq" && function.Ident != "ne" {
		return fmt.Errorf("{{%s}} compares what has no order", p)
	}
	return nil
}

// kind is a value's type.
func (c *checker) kind(n parse.Node) (string, error) {
	switch n := n.(type) {
	case *parse.FieldNode:
		return c.field(n)
	case *parse.StringNode:
		return typeString, nil
	case *parse.BoolNode:
		return typeBoolean, nil
	case *parse.NumberNode:
		switch {
		case n.IsInt && !strings.ContainsAny(n.Text, ".eEpP'"):
			return typeInteger, nil
		case n.IsFloat && !n.IsComplex || n.IsFloat && strings.ContainsAny(n.Text, ".eE"):
			return typeNumber, nil
		}
	}
	return "", fmt.Errorf("{{%s}} is not supported; %s", n, allowed)
}

func (c *checker) field(n *parse.FieldNode) (string, error) {
	if len(n.Ident) == 2 && n.Ident[0] == "Vars" {
		if v, ok := c.variables[n.Ident[1]]; ok {
			return v.Kind(), nil
		}
		return "", fmt.Errorf("{{%s}} is not declared under variables; there are %s", n, listed(c.variables))
	}
	if len(n.Ident) == 1 && slices.Contains(fields(), n.Ident[0]) {
		if n.Ident[0] == "Sources" {
			return typeInteger, nil
		}
		return typeString, nil
	}
	return "", fmt.Errorf("{{%s}} is not a variable; there are .%s and those under variables as .Vars.name", n, strings.Join(fields(), ", ."))
}

// fields are the names of what every template can refer to.
func fields() []string {
	var names []string
	for f := range reflect.TypeFor[vars]().Fields() {
		if f.Name != "Vars" {
			names = append(names, f.Name)
		}
	}
	return names
}

func execute(t *template.Template, v vars) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("render template: %w", err)
	}
	return strings.TrimSpace(b.String()), nil
}

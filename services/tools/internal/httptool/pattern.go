package httptool

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// pattern is a text with {argument} places: literals[0] arguments[0] literals[1] ...
type pattern struct {
	literals  []string
	arguments []string
}

// parsePattern takes text apart and checks that each argument is a scalar property of the schema, and in a path one that is
// always there.
func parsePattern(text string, schema map[string]any, path bool) (pattern, error) {
	var p pattern
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	at := 0
	for _, m := range placeholder().FindAllStringSubmatchIndex(text, -1) {
		name := text[m[2]:m[3]]
		property, ok := properties[name].(map[string]any)
		if !ok {
			return pattern{}, fmt.Errorf("{%s} is not a property of input_schema", name)
		}
		_, hasDefault := property["default"]
		if path && !hasDefault && !slices.Contains(required, any(name)) {
			return pattern{}, fmt.Errorf("{%s} stands in the path, so it must be required or have a default", name)
		}
		if kind := property["type"]; path && kind != "string" && kind != "integer" && kind != "number" && kind != "boolean" {
			return pattern{}, fmt.Errorf("{%s} stands in the path, so its type must be string, integer, number or boolean", name)
		}
		p.literals = append(p.literals, text[at:m[0]])
		p.arguments = append(p.arguments, name)
		at = m[1]
	}
	p.literals = append(p.literals, text[at:])
	if rest := strings.Join(p.literals, ""); strings.ContainsAny(rest, "{}") {
		return pattern{}, fmt.Errorf("%q has a brace that is no {argument}", text)
	}
	return p, nil
}

// fill puts arguments into the text. It says false when one is absent.
func (p pattern) fill(args map[string]any, escape func(string) (string, error)) (string, bool, error) {
	var b strings.Builder
	for i, name := range p.arguments {
		b.WriteString(p.literals[i])
		v, ok := args[name]
		if !ok || v == nil {
			return "", false, nil
		}
		s, err := scalar(name, v)
		if err != nil {
			return "", false, err
		}
		if s, err = escape(s); err != nil {
			return "", false, err
		}
		b.WriteString(s)
	}
	b.WriteString(p.literals[len(p.literals)-1])
	return b.String(), true, nil
}

// whole returns the one argument that the text consists of, if it does.
func (p pattern) whole() (string, bool) {
	if len(p.arguments) == 1 && p.literals[0] == "" && p.literals[1] == "" {
		return p.arguments[0], true
	}
	return "", false
}

func scalar(name string, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatInt(int64(v), 10), nil
		}
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	default:
		return "", fault.New(fault.Invalid, fault.ToolArgumentsInvalid, "%s must be a string, a number or a boolean here", name)
	}
}

// escapeSegment makes s one path segment, whatever is in it.
func escapeSegment(s string) (string, error) {
	if s == "" || s == "." || s == ".." {
		return "", fault.New(fault.Invalid, fault.ToolArgumentsInvalid, "%q can't stand in the tool's address", s)
	}
	return url.PathEscape(s), nil
}

func verbatim(s string) (string, error) { return s, nil }

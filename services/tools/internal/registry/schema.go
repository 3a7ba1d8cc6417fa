package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// Bounds of arguments and of what is said about wrong ones.
const (
	maxArgumentBytes = 64 << 10
	maxFields        = 16
	maxFieldBytes    = 200
)

// arguments checks a tool's arguments against its schema.
type arguments struct {
	schema   *jsonschema.Schema
	defaults map[string]any
}

// CheckSchema says whether schema can be a tool's input_schema.
func CheckSchema(schema map[string]any) error {
	_, err := compile(schema)
	return err
}

// noLoader refuses every reference outside the schema itself: a schema must not make the service read files or the network.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a schema must stand alone: it refers to %s", url)
}

// compile checks that a schema is one, and of type object.
func compile(schema map[string]any) (arguments, error) {
	doc, err := jsonValue(schema)
	if err != nil {
		return arguments{}, fmt.Errorf("not JSON: %w", err)
	}
	object, _ := doc.(map[string]any)
	if object["type"] != "object" {
		return arguments{}, errors.New(`it must have "type: object"`)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	const id = "ragmesh:input_schema"
	if err := c.AddResource(id, doc); err != nil {
		return arguments{}, fmt.Errorf("read it: %w", err)
	}
	compiled, err := c.Compile(id)
	if err != nil {
		return arguments{}, fmt.Errorf("compile it: %w", err)
	}
	return arguments{schema: compiled, defaults: defaultsOf(object)}, nil
}

// defaultsOf returns the defaults of a schema's own properties.
func defaultsOf(schema map[string]any) map[string]any {
	defaults := make(map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		property, _ := p.(map[string]any)
		if d, ok := property["default"]; ok {
			defaults[name] = d
		}
	}
	return defaults
}

// jsonValue returns v as the values encoding/json makes, numbers included.
func jsonValue(v any) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(raw))
}

// check returns args with defaults filled in, or an error that names each wrong field.
func (a arguments) check(args map[string]any) (map[string]any, error) {
	filled := maps.Clone(a.defaults)
	maps.Copy(filled, args)
	raw, err := json.Marshal(filled)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, fault.ToolArgumentsInvalid, "the arguments are not JSON")
	}
	if len(raw) > maxArgumentBytes {
		return nil, fault.New(fault.Invalid, fault.ToolArgumentsInvalid, "the arguments are larger than %d KiB", maxArgumentBytes>>10)
	}
	plain := make(map[string]any)
	if err := json.Unmarshal(raw, &plain); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, fault.ToolArgumentsInvalid, "the arguments are not a JSON object")
	}
	err = a.schema.Validate(plain)
	if err == nil {
		return plain, nil
	}
	out := fault.Wrap(err, fault.Invalid, fault.ToolArgumentsInvalid, "the arguments do not fit the tool's schema")
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		out.Fields = fieldsOf(invalid, message.NewPrinter(language.English), nil)
	}
	return nil, out
}

// fieldsOf lists the leaves of a validation error: the fields themselves, not the groups they fail in.
func fieldsOf(e *jsonschema.ValidationError, p *message.Printer, out []fault.Field) []fault.Field {
	if len(out) >= maxFields {
		return out
	}
	if len(e.Causes) > 0 {
		for _, c := range e.Causes {
			out = fieldsOf(c, p, out)
		}
		return out
	}
	at := append([]string{"arguments"}, e.InstanceLocation...)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, missing := range k.Missing {
			out = append(out, field(append(at, missing), "is required"))
		}
	case *kind.AdditionalProperties:
		for _, unknown := range k.Properties {
			out = append(out, field(append(at, unknown), "is not an argument of this tool"))
		}
	default:
		out = append(out, field(at, e.ErrorKind.LocalizedString(p)))
	}
	return out[:min(len(out), maxFields)]
}

func field(path []string, description string) fault.Field {
	return fault.Field{Path: Shorten(strings.Join(path, "."), maxFieldBytes), Description: Shorten(description, maxFieldBytes)}
}

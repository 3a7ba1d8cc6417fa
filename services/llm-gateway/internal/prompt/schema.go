package prompt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is what a program that reads the answer wants it to be.
type Schema struct {
	// JSON is the schema itself, as it is handed to providers.
	JSON     json.RawMessage
	compiled *jsonschema.Schema
}

// noLoader refuses to fetch what a schema refers to.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s; a schema stands for itself", url)
}

func compileSchema(schema map[string]any) (*Schema, error) {
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil, fmt.Errorf("encode it: %w", err)
	}
	if len(raw) > maxSchemaBytes {
		return nil, fmt.Errorf("must be at most %d KiB", maxSchemaBytes>>10)
	}
	if schema["type"] != "object" {
		return nil, errors.New("must be of type object: that is what providers can be held to")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	const id = "ragmesh:output_schema"
	if err := c.AddResource(id, doc); err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	compiled, err := c.Compile(id)
	if err != nil {
		return nil, fmt.Errorf("compile it: %w", err)
	}
	return &Schema{JSON: raw, compiled: compiled}, nil
}

// Check says what is wrong with an answer.
func (s *Schema) Check(answer string) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(answer)))
	if err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	if err := s.compiled.Validate(value); err != nil {
		return fmt.Errorf("the answer does not keep the schema: %w", err)
	}
	return nil
}

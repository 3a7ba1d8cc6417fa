// Command charts writes what the Helm charts in deploy/helm hold more than once: the values that all services share into each
// values.yaml, values.schema.json from the schemas beside them and from the configuration's own types, and README.md from the comments.
//
// Sources are ragmesh-lib/common/values.yaml and schema.yaml (shared by the five services), ragmesh-lib/common/<chart>.schema.yaml, and
// the part of each chart's values.yaml above the mark.
package main

//go:generate go run . ../../../../deploy/helm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/libs/identity"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: charts DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "charts:", err)
		os.Exit(1)
	}
}

// mark begins the generated part of a service's values.yaml.
const mark = "# --- The same in the charts of all five services: edit ../ragmesh-lib/common/values.yaml and run `make generate`."

func run(dir string) error {
	common, err := os.ReadFile(filepath.Join(dir, "ragmesh-lib", "common", "values.yaml"))
	if err != nil {
		return err
	}
	for _, chart := range append(identity.Services(), "nats-dev", "ragmesh") {
		if err := write(dir, chart, common); err != nil {
			return fmt.Errorf("%s: %w", chart, err)
		}
	}
	return nil
}

// write writes one chart's generated files.
func write(dir, chart string, common []byte) error {
	service := chart != "nats-dev" && chart != "ragmesh"
	at := func(name string) string { return filepath.Join(dir, chart, name) }
	values, err := os.ReadFile(at("values.yaml"))
	if err != nil {
		return err
	}
	if service {
		own, _, found := bytes.Cut(values, []byte(mark))
		if !found {
			return fmt.Errorf("values.yaml has no line %q", mark)
		}
		values = []byte(string(own) + mark + "\n\n" + string(common))
		if err := os.WriteFile(at("values.yaml"), values, 0o644); err != nil {
			return err
		}
	}
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	rows, err := rowsOf(document.Content[0])
	if err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	schema, err := schemaOf(filepath.Join(dir, "ragmesh-lib", "common"), chart, service)
	if err != nil {
		return err
	}
	describe(schema, rows)
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(at("values.schema.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	page, err := readme(at("Chart.yaml"), rows, schema)
	if err != nil {
		return err
	}
	return os.WriteFile(at("README.md"), page, 0o644)
}

// schemaOf puts a chart's schema together. Every chart takes `enabled`, which the umbrella's conditions set, what Helm adds for
// the library, and `global`.
func schemaOf(dir, chart string, service bool) (map[string]any, error) {
	type source struct {
		Definitions map[string]any `yaml:"definitions"`
		Properties  map[string]any `yaml:"properties"`
	}
	var common, own source
	if err := read(filepath.Join(dir, "schema.yaml"), &common); err != nil {
		return nil, err
	}
	if err := read(filepath.Join(dir, chart+".schema.yaml"), &own); err != nil {
		return nil, err
	}
	properties := map[string]any{
		"enabled":     map[string]any{"type": "boolean", "description": "Whether the umbrella chart installs this one."},
		"ragmesh-lib": map[string]any{"type": "object", "description": "The library's own values, of which there are none."},
		"global":      common.Properties["global"],
	}
	if service {
		maps.Copy(properties, common.Properties)
	}
	maps.Copy(properties, own.Properties)
	addConfiguration(chart, properties)
	return map[string]any{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart " + chart,
		"type": "object", "additionalProperties": false, "properties": properties, "definitions": common.Definitions,
	}, nil
}

func read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// folders are the values that hold the files of a service's folder.
func folders() map[string]string {
	return map[string]string{identity.Retriever: "strategies", identity.Tools: "plugins", identity.Gateway: "prompts"}
}

// addConfiguration adds what the process behind a chart reads: its file, and the files of its folder.
func addConfiguration(chart string, properties map[string]any) {
	schema, ok := settings.Schemas()[chart]
	if !ok {
		return
	}
	properties["config"] = schema.File
	if chart == identity.Dialog { // taking the key away is refused by the template, with a sentence
		lookup(schema.File, []string{"auth", "bootstrap_key"})["type"] = []string{"object", "null"}
		lookup(schema.File, []string{"auth"})["type"] = []string{"object", "null"}
	}
	if schema.Entry != nil {
		properties[folders()[chart]] = map[string]any{
			"type": "object", "propertyNames": map[string]any{"pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"},
			"additionalProperties": map[string]any{"anyOf": []any{schema.Entry, map[string]any{"type": "string", "minLength": 1}}},
		}
	}
}

// describe writes the comments of values.yaml into the schema, for editors that show them.
func describe(schema map[string]any, rows []row) {
	for _, r := range rows {
		// What lies in a definition is shared by values of different meaning.
		if node := lookup(schema, r.path); node != nil && inPlace(schema, r.path) {
			node["description"] = strings.ReplaceAll(r.meaning, "`", "")
		}
	}
}

// lookup returns the schema of a value, or nil.
func lookup(schema map[string]any, path []string) map[string]any {
	node := schema
	for _, key := range path {
		properties, _ := resolve(schema, node)["properties"].(map[string]any)
		next, ok := properties[key].(map[string]any)
		if !ok {
			return nil
		}
		node = next
	}
	return node
}

// inPlace says whether a value's schema stands in its own place, and not in a definition.
func inPlace(schema map[string]any, path []string) bool {
	for i := range path {
		if node := lookup(schema, path[:i]); node != nil && node["$ref"] != nil {
			return false
		}
	}
	return true
}

// resolve follows a node's reference to a definition.
func resolve(schema, node map[string]any) map[string]any {
	ref, ok := node["$ref"].(string)
	if !ok {
		return node
	}
	definitions, _ := schema["definitions"].(map[string]any)
	definition, _ := definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
	return definition
}

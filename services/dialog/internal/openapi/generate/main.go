// Command generate writes the edge's OpenAPI document: openapi.json of plain.yaml, which has what is written by hand, and of the
// descriptors of the contract with their comments, which come on standard input as `buf build` writes them.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/ragmesh/ragmesh/services/dialog/internal/access"
)

func main() {
	if err := run(os.Stdin, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

type object = map[string]any

func run(in io.Reader, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: buf build -o - | generate plain.yaml openapi.json")
	}
	image, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read descriptors: %w", err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(image, &set); err != nil {
		return fmt.Errorf("read descriptors: %w", err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return fmt.Errorf("read descriptors: %w", err)
	}
	plain, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("read what is written by hand: %w", err)
	}
	var document object
	if err := yaml.Unmarshal(plain, &document); err != nil {
		return fmt.Errorf("read %s: %w", args[0], err)
	}
	if err := addProcedures(document, files); err != nil {
		return err
	}
	out, err := json.MarshalIndent(document, "", " ")
	if err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	if err := os.WriteFile(args[1], append(out, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

// addProcedures adds what is served at the edge of the contract's procedures.
func addProcedures(document object, files *protoregistry.Files) error {
	paths, ok := document["paths"].(object)
	components, okToo := document["components"].(object)
	if !ok || !okToo {
		return errors.New("there are no paths and components in what is written by hand")
	}
	schemas, _ := components["schemas"].(object)
	if schemas == nil {
		schemas = object{}
		components["schemas"] = schemas
	}
	add := func(service protoreflect.ServiceDescriptor) {
		for i := range service.Methods().Len() {
			m := service.Methods().Get(i)
			path := "/" + string(service.FullName()) + "/" + string(m.Name())
			if access.Served(path) {
				paths[path] = object{"post": operation(schemas, service, m)}
			}
		}
	}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			add(f.Services().Get(i))
		}
		return true
	})
	return nil
}

func operation(schemas object, service protoreflect.ServiceDescriptor, m protoreflect.MethodDescriptor) object {
	contentType := "application/json"
	text := comment(m)
	if m.IsStreamingServer() {
		contentType = "application/connect+json"
		text += "\n\nA stream of Connect's: request and answers are enveloped, each a byte of flags and four bytes of length, most significant first, before " +
			"the message's JSON. The last envelope of the answer has the flag 2 and holds an error, if there was one. The schemas are those of the messages."
	}
	summary, _, _ := strings.Cut(strings.ReplaceAll(text, "\n", " "), ". ")
	out := object{
		"tags": []any{string(service.Name())}, "operationId": string(service.Name()) + "_" + string(m.Name()),
		"summary": strings.TrimSuffix(summary, "."), "description": text,
		"parameters":  []any{object{"$ref": "#/components/parameters/Connect-Protocol-Version"}, object{"$ref": "#/components/parameters/Connect-Timeout-Ms"}},
		"requestBody": object{"required": true, "content": object{contentType: object{"schema": refer(schemas, m.Input())}}},
		"responses": object{
			"200": object{"description": "The answer.", "content": object{contentType: object{"schema": refer(schemas, m.Output())}}},
		},
	}
	if !m.IsStreamingServer() {
		out["responses"].(object)["default"] = object{"$ref": "#/components/responses/Error"} //nolint:forcetypeassert // it is made above
	}
	return out
}

// refer returns a reference to a message's or an enum's schema, which it adds.
func refer(schemas object, d protoreflect.Descriptor) object {
	name := string(d.FullName())
	if known := wellKnown(name); known != nil {
		return known
	}
	if _, ok := schemas[name]; !ok {
		schemas[name] = object{} // messages hold themselves
		switch d := d.(type) {
		case protoreflect.MessageDescriptor:
			schemas[name] = message(schemas, d)
		case protoreflect.EnumDescriptor:
			schemas[name] = enum(d)
		}
	}
	return object{"$ref": "#/components/schemas/" + name}
}

func message(schemas object, d protoreflect.MessageDescriptor) object {
	properties := object{}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		properties[f.JSONName()] = described(field(schemas, f), f)
	}
	text := comment(d)
	for i := range d.Oneofs().Len() {
		o := d.Oneofs().Get(i)
		if o.IsSynthetic() {
			continue
		}
		var names []string
		for j := range o.Fields().Len() {
			names = append(names, o.Fields().Get(j).JSONName())
		}
		text += "\n\nAt most one of " + strings.Join(names, ", ") + " is set."
	}
	return object{"type": "object", "description": strings.TrimSpace(text), "properties": properties}
}

func enum(d protoreflect.EnumDescriptor) object {
	var values []any
	text := comment(d)
	for i := range d.Values().Len() {
		v := d.Values().Get(i)
		values = append(values, string(v.Name()))
		if c := comment(v); c != "" {
			text += "\n- " + string(v.Name()) + ": " + c
		}
	}
	return object{"type": "string", "enum": values, "description": strings.TrimSpace(text)}
}

// described adds a field's comment. A reference can have nothing beside it, so it goes into a list of one.
func described(schema object, f protoreflect.FieldDescriptor) object {
	text := comment(f)
	if text == "" {
		return schema
	}
	if _, ok := schema["$ref"]; ok {
		return object{"allOf": []any{schema}, "description": text}
	}
	schema["description"] = text
	return schema
}

func field(schemas object, f protoreflect.FieldDescriptor) object {
	switch {
	case f.IsMap():
		return object{"type": "object", "additionalProperties": value(schemas, f.MapValue())}
	case f.IsList():
		return object{"type": "array", "items": value(schemas, f)}
	}
	return value(schemas, f)
}

// value is the schema of one value, as the JSON mapping of protobuf writes it.
func value(schemas object, f protoreflect.FieldDescriptor) object {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.StringKind:
		return object{"type": "string"}
	case protoreflect.BytesKind:
		return object{"type": "string", "format": "byte"}
	case protoreflect.FloatKind:
		return object{"type": "number", "format": "float"}
	case protoreflect.DoubleKind:
		return object{"type": "number", "format": "double"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return object{"type": "integer", "format": "int32"}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return object{"type": "integer", "format": "int64", "minimum": 0}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return object{"type": "string", "format": "int64"} // JSON's numbers don't hold them
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return object{"type": "string", "format": "uint64"}
	case protoreflect.EnumKind:
		return refer(schemas, f.Enum())
	default:
		return refer(schemas, f.Message())
	}
}

// wellKnown is the schema of messages that have a JSON form of their own.
func wellKnown(name string) object {
	switch name {
	case "google.protobuf.Timestamp":
		return object{"type": "string", "format": "date-time"}
	case "google.protobuf.Duration":
		return object{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]{1,9})?s$`, "example": "1.5s"}
	case "google.protobuf.Struct":
		return object{"type": "object", "additionalProperties": true}
	case "google.protobuf.Value":
		return object{}
	case "google.protobuf.ListValue":
		return object{"type": "array", "items": object{}}
	case "google.protobuf.FieldMask":
		return object{"type": "string"}
	}
	return nil
}

// comment is what the contract says before a declaration.
func comment(d protoreflect.Descriptor) string {
	text := d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

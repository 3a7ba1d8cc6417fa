package config

import (
	"reflect"
	"time"
)

// JSONSchema returns what a file of this configuration may hold, as a JSON Schema (draft 7): every key with its type and meaning, and
// no other. It is as strict as [Load] about keys and shapes and knows no bounds, which Validate does. The Helm charts refuse misspelt
// keys with it before anything is installed.
func JSONSchema(defaults any) map[string]any {
	t := reflect.TypeOf(defaults)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return sectionSchema(t)
}

func sectionSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	for _, f := range fieldsOf(t) {
		s := typeSchema(f.typ)
		if f.oneOf != nil {
			s["enum"] = f.oneOf
		}
		if f.doc != "" && f.doc != "-" {
			s["description"] = f.doc
		}
		properties[f.key] = s
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func typeSchema(t reflect.Type) map[string]any {
	switch {
	case t.Kind() == reflect.Pointer:
		return typeSchema(t.Elem())
	case t == reflect.TypeFor[Secret]():
		name := map[string]any{"type": "string", "minLength": 1}
		return map[string]any{
			"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
			"properties": map[string]any{"env": name, "file": name},
		}
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": []string{"string", "integer"}, "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h|d))+$|^0$`}
	case t == reflect.TypeFor[Bytes]():
		return map[string]any{"type": []string{"string", "integer"}, "pattern": `^[0-9.]+ *([TGMk]?B|[TGMK]iB|KB)?$`}
	case isText(t):
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeSchema(t.Elem())}
	case reflect.Map: // null takes an entry of the default's away
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"anyOf": []any{typeSchema(t.Elem()), map[string]any{"type": "null"}}}}
	case reflect.Struct:
		return sectionSchema(t)
	case reflect.Interface:
		return map[string]any{}
	default:
		return map[string]any{"type": "integer"}
	}
}

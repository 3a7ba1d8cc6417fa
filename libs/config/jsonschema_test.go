package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
)

func TestJSONSchemaNamesEveryKeyAndNoOther(t *testing.T) {
	t.Parallel()
	type target struct {
		Provider string `yaml:"provider" doc:"Who."`
	}
	type shared struct {
		Level string `yaml:"level" oneof:"debug,info"`
	}
	type settings struct {
		Host    shared            `yaml:",inline"`
		Shared  shared            `yaml:"shared"`
		Wait    time.Duration     `yaml:"wait"`
		Size    config.Bytes      `yaml:"size"`
		Key     config.Secret     `yaml:"key"`
		Share   *float64          `yaml:"share"`
		Count   int               `yaml:"count"`
		On      bool              `yaml:"on"`
		Targets []target          `yaml:"targets"`
		Names   map[string]string `yaml:"names"`
		Free    map[string]any    `yaml:"free"`
		Hidden  string            `yaml:"-"`
	}
	type m = map[string]any
	text, orNull := m{"type": "string"}, func(s m) m { return m{"anyOf": []any{s, m{"type": "null"}}} }
	level := m{"type": "string", "enum": []string{"debug", "info"}}
	name := m{"type": "string", "minLength": 1}
	want := m{"type": "object", "additionalProperties": false, "properties": m{
		"level":  level,
		"shared": m{"type": "object", "additionalProperties": false, "properties": m{"level": level}},
		"wait":   m{"type": []string{"string", "integer"}, "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h|d))+$|^0$`},
		"size":   m{"type": []string{"string", "integer"}, "pattern": `^[0-9.]+ *([TGMk]?B|[TGMK]iB|KB)?$`},
		"key": m{"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
			"properties": m{"env": name, "file": name}},
		"share": m{"type": "number"}, "count": m{"type": "integer"}, "on": m{"type": "boolean"},
		"targets": m{"type": "array", "items": m{"type": "object", "additionalProperties": false,
			"properties": m{"provider": m{"type": "string", "description": "Who."}}}},
		"names": m{"type": "object", "additionalProperties": orNull(text)},
		"free":  m{"type": "object", "additionalProperties": orNull(m{})},
	}}
	if diff := cmp.Diff(want, config.JSONSchema(&settings{})); diff != "" {
		t.Errorf("JSONSchema (-want +got):\n%s", diff)
	}
}

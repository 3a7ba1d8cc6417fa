package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func node(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	return document.Content[0]
}

func TestRowsAreTheValuesWithTheirComments(t *testing.T) {
	t.Parallel()
	rows, err := rowsOf(node(t, `
# Of the whole file.

# -- How many,
# at most.
count: 2
section:
  # -- On or off.
  enabled: true
  # A remark, and then:

  # -- Others.
  more: {a: "", b: 1}
# -- Free.
free: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		value, err := oneLine(r.value)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(r.path, ".")+" = "+value+": "+r.meaning)
	}
	want := []string{
		"count = `2`: How many, at most.", "section.enabled = `true`: On or off.", "section.more = `{a: \"\", b: 1}`: Others.", "free = : Free.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestAValueWithoutACommentIsRefused(t *testing.T) {
	t.Parallel()
	_, err := rowsOf(node(t, "section:\n  # no meaning\n  plain: 1\n  # -- Good.\n  good: 2\n  bare: 3\n"))
	if err == nil || !strings.Contains(err.Error(), "section.plain, section.bare") {
		t.Errorf("rowsOf = %v, want section.plain and section.bare named", err)
	}
}

func TestDescriptionsStayOutOfSharedDefinitions(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	schema := m{
		"definitions": m{"image": m{"type": "object", "properties": m{"tag": m{"type": "string"}}}},
		"properties": m{
			"image": m{"$ref": "#/definitions/image"},
			"own":   m{"type": "object", "properties": m{"on": m{"type": "boolean"}}},
		},
	}
	describe(schema, []row{{path: []string{"image", "tag"}, meaning: "Of this one only."}, {path: []string{"own", "on"}, meaning: "Whether `it` is."}})
	want := m{
		"definitions": m{"image": m{"type": "object", "properties": m{"tag": m{"type": "string"}}}},
		"properties": m{
			"image": m{"$ref": "#/definitions/image"},
			"own":   m{"type": "object", "properties": m{"on": m{"type": "boolean", "description": "Whether it is."}}},
		},
	}
	if diff := cmp.Diff(want, schema); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if got := typeOf(schema, lookup(schema, []string{"image", "tag"})); got != "string" {
		t.Errorf("type of image.tag = %q, want string", got)
	}
}

// Package linttest proves that a lint rule finds what it is for, by breaking objects that are in order.
package linttest

import (
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// Case is one way to break a rule.
type Case struct {
	// Name says what is wrong.
	Name string
	Rule string
	// Edit breaks the objects.
	Edit Edit
	// Want stands in the finding.
	Want string
}

// Run checks that the rules find nothing in the objects as they are, that each case's rule finds what the case breaks, and that each rule
// has a case.
func Run(t *testing.T, rules []lint.Rule, good render.Objects, cases []Case) {
	t.Helper()
	for _, finding := range lint.Run(good, rules...) {
		t.Errorf("found in objects that are in order: %s", finding)
	}
	for _, rule := range rules {
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Rule == rule.Name }) {
			t.Errorf("rule %s: no case breaks it", rule.Name)
		}
	}
	for _, c := range cases {
		t.Run(c.Rule+"/"+c.Name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(rules, func(r lint.Rule) bool { return r.Name == c.Rule })
			if i < 0 {
				t.Fatalf("there is no rule %s", c.Rule)
			}
			found := lint.Run(c.Edit(t, good.Clone()), rules[i])
			if !slices.ContainsFunc(found, func(f lint.Finding) bool { return strings.Contains(f.String(), c.Want) }) {
				t.Errorf("found %v, want a finding with %q", found, c.Want)
			}
		})
	}
}

// Edit changes rendered objects, which are the caller's own.
type Edit func(testing.TB, render.Objects) render.Objects

// Put sets what stands under a path of an object ("Service/ragmesh-dialog"), tables on the way included. In a list, the index after the
// last adds an element.
func Put(id string, value any, path ...any) Edit {
	return func(t testing.TB, objects render.Objects) render.Objects {
		t.Helper()
		o := object(t, objects, id)
		put(t, o.Raw, value, path)
		return objects
	}
}

// Remove takes away what stands under a path of an object, which must be there.
func Remove(id string, path ...any) Edit {
	return func(t testing.TB, objects render.Objects) render.Objects {
		t.Helper()
		o := object(t, objects, id)
		if o.At(path...) == nil {
			t.Fatalf("%s has nothing at %v", id, path)
		}
		last := len(path) - 1
		switch parent := o.At(path[:last]...).(type) {
		case map[string]any:
			delete(parent, path[last].(string))
		case []any:
			put(t, o.Raw, slices.Delete(parent, path[last].(int), path[last].(int)+1), path[:last])
		}
		return objects
	}
}

// Drop leaves an object out.
func Drop(id string) Edit {
	return func(t testing.TB, objects render.Objects) render.Objects {
		t.Helper()
		object(t, objects, id)
		return slices.DeleteFunc(objects, func(o render.Object) bool { return o.ID() == id })
	}
}

// Add adds objects given as YAML.
func Add(text string) Edit {
	return func(t testing.TB, objects render.Objects) render.Objects {
		t.Helper()
		more, err := render.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return append(objects, more...)
	}
}

// All makes several edits, one after the other.
func All(edits ...Edit) Edit {
	return func(t testing.TB, objects render.Objects) render.Objects {
		t.Helper()
		for _, edit := range edits {
			objects = edit(t, objects)
		}
		return objects
	}
}

func object(t testing.TB, objects render.Objects, id string) render.Object {
	t.Helper()
	kind, name, _ := strings.Cut(id, "/")
	return objects.One(t, kind, name)
}

func put(t testing.TB, at any, value any, path []any) {
	t.Helper()
	for i, step := range path {
		last := i == len(path)-1
		switch key := step.(type) {
		case string:
			table, ok := at.(map[string]any)
			if !ok {
				t.Fatalf("no table at %v", path[:i])
			}
			if last {
				table[key] = value
				return
			}
			if table[key] == nil {
				table[key] = map[string]any{}
			}
			at = table[key]
			// A list that grows has to be put back into its table.
			if list, ok := at.([]any); ok && path[i+1] == len(list) {
				table[key] = append(list, map[string]any{})
				at = table[key]
			}
		case int:
			list, ok := at.([]any)
			if !ok || key >= len(list) {
				t.Fatalf("no element at %v", path[:i+1])
			}
			if last {
				list[key] = value
				return
			}
			at = list[key]
		}
	}
}

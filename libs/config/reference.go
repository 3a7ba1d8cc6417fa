package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Reference writes the page of a service's configuration: one row per key with its type, default, whether a change is live
// and what it means. A key without `doc` is an error, so that none goes undocumented.
// Keys of an inlined struct with `doc:"-"` are left out: another part of the page has them.
func Reference(w io.Writer, service string, defaults any) error {
	about := fmt.Sprintf("File `%[1]s.yaml`. The environment variable of `a.b_c` is `%[2]sA__B_C`, the flag `--set a.b_c=VALUE`.", service, EnvPrefix(service))
	return ReferencePart(w, service, about, defaults, false)
}

// ReferencePart writes a part of a page that is not one service's file: keys that several have, or those of the files in a
// folder. With live, changes of all keys are.
func ReferencePart(w io.Writer, title, about string, defaults any, live bool) error {
	r := reference{}
	r.section(reflect.ValueOf(defaults), "", live)
	if len(r.missing) > 0 {
		return fmt.Errorf("write reference of %s: no doc tag on %s", title, strings.Join(r.missing, ", "))
	}
	_, err := fmt.Fprintf(w, `## %s

%s

| Key | Type | Default | Change | Meaning |
|---|---|---|---|---|
%s`, title, about, r.rows.String())
	return err
}

type reference struct {
	rows    strings.Builder
	missing []string
}

// section writes the rows of a struct's keys.
func (r *reference) section(v reflect.Value, path string, live bool) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	for _, f := range fieldsOf(v.Type()) {
		r.key(f, v.FieldByIndex(f.index), join(path, f.key), live || f.live)
	}
}

func (r *reference) key(f field, v reflect.Value, path string, live bool) {
	if f.elsewhere {
		return
	}
	def := defaultOf(v)
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.Zero(v.Type().Elem())
		} else {
			v = v.Elem()
		}
	}
	if isSection(v.Type()) {
		r.section(v, path, live)
		return
	}
	if f.doc == "" {
		r.missing = append(r.missing, path)
	}
	r.row(path, typeName(v.Type()), def, live, meaning(f))
	switch element := v.Type(); {
	case isText(element):
	case element.Kind() == reflect.Map && isSection(element.Elem()):
		r.section(reflect.Zero(element.Elem()), path+".<name>", live)
	case element.Kind() == reflect.Slice && isSection(element.Elem()):
		r.section(reflect.Zero(element.Elem()), path+"[]", live)
	}
}

func (r *reference) row(key, typ, def string, live bool, meaning string) {
	change := "restart"
	if live {
		change = "live"
	}
	escape := func(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s) }
	fmt.Fprintf(&r.rows, "| `%s` | %s | %s | %s | %s |\n", key, typ, def, change, escape(meaning))
}

func meaning(f field) string {
	if f.oneOf == nil {
		return f.doc
	}
	return strings.TrimSuffix(f.doc, ".") + ". One of " + strings.Join(f.oneOf, ", ") + "."
}

// defaultOf shows a default in a table's cell.
func defaultOf(v reflect.Value) string {
	if v.IsZero() && v.Kind() != reflect.Bool && !v.CanInt() && !v.CanUint() && !v.CanFloat() {
		return ""
	}
	s := inline(v)
	if v.Kind() == reflect.Map && isSection(v.Type().Elem()) {
		var names []string
		for _, k := range v.MapKeys() {
			names = append(names, k.String())
		}
		slices.Sort(names)
		s = strings.Join(names, ", ")
	}
	if s == "" || s == "{}" || s == "[]" {
		return ""
	}
	return "`" + strings.ReplaceAll(strings.ReplaceAll(clip(s), "`", "'"), "|", `\|`) + "`"
}

// typeName names a type as a person who writes YAML would.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Secret]():
		return "secret"
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[Bytes]():
		return "size"
	case isText(t):
		return "text"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "switch"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + plural(t.Elem())
	case reflect.Map:
		return "table of " + plural(t.Elem())
	case reflect.Struct:
		return "section"
	case reflect.Interface:
		return "any"
	case reflect.Pointer:
		return typeName(t.Elem())
	default:
		return "whole number"
	}
}

func plural(t reflect.Type) string {
	switch name := typeName(t); {
	case name == "any":
		return "anything"
	case name == "switch":
		return "switches"
	case strings.HasPrefix(name, "list of ") || strings.HasPrefix(name, "table of "):
		return strings.Replace(name, " of ", "s of ", 1)
	default:
		return name + "s"
	}
}

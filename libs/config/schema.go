package config

import (
	"encoding"
	"reflect"
	"strings"
)

// field is one key of a configuration struct.
type field struct {
	key   string
	index []int // for reflect's FieldByIndex, through inlined structs
	typ   reflect.Type
	doc   string
	live  bool
	// oneOf are the only values allowed, from `oneof:"a,b"`; nil for any.
	oneOf []string
	// local keys say where a process runs and not what it does, from `revision:"-"`: they are no part of the revision.
	local bool
	// elsewhere keys are described in another part of the reference, from `doc:"-"` on the struct that is inlined.
	elsewhere bool
}

// fieldsOf returns the keys of a struct in order, those of inlined structs among them.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !sf.IsExported():
			continue
		case options == "inline":
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				f.live = f.live || sf.Tag.Get("live") == "true"
				f.local = f.local || sf.Tag.Get("revision") == "-"
				f.elsewhere = f.elsewhere || sf.Tag.Get("doc") == "-"
				fields = append(fields, f)
			}
			continue
		case name == "":
			name = strings.ToLower(sf.Name)
		}
		f := field{
			key: name, index: []int{i}, typ: sf.Type, doc: sf.Tag.Get("doc"),
			live: sf.Tag.Get("live") == "true", local: sf.Tag.Get("revision") == "-",
		}
		if values := sf.Tag.Get("oneof"); values != "" {
			f.oneOf = strings.Split(values, ",")
		}
		fields = append(fields, f)
	}
	return fields
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// isText says whether a type reads itself from one scalar.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isSection says whether a type is a struct with keys of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[Secret]() && !isText(t)
}

// clone copies a value with everything it points to, so that decoding into it leaves the original alone.
func clone(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(clone(v.Elem()))
			c.Set(p)
		}
	case reflect.Slice:
		if !v.IsNil() {
			c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				c.Index(i).Set(clone(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			c.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for it := v.MapRange(); it.Next(); {
				c.SetMapIndex(it.Key(), clone(it.Value()))
			}
		}
	case reflect.Interface:
		if !v.IsNil() {
			c.Set(clone(v.Elem()))
		}
	case reflect.Struct:
		c.Set(v) // unexported fields too
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				c.Field(i).Set(clone(v.Field(i)))
			}
		}
	default:
		c.Set(v)
	}
	return c
}

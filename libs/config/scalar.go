package config

import (
	"encoding"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// secret reads a reference. What stands in its place is never quoted: it may be the secret.
func (l *layer) secret(n *yaml.Node, v reflect.Value, path string) {
	const want = "is a secret and is given by reference: {env: NAME} or {file: /path}"
	var s Secret
	if n.Kind != yaml.MappingNode {
		l.fail(n, path, want)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		isName := value.Kind == yaml.ScalarNode && value.ShortTag() == "!!str" && value.Value != ""
		switch {
		case key.Value == "env" && isName && s.Env == "":
			s.Env = value.Value
		case key.Value == "file" && isName && s.File == "":
			s.File = value.Value
		default:
			l.fail(key, path, want)
			return
		}
	}
	if s.Env != "" && s.File != "" {
		l.fail(n, path, "has both env and file; give one")
		return
	}
	v.Set(reflect.ValueOf(s))
}

// text sets a duration or a type that reads itself.
func (l *layer) text(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" && !l.raw {
		l.fail(n, path, "must be one value, not %s", describe(n))
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := ParseDuration(n.Value)
		if err != nil {
			l.fail(n, path, "%v, not %q", err, clip(n.Value))
			return
		}
		v.SetInt(int64(d))
		return
	}
	target := reflect.New(v.Type())
	if err := target.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
		l.fail(n, path, "%v, not %q", err, clip(n.Value))
		return
	}
	v.Set(target.Elem())
}

// scalar sets a text, a switch or a number. Files must have the type that is asked for; raw texts are read as it.
func (l *layer) scalar(n *yaml.Node, v reflect.Value, path string) {
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode {
		tag = ""
	}
	ok := false
	switch v.Kind() {
	case reflect.String:
		if ok = l.raw || tag == "!!str" || tag == "!!timestamp"; ok {
			v.SetString(n.Value)
		} else if tag != "" && tag != "!!null" {
			l.fail(n, path, "must be a text; write %q in quotes", clip(n.Value))
			return
		}
		if !ok {
			l.fail(n, path, "must be a text, not %s", describe(n))
		}
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(n.Value))
		if ok = err == nil && (tag == "!!bool" || l.raw && len(n.Value) > 1); ok {
			v.SetBool(b)
		} else {
			l.fail(n, path, "must be true or false, not %s", describe(n))
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var i int64
		if ok = tag == "!!int" && n.Decode(&i) == nil; !ok && l.raw {
			var err error
			i, err = strconv.ParseInt(n.Value, 10, 64)
			ok = err == nil
		}
		if ok = ok && !v.OverflowInt(i); ok {
			v.SetInt(i)
		} else {
			l.fail(n, path, "must be a whole number, not %s", describe(n))
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var u uint64
		if ok = tag == "!!int" && n.Decode(&u) == nil; !ok && l.raw {
			var err error
			u, err = strconv.ParseUint(n.Value, 10, 64)
			ok = err == nil
		}
		if ok = ok && !v.OverflowUint(u); ok {
			v.SetUint(u)
		} else {
			l.fail(n, path, "must be a whole number that is not negative, not %s", describe(n))
		}
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if ok = err == nil && (tag == "!!float" || tag == "!!int" || l.raw) && !math.IsNaN(f) && !math.IsInf(f, 0); ok {
			v.SetFloat(f)
		} else {
			l.fail(n, path, "must be a number, not %s", describe(n))
		}
	default:
		l.fail(n, path, "has a type that configuration cannot hold: %s", v.Type())
	}
}

// describe says what stands in a place where something else belongs.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null" && n.Value == "":
		return "nothing; leave the key out to get its default"
	default:
		return strconv.Quote(clip(n.Value))
	}
}

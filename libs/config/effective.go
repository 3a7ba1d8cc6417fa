package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Effective returns a configuration as a file that loads to the same value. Secrets are references.
func Effective(v any) ([]byte, error) { return render(reflect.ValueOf(v), false) }

func render(v reflect.Value, revision bool) ([]byte, error) {
	node, err := encode(v, revision)
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(node); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return b.Bytes(), e.Close()
}

func revisionOf(v reflect.Value) (string, error) {
	b, err := render(v, true)
	if err != nil {
		return "", err
	}
	return Revision(string(b)), nil
}

// Revision returns one hash over several parts, such as a configuration's revision and those of the files beside it: 12
// hexadecimal digits. The order counts.
func Revision(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = io.WriteString(h, strconv.Itoa(len(p))+":"+p) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// encode is the inverse of decode. With revision, keys that say where a process runs are left out.
func encode(v reflect.Value, revision bool) (*yaml.Node, error) {
	if !v.IsValid() {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	}
	switch {
	case v.Type() == reflect.TypeFor[Secret]():
		n, err := v.Interface().(Secret).MarshalYAML()
		return n.(*yaml.Node), err
	case v.Type() == reflect.TypeFor[time.Duration]():
		return text(FormatDuration(time.Duration(v.Int()))), nil
	}
	if isText(v.Type()) {
		return encodeText(v)
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return encode(v.Elem(), revision)
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			inner := v.FieldByIndex(f.index)
			if revision && f.local || inner.Kind() == reflect.Pointer && inner.IsNil() {
				continue
			}
			value, err := encode(inner, revision)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, text(f.key), value)
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, k := range keys {
			value, err := encode(v.MapIndex(k), revision)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, text(k.String()), value)
		}
	case reflect.Slice:
		n.Kind = yaml.SequenceNode
		for i := range v.Len() {
			value, err := encode(v.Index(i), revision)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, value)
		}
	case reflect.String:
		return text(v.String()), nil
	default:
		err := n.Encode(v.Interface())
		return n, err
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n, nil
}

// encodeText writes a type that reads itself, with what it has to write itself: MarshalText, String, or its plain value.
func encodeText(v reflect.Value) (*yaml.Node, error) {
	p := reflect.New(v.Type()) // methods may be the pointer's
	p.Elem().Set(v)
	switch m := p.Interface().(type) {
	case encoding.TextMarshaler:
		b, err := m.MarshalText()
		return text(string(b)), err
	case fmt.Stringer:
		return text(m.String()), nil
	default:
		return text(fmt.Sprint(v.Interface())), nil
	}
}

// Change is one key in which two configurations differ.
type Change struct {
	Key string `json:"key"`
	// Old and New are the values as YAML, empty where there is none.
	Old string `json:"old"`
	New string `json:"new"`
	// Live is true when the change needs no restart.
	Live bool `json:"live"`
}

// Diff returns the keys in which two configurations of one type differ, in the order of their fields.
func Diff(a, b any) []Change {
	before, after := flatten(reflect.ValueOf(a)), flatten(reflect.ValueOf(b))
	old := make(map[string]Change, len(before))
	for _, c := range before {
		old[c.Key] = c
	}
	var changes []Change
	for _, c := range after {
		if was := old[c.Key].New; was != c.New {
			changes = append(changes, Change{Key: c.Key, Old: was, New: c.New, Live: c.Live})
		}
		delete(old, c.Key)
	}
	for _, c := range before {
		if _, gone := old[c.Key]; gone {
			changes = append(changes, Change{Key: c.Key, Old: c.New, Live: c.Live})
		}
	}
	return changes
}

// flatten returns every value of a configuration by its key, as Change.New.
func flatten(v reflect.Value) []Change {
	var all []Change
	var walk func(v reflect.Value, path string, live bool)
	walk = func(v reflect.Value, path string, live bool) {
		for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
			v = v.Elem()
		}
		switch {
		case !v.IsValid() || v.Type() == reflect.TypeFor[Secret]() && v.IsZero():
			return
		case isSection(v.Type()):
			for _, f := range fieldsOf(v.Type()) {
				walk(v.FieldByIndex(f.index), join(path, f.key), live || f.live)
			}
		case v.Kind() == reflect.Map && !isText(v.Type()):
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
			for _, k := range keys {
				walk(v.MapIndex(k), join(path, k.String()), live)
			}
		case v.Kind() == reflect.Slice && !isText(v.Type()):
			for i := range v.Len() {
				walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i), live)
			}
		default:
			all = append(all, Change{Key: path, New: inline(v), Live: live})
		}
	}
	walk(v, "", false)
	return all
}

// inline returns a value as YAML on one line.
func inline(v reflect.Value) string {
	n, err := encode(v, false)
	if err != nil {
		return err.Error()
	}
	n.Style |= yaml.FlowStyle
	b, err := yaml.Marshal(n)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Bounds on what one file may hold. Aliases are followed, each time at full cost, so a small file cannot become a large value.
const (
	maxFile  = 1 << 20
	maxNodes = 100_000
	maxDepth = 64
)

// layer decodes one source (a file, one environment variable, one flag) over a value.
type layer struct {
	file string
	via  string // set where there is no file
	// raw scalars are texts whose type only the target knows: environment variables and flags.
	raw       bool
	nodes     int
	exhausted bool                // the bounds on nodes and depth were reached
	origins   map[string]Position // of every key set so far, by path
	problems  []*Problem
}

func (l *layer) at(n *yaml.Node) Position {
	if l.via != "" {
		return Position{Via: l.via}
	}
	return Position{File: l.file, Line: n.Line}
}

// fail notes a problem with the value of a key.
func (l *layer) fail(n *yaml.Node, path, format string, a ...any) {
	l.problems = append(l.problems, &Problem{Key: path, Message: fmt.Sprintf(format, a...), Position: l.at(n), alone: path == ""})
}

// refuse notes a problem whose message stands alone.
func (l *layer) refuse(n *yaml.Node, path, message string) {
	l.problems = append(l.problems, &Problem{Key: path, Message: message, Position: l.at(n), alone: true})
}

// readFile returns the one document of a file; nil when it is empty.
func readFile(path string) (*yaml.Node, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	node, err := parse(path, data)
	return node, data, err
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// parse reads the one document of data.
func parse(path string, data []byte) (*yaml.Node, error) {
	if len(data) > maxFile {
		return nil, &Problem{Message: fmt.Sprintf("is larger than %s", Bytes(maxFile)), Position: Position{File: path}, alone: true}
	}
	syntax := func(err error) error {
		p := &Problem{Message: strings.TrimPrefix(err.Error(), "yaml: "), Position: Position{File: path}, alone: true}
		if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
			p.Position.Line, _ = strconv.Atoi(m[1])
			p.Message = m[2]
		}
		return p
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntax(err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		at := Position{File: path, Line: second.Line}
		return nil, &Problem{Message: "a second document is not allowed", Position: at, alone: true}
	case !errors.Is(err, io.EOF):
		return nil, syntax(err)
	}
	if document.Kind == yaml.DocumentNode && len(document.Content) == 1 {
		return document.Content[0], nil
	}
	return nil, nil
}

// decode sets v from n. What cannot be set is noted as a problem and left as it was.
func (l *layer) decode(n *yaml.Node, v reflect.Value, path string, depth int) {
	for hops := 0; n.Kind == yaml.AliasNode; hops++ {
		if n = n.Alias; hops > maxDepth {
			return
		}
	}
	if l.nodes++; l.nodes > maxNodes || depth > maxDepth {
		if !l.exhausted {
			l.exhausted = true
			l.refuse(n, path, fmt.Sprintf("too many or too deep values; at most %d, %d deep", maxNodes, maxDepth))
		}
		return
	}
	l.origins[path] = l.at(n)

	t := v.Type()
	switch {
	case t == reflect.TypeFor[Secret]() && l.raw && n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, "{"):
		l.rawComposite(n, v, path, depth)
	case t == reflect.TypeFor[Secret]():
		l.secret(n, v, path)
	case t == reflect.TypeFor[time.Duration](), isText(t):
		l.text(n, v, path)
	case t.Kind() == reflect.Pointer:
		target := reflect.New(t.Elem())
		if !v.IsNil() {
			target.Elem().Set(clone(v.Elem()))
		}
		l.decode(n, target.Elem(), path, depth+1)
		v.Set(target)
	case l.raw && n.Kind == yaml.ScalarNode && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map ||
		t.Kind() == reflect.Struct || t.Kind() == reflect.Interface):
		l.rawComposite(n, v, path, depth)
	case t.Kind() == reflect.Struct:
		l.section(n, v, path, depth)
	case t.Kind() == reflect.Map:
		l.table(n, v, path, depth)
	case t.Kind() == reflect.Slice:
		l.list(n, v, path, depth)
	case t.Kind() == reflect.Interface:
		if value := l.free(n, path, depth); value != nil {
			v.Set(reflect.ValueOf(value))
		} else {
			v.SetZero()
		}
	default:
		l.scalar(n, v, path)
	}
}

// rawComposite reads a list or a table from a text: in YAML's flow notation, or a list also as "a,b".
func (l *layer) rawComposite(n *yaml.Node, v reflect.Value, path string, depth int) {
	value := strings.TrimSpace(n.Value)
	if v.Kind() == reflect.Slice && !strings.HasPrefix(value, "[") {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list.Content = append(list.Content, text(part))
			}
		}
		l.list(list, v, path, depth)
		return
	}
	node, err := parse("", []byte(value))
	if err != nil || node == nil {
		l.fail(n, path, "must be written as YAML, such as [a, b] or {key: value}")
		return
	}
	l.raw = false
	defer func() { l.raw = true }()
	l.decode(node, v, path, depth+1)
}

// section sets the fields of a struct from a mapping.
func (l *layer) section(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return // a heading whose keys are all commented out
	}
	if n.Kind != yaml.MappingNode {
		l.fail(n, path, "must be a section with keys, not %s", describe(n))
		return
	}
	fields := fieldsOf(v.Type())
	l.pairs(n, path, func(key, value *yaml.Node) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key.Value })
		if i < 0 {
			l.refuse(key, join(path, clip(key.Value)), unknown("key", key.Value, keysOf(fields)))
			return
		}
		f, before := fields[i], len(l.problems)
		target := v.FieldByIndex(f.index)
		l.decode(value, target, join(path, f.key), depth+1)
		if len(l.problems) == before {
			l.oneOf(value, target, f, join(path, f.key))
		}
	})
}

// oneOf checks a value, or each of a list, against `oneof`.
func (l *layer) oneOf(n *yaml.Node, v reflect.Value, f field, path string) {
	if f.oneOf == nil {
		return
	}
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			l.oneOf(n, v.Index(i), f, fmt.Sprintf("%s[%d]", path, i))
		}
		return
	}
	if value := fmt.Sprint(v.Interface()); !slices.Contains(f.oneOf, value) {
		l.fail(n, path, "must be one of %s, not %q", strings.Join(f.oneOf, ", "), clip(value))
	}
}

// pairs walks a mapping and refuses what YAML lets through: keys that are no text, keys that come twice, merge keys.
func (l *layer) pairs(n *yaml.Node, path string, do func(key, value *yaml.Node)) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			l.fail(key, path, "has a key that is not a text")
		case key.ShortTag() == "!!merge":
			l.fail(key, join(path, "<<"), "is not supported; use an alias for the whole value")
		case seen[key.Value] > 0:
			l.refuse(key, join(path, key.Value), fmt.Sprintf("key %q is there twice, first in line %d", clip(key.Value), seen[key.Value]))
		default:
			seen[key.Value] = max(key.Line, 1)
			do(key, value)
		}
	}
}

// table sets the entries of a map: those the file names are decoded over the default's entries of the same name, and null
// takes an entry away.
func (l *layer) table(n *yaml.Node, v reflect.Value, path string, depth int) {
	t := v.Type()
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		v.Set(reflect.MakeMap(t))
		return
	}
	if t.Key().Kind() != reflect.String {
		l.fail(n, path, "has a type that configuration cannot hold: %s", t)
		return
	}
	if n.Kind != yaml.MappingNode {
		l.fail(n, path, "must be a table of names and values, not %s", describe(n))
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(t))
	}
	l.pairs(n, path, func(key, value *yaml.Node) {
		name := key.Value
		if l.raw {
			name = l.match(name, v)
		}
		k := reflect.ValueOf(name).Convert(t.Key())
		if value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null" && t.Elem().Kind() != reflect.Interface {
			v.SetMapIndex(k, reflect.Value{})
			return
		}
		entry := reflect.New(t.Elem()).Elem()
		if old := v.MapIndex(k); old.IsValid() {
			entry.Set(clone(old))
		}
		l.decode(value, entry, join(path, name), depth+1)
		v.SetMapIndex(k, entry)
	})
}

// match finds the entry an environment variable means: its name there is in one case and has no dashes.
func (l *layer) match(name string, v reflect.Value) string {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	for _, k := range v.MapKeys() {
		if plain(k.String()) == plain(name) {
			return k.String()
		}
	}
	return name
}

// list replaces a slice.
func (l *layer) list(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && !l.raw {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return
	}
	if n.Kind != yaml.SequenceNode {
		l.fail(n, path, "must be a list, not %s", describe(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		l.decode(item, list.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
	}
	v.Set(list)
}

// free reads a value whose shape is not ours to say, such as a JSON schema.
func (l *layer) free(n *yaml.Node, path string, depth int) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := reflect.ValueOf(map[string]any{})
		l.table(n, m, path, depth)
		return m.Interface()
	case yaml.SequenceNode:
		s := reflect.New(reflect.TypeFor[[]any]()).Elem()
		l.list(n, s, path, depth)
		return s.Interface()
	}
	var value any
	if err := n.Decode(&value); err != nil {
		l.fail(n, path, "cannot be read: %v", err)
	}
	switch value.(type) {
	case nil, bool, string, int, int64, uint64, float64:
		return value
	}
	return n.Value // dates and the like stay text
}

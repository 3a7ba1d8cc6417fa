// Package config loads typed, strict, layered configuration: defaults in code, then <service>.yaml, then environment
// variables, then flags. What it does not know it refuses, with the place and what is allowed there. Secrets are given by
// reference only and are never part of a loaded value, so that a configuration can be printed, compared and hashed as it is.
//
// A configuration is a struct. Its tags say the rest:
//
//	yaml:"top_k"        the key; ",inline" for a struct whose keys stand on this level; "-" for none
//	doc:"..."           one sentence with unit and bounds, for the reference; "-" on an inlined struct: described elsewhere
//	live:"true"         a change needs no restart
//	oneof:"a,b"         the only values allowed
//	revision:"-"        where the process runs, not what it does: no part of the revision
//
// Lists replace the default's; tables are merged by name, and null takes an entry away. A struct anywhere inside may have a
// method Validate() error, which names keys below it with [Invalid]; the loader adds the position.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Source is where a configuration comes from.
type Source struct {
	// Dir holds <service>.yaml. Empty for no files; a missing file leaves the defaults, a missing folder is an error.
	Dir string
	// Environ is the environment as os.Environ returns it.
	Environ []string
	// Flags maps keys to values: "search.top_k": "5".
	Flags map[string]string
	// FlagNames says which flag a key came from, where that is not --set: "rpc.addr": "--rpc-addr".
	FlagNames map[string]string
}

// Loaded is a configuration that has passed every check.
type Loaded[T any] struct {
	Value T
	// Revision is a hash over the effective configuration, 12 hexadecimal digits. Secrets count by reference.
	Revision string
	// Files are those that were read.
	Files []string
}

// Load reads a service's configuration over its defaults, which it leaves alone. The error joins all problems found.
func Load[T any](service string, defaults T, src Source) (Loaded[T], error) {
	loaded := Loaded[T]{Value: clone(reflect.ValueOf(&defaults).Elem()).Interface().(T)}
	v := reflect.ValueOf(&loaded.Value).Elem()
	if v.Kind() != reflect.Struct {
		return loaded, fmt.Errorf("load configuration of %s: %s is not a struct", service, v.Type())
	}
	origins := map[string]Position{}
	var all []*Problem

	path, err := filePath(src.Dir, service)
	if err != nil {
		return loaded, err
	}
	if path != "" {
		found, err := decodeFile(path, v, origins)
		if err != nil {
			return loaded, err
		}
		all = append(all, found...)
		loaded.Files = []string{path}
	}
	all = append(all, decodeEnv(service, src.Environ, v, origins)...)
	all = append(all, decodeFlags(src, v, origins)...)
	if len(all) == 0 {
		all = validate(v, "", origins, path)
	}
	if len(all) > 0 {
		return loaded, joinProblems(all)
	}
	loaded.Revision, err = revisionOf(v)
	return loaded, err
}

// filePath returns the service's file, empty when there is none.
func filePath(dir, service string) (string, error) {
	if dir == "" {
		return "", nil
	}
	if info, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("open configuration folder: %w", err)
	} else if !info.IsDir() {
		return "", fmt.Errorf("open configuration folder: %s is not a folder", dir)
	}
	path := filepath.Join(dir, service+".yaml")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return path, nil
}

func decodeFile(path string, v reflect.Value, origins map[string]Position) ([]*Problem, error) {
	node, _, err := readFile(path)
	if p, ok := errors.AsType[*Problem](err); ok {
		return []*Problem{p}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return decodeNode(path, node, v, origins), nil
}

// decodeNode decodes a file's document, which may be empty.
func decodeNode(path string, node *yaml.Node, v reflect.Value, origins map[string]Position) []*Problem {
	if node == nil {
		return nil
	}
	l := layer{file: path, origins: origins}
	l.decode(node, v, "", 0)
	return l.problems
}

// EnvPrefix returns what the environment variables of a service begin with, e.g. "RAGMESH_LLM_GATEWAY__".
func EnvPrefix(service string) string {
	return "RAGMESH_" + strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "__"
}

func decodeEnv(service string, environ []string, v reflect.Value, origins map[string]Position) []*Problem {
	prefix := EnvPrefix(service)
	var all []*Problem
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		keys := strings.Split(strings.ToLower(rest), "__")
		all = append(all, decodeRaw(keys, value, "environment variable "+name, v, origins)...)
	}
	return all
}

func decodeFlags(src Source, v reflect.Value, origins map[string]Position) []*Problem {
	var all []*Problem
	for _, key := range slices.Sorted(maps.Keys(src.Flags)) {
		name, ok := src.FlagNames[key]
		if !ok {
			name = "--set " + key
		}
		all = append(all, decodeRaw(strings.Split(key, "."), src.Flags[key], "flag "+name, v, origins)...)
	}
	return all
}

// decodeRaw sets one key from a text, as a file with nothing else in it would.
func decodeRaw(keys []string, value, via string, v reflect.Value, origins map[string]Position) []*Problem {
	l := layer{via: via, raw: true, origins: origins}
	if len(keys) > maxDepth {
		return []*Problem{{Message: "has too many parts", Position: Position{Via: via}, alone: true}}
	}
	node := text(value)
	for _, key := range slices.Backward(keys) {
		node = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{text(key), node}}
	}
	l.decode(node, v, "", 0)
	return l.problems
}

// validator is what a configuration struct may be.
type validator interface{ Validate() error }

// validate calls the Validate of every struct in v, the innermost first, and finds the position of what they report.
func validate(v reflect.Value, path string, origins map[string]Position, file string) []*Problem {
	var all []*Problem
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return validate(v.Elem(), path, origins, file)
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, validate(v.Index(i), fmt.Sprintf("%s[%d]", path, i), origins, file)...)
		}
		return all
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			all = append(all, validate(v.MapIndex(k), join(path, k.String()), origins, file)...)
		}
		return all
	case reflect.Struct:
	default:
		return nil
	}
	if isSection(v.Type()) {
		for i := range v.NumField() {
			name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			if !v.Type().Field(i).IsExported() || name == "-" {
				continue
			}
			inner := path
			if options != "inline" {
				inner = join(path, fieldKey(v.Type().Field(i), name))
			}
			all = append(all, validate(v.Field(i), inner, origins, file)...)
		}
	}
	target := reflect.New(v.Type())
	target.Elem().Set(v)
	if check, ok := target.Interface().(validator); ok {
		for _, p := range problems(path, check.Validate()) {
			p.Position = locate(p.Key, origins, file)
			all = append(all, p)
		}
	}
	return all
}

func fieldKey(f reflect.StructField, name string) string {
	if name == "" {
		return strings.ToLower(f.Name)
	}
	return name
}

// locate returns where a key, or what it stands in, was set.
func locate(key string, origins map[string]Position, file string) Position {
	for key != "" {
		if at, ok := origins[key]; ok {
			return at
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return Position{File: file}
}

// CheckEnviron refuses environment variables that look like a service's but name none of services, so that a misspelt one
// is not ignored.
func CheckEnviron(environ, services []string) error {
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = strings.TrimSuffix(EnvPrefix(s), "__")
	}
	var all []*Problem
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		service, _, ok := strings.Cut(name, "__")
		if ok && strings.HasPrefix(service, "RAGMESH_") && !slices.Contains(names, service) {
			at := Position{Via: "environment variable " + clip(name)}
			all = append(all, &Problem{Message: unknown("service", service, names), Position: at, alone: true})
		}
	}
	return joinProblems(all)
}

// CheckDir refuses YAML files directly in dir that configure none of services.
func CheckDir(dir string, services []string) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read configuration folder: %w", err)
	}
	allowed := make([]string, len(services))
	for i, s := range services {
		allowed[i] = s + ".yaml"
	}
	var all []*Problem
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || ext != ".yaml" && ext != ".yml" || slices.Contains(allowed, e.Name()) {
			continue
		}
		at := Position{File: filepath.Join(dir, e.Name())}
		all = append(all, &Problem{Message: unknown("file", e.Name(), allowed), Position: at, alone: true})
	}
	return joinProblems(all)
}

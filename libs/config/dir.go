package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Named is one file of a folder in which each holds one thing: a prompt, a strategy, a tool.
type Named[T any] struct {
	// Name is the file's without its ending.
	Name string
	// Path is the file.
	Path string
	// Revision is a hash over the value, 12 hexadecimal digits.
	Revision string
	Value    T
}

// maxNamed bounds the files of one folder.
const maxNamed = 1000

var fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// LoadDir reads every file of dir whose ending is one of exts (".yaml" when none is given), each over a copy of defaults,
// sorted by name. JSON is read as the YAML it is. A missing folder holds nothing. The error joins all problems found; files
// starting with a dot and documents (.md, .txt) are passed over.
func LoadDir[T any](dir string, defaults T, exts ...string) ([]Named[T], error) {
	if len(exts) == 0 {
		exts = []string{".yaml"}
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration folder: %w", err)
	}
	var all []Named[T]
	var wrong []*Problem
	seen := map[string]string{}
	for _, e := range entries {
		ext, path := filepath.Ext(e.Name()), filepath.Join(dir, e.Name())
		name := strings.TrimSuffix(e.Name(), ext)
		refuse := func(format string, a ...any) {
			wrong = append(wrong, &Problem{Message: fmt.Sprintf(format, a...), Position: Position{File: path}, alone: true})
		}
		switch {
		case e.IsDir() || strings.HasPrefix(e.Name(), ".") || ext == ".md" || ext == ".txt":
		case !slices.Contains(exts, ext):
			refuse("is not read here; files end in %s", strings.Join(exts, " or "))
		case !fileName.MatchString(name):
			refuse("has a name that is not allowed; lower-case letters, digits, - and _, at most 64")
		case seen[name] != "":
			refuse("has the name of %s", seen[name])
		case len(all) == maxNamed:
			return nil, fmt.Errorf("read configuration folder: %s holds more than %d files", dir, maxNamed)
		default:
			seen[name] = e.Name()
			one, found, err := loadNamed(name, path, defaults)
			if err != nil {
				return nil, err
			}
			wrong = append(wrong, found...)
			all = append(all, one)
		}
	}
	if len(wrong) > 0 {
		return nil, joinProblems(wrong)
	}
	slices.SortFunc(all, func(a, b Named[T]) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// RevisionWith returns a configuration's revision together with those of the files beside it. Without files it is the
// configuration's own.
func RevisionWith[T any](revision string, files []Named[T]) string {
	if len(files) == 0 {
		return revision
	}
	parts := []string{revision}
	for _, f := range files {
		parts = append(parts, f.Name, f.Revision)
	}
	return Revision(parts...)
}

func loadNamed[T any](name, path string, defaults T) (Named[T], []*Problem, error) {
	one := Named[T]{Name: name, Path: path, Value: clone(reflect.ValueOf(&defaults).Elem()).Interface().(T)}
	v, origins := reflect.ValueOf(&one.Value).Elem(), map[string]Position{}
	found, err := decodeFile(path, v, origins)
	if err != nil {
		return one, nil, err
	}
	if len(found) == 0 {
		found = validate(v, "", origins, path)
	}
	if len(found) > 0 {
		return one, found, nil
	}
	one.Revision, err = revisionOf(v)
	return one, nil, err
}

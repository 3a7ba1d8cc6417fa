package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// Overlay returns what a running process can make of a configuration that has changed: running with the live keys of next.
// The changes returned are the others, which wait for a restart. An error means that the live keys do not go together with
// the rest as it runs.
func Overlay[T any](running, next Loaded[T]) (Loaded[T], []Change, error) {
	merged := Loaded[T]{Value: clone(reflect.ValueOf(&running.Value).Elem()).Interface().(T), Files: next.Files}
	v := reflect.ValueOf(&merged.Value).Elem()
	overlay(v, reflect.ValueOf(&next.Value).Elem())
	if all := validate(v, "", nil, ""); len(all) > 0 {
		return running, nil, fmt.Errorf("together with the keys that need a restart as they were at the start: %w", joinProblems(all))
	}
	var err error
	if merged.Revision, err = revisionOf(v); err != nil {
		return running, nil, err
	}
	return merged, Diff(merged.Value, next.Value), nil
}

// overlay copies the live keys of a section.
func overlay(to, from reflect.Value) {
	for _, f := range fieldsOf(to.Type()) {
		target, source := to.FieldByIndex(f.index), from.FieldByIndex(f.index)
		switch {
		case f.live:
			target.Set(clone(source))
		case isSection(f.typ):
			overlay(target, source)
		}
	}
}

// maxPrinted bounds the files that one fingerprint covers.
const maxPrinted = 4 * maxNamed

// Fingerprint returns a hash over the content of a configuration folder: its YAML files and everything in the named folders
// below it. It follows links, so that it changes when a mounted ConfigMap is exchanged, and does not when files are written
// again as they were.
func Fingerprint(dir string, folders ...string) (string, error) {
	h := sha256.New()
	files := 0
	add := func(dir string, wanted func(name string) bool) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := e.Name()
			if strings.HasPrefix(name, ".") || !wanted(name) {
				continue
			}
			if files++; files > maxPrinted {
				return fmt.Errorf("%s holds more than %d files", dir, maxPrinted)
			}
			if err := printFile(h, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	}
	err := add(dir, func(name string) bool { return filepath.Ext(name) == ".yaml" || filepath.Ext(name) == ".yml" })
	for _, folder := range folders {
		if err != nil {
			break
		}
		err = add(filepath.Join(dir, folder), func(string) bool { return true })
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("read configuration folder: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// printFile adds a file's path and content. Of a file that is larger than one may be, the rest does not matter: loading
// refuses it.
func printFile(h io.Writer, path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	content := sha256.New()
	if _, err := io.Copy(content, io.LimitReader(f, maxFile+1)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(h, "%q %x\n", path, content.Sum(nil))
	return err
}

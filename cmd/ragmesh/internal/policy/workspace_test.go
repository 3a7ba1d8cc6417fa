package policy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// prefix is what the import paths of all our modules start with; the rest is the folder below the root.
const prefix = "github.com/ragmesh/ragmesh/"

// workspace is what the rules look at: the repository's modules and every Go file in them, whatever its build tags.
type workspace struct {
	files    fs.FS
	work     *modfile.WorkFile
	modules  []*module
	packages []*pkg
}

// module is one go.mod file. Dir is relative to the root, slash-separated, as everywhere below.
type module struct {
	dir  string
	file *modfile.File
}

// pkg is the Go files of one folder, test files included.
type pkg struct {
	dir   string
	files []*file
}

type file struct {
	name      string
	src       []byte
	syntax    *ast.File // with comments
	test      bool
	generated bool
}

// imports returns the import paths of a file.
func (f *file) imports() []string {
	paths := make([]string, 0, len(f.syntax.Imports))
	for _, spec := range f.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has accepted it, so this does not happen
		}
		paths = append(paths, p)
	}
	return paths
}

// production returns the hand-written files that are not tests.
func (p *pkg) production() []*file {
	var out []*file
	for _, f := range p.files {
		if !f.test && !f.generated {
			out = append(out, f)
		}
	}
	return out
}

// within reports whether dir is root or below it.
func within(dir, root string) bool {
	return dir == root || strings.HasPrefix(dir, root+"/")
}

// local returns the folder of an import path of ours.
func local(importPath string) (dir string, ok bool) {
	return strings.CutPrefix(importPath, prefix)
}

// open reads the workspace from the repository this test runs in.
func open(tb testing.TB) *workspace {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("no go.work in any folder above this test")
		}
		dir = parent
	}
	ws, err := load(os.DirFS(dir))
	if err != nil {
		tb.Fatal(err)
	}
	return ws
}

// load reads go.work and every go.mod and Go file below it. It skips hidden folders, testdata and vendor trees, except
// that the tools' modules are read to be compared with ours.
func load(files fs.FS) (*workspace, error) {
	ws := &workspace{files: files}
	data, err := fs.ReadFile(files, "go.work")
	if err != nil {
		return nil, err
	}
	if ws.work, err = modfile.ParseWork("go.work", data, nil); err != nil {
		return nil, err
	}

	packages := map[string]*pkg{}
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			hidden := strings.HasPrefix(base, ".") && name != "." && name != toolsDir
			if hidden || base == "testdata" || base == "node_modules" || base == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case base == "go.mod":
			data, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			parsed, err := modfile.Parse(name, data, nil)
			if err != nil {
				return err
			}
			ws.modules = append(ws.modules, &module{dir: path.Dir(name), file: parsed})
		case strings.HasSuffix(base, ".go"):
			f, err := readFile(files, name)
			if err != nil {
				return err
			}
			dir := path.Dir(name)
			if packages[dir] == nil {
				packages[dir] = &pkg{dir: dir}
				ws.packages = append(ws.packages, packages[dir])
			}
			packages[dir].files = append(packages[dir].files, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read workspace: %w", err)
	}
	return ws, nil
}

func readFile(files fs.FS, name string) (*file, error) {
	src, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &file{
		name:      name,
		src:       src,
		syntax:    syntax,
		test:      strings.HasSuffix(name, "_test.go"),
		generated: ast.IsGenerated(syntax),
	}, nil
}

// lines counts a file's lines.
func (f *file) lines() int { return bytes.Count(f.src, []byte("\n")) }

// services returns the folders of the service modules.
func (ws *workspace) services() []string {
	var dirs []string
	for _, m := range ws.modules {
		if path.Dir(m.dir) == "services" {
			dirs = append(dirs, m.dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// pkg returns the package in a folder, or nil.
func (ws *workspace) pkg(dir string) *pkg {
	for _, p := range ws.packages {
		if p.dir == dir {
			return p
		}
	}
	return nil
}

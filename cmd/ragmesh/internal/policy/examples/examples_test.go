package examples

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
)

// check is what `ragmesh config check --config DIR` does, without this machine's environment.
func check(ctx context.Context, dir string) error {
	loaded, err := settings.Load(settings.Source{Dir: dir})
	if err != nil {
		return err
	}
	_, err = wire.Check(ctx, loaded)
	return err
}

func examples(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("../../../../../examples/*/config")
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) == 0 {
		t.Fatal("no example has a config folder")
	}
	return dirs
}

func TestExamplesAreAccepted(t *testing.T) {
	t.Parallel()
	for _, dir := range examples(t) {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			t.Parallel()
			if err := check(t.Context(), dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEveryFileCounts adds an unknown key to one file at a time: a file that nobody reads would go unnoticed.
func TestEveryFileCounts(t *testing.T) {
	t.Parallel()
	for _, dir := range examples(t) {
		err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(name) != ".yaml" {
				return err
			}
			t.Run(filepath.Base(filepath.Dir(dir))+"/"+name, func(t *testing.T) {
				t.Parallel()
				changed := t.TempDir()
				if err := os.CopyFS(changed, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				appendTo(t, filepath.Join(changed, name), "\nno_such_key: 1\n")
				if check(t.Context(), changed) == nil {
					t.Errorf("an unknown key in %s is not noticed", name)
				}
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(data, text...), 0o600); err != nil {
		t.Fatal(err)
	}
}

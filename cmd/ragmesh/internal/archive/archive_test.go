package archive_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/archive"
	"github.com/ragmesh/ragmesh/libs/backup"
	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
)

func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func good(t *testing.T, b *bus.Bus) func(io.Writer) error {
	t.Helper()
	return func(to io.Writer) error {
		_, _, err := backup.Take(t.Context(), b, to, backup.Options{Version: "test", Clock: time.Now})
		return err
	}
}

// A file has its name when it is whole, and never before; what was there stays.
func TestWrite(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	broken := errors.New("the connection broke")
	tests := map[string]struct {
		fill func(io.Writer) error
		want error
		left string
	}{
		"whole":   {good(t, b), nil, "backup"},
		"cut off": {func(to io.Writer) error { _, _ = io.WriteString(to, "half"); return broken }, broken, ""},
		"not what it should be": {func(to io.Writer) error {
			_, err := io.WriteString(to, "<html>a proxy's page</html>")
			return err
		}, backup.ErrNotAnArchive, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w, err := archive.Write(filepath.Join(dir, "backup"), tc.fill)
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if left := files(t, dir); left != tc.left {
				t.Errorf("the folder holds %q, want %q", left, tc.left)
			}
			if info, statErr := os.Stat(w.Path); err == nil && (statErr != nil || info.Size() != w.Size || info.Mode().Perm() != 0o600 || len(w.SHA256) != 64) {
				t.Errorf("it says %+v, the file is %v, %v", w, info, statErr)
			}
		})
	}
	t.Run("over another file", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "backup")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(path, good(t, b)); err == nil {
			t.Error("it is replaced")
		}
		if content, err := os.ReadFile(path); string(content) != "precious" {
			t.Errorf("it holds %q, %v", content, err)
		}
	})
}

// A folder is filled when there is nothing in it but keys, or what a restore that was cut off has left.
func TestIntoFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "backup")
	if _, err := archive.Write(path, good(t, bustest.New(t))); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		there   []string
		refused string
	}{
		"new":                            {nil, ""},
		"with keys":                      {[]string{"keys/jwks.json"}, ""},
		"with half a restore":            {[]string{"nats.restoring/jetstream/half"}, ""},
		"after a start that was refused": {[]string{"nats/lock"}, ""},
		"with streams":                   {[]string{"nats/jetstream/x"}, "holds data already (nats)"},
		"with a spool":                   {[]string{"dialog/spool/x.turn"}, "holds data already (dialog)"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			for _, file := range tc.there {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(data, file)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(data, file), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			checked, err := backup.Check(file)
			if err != nil {
				t.Fatal(err)
			}
			err = archive.IntoFolder(t.Context(), checked, data, zerolog.Nop(), nil)
			if tc.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("got %v, want it refused: %s", err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if left := files(t, data); strings.Contains(left, "restoring") || !strings.Contains(left, "nats") {
				t.Errorf("the folder holds %s", left)
			}
		})
	}
}

package cli_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSync(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &edge{}
	server := serve(t, e)
	sync := func(args ...string) result {
		t.Helper()
		return run(t, t.Context(), "", append([]string{"ingest", "--sync", "--prefix", "team", dir, "--server", server, "-w", "bank"}, args...)...)
	}
	for _, name := range []string{"a.md", "b.md", "c.md"} {
		put(name, name)
	}
	if got := sync(); got.code != 0 || !strings.HasPrefix(got.stdout, "3 added, 0 changed, 0 deleted, 0 unchanged\n3 of 3 documents searchable") {
		t.Errorf("first: %+v", got)
	}
	put("b.md", "another")
	if err := os.Remove(filepath.Join(dir, "c.md")); err != nil {
		t.Fatal(err)
	}
	if got := sync("--dry-run"); got.code != 0 || got.stdout != "change team/b.md\ndelete team/c.md\n0 to add, 1 to change, 1 to delete, 1 unchanged\n" || len(e.deleted) > 0 {
		t.Errorf("dry run: %+v", got)
	}
	if got := sync(); got.code != 0 || !strings.HasPrefix(got.stdout, "0 added, 1 changed, 1 deleted, 1 unchanged\n1 of 1 documents searchable") {
		t.Errorf("second: %+v", got)
	}
	if diff := cmp.Diff([]string{"team/c.md"}, e.deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	for _, name := range []string{"a.md", "b.md"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := sync(); got.code != 1 || !strings.Contains(got.stderr, "is the folder whole?") || len(e.deleted) != 1 {
		t.Errorf("empty folder: %+v", got)
	}
	if got := sync("--force"); got.code != 0 || len(e.deleted) != 3 {
		t.Errorf("empty folder, forced: %+v, deleted %v", got, e.deleted)
	}
	for _, args := range [][]string{{"ingest", "--dry-run", dir}, {"ingest", "--sync", dir, dir}, {"ingest", "--sync", "https://example.com"}, {"ingest", "--sync", "."}} {
		if got := run(t, t.Context(), "", append(args, "--server", server, "-w", "bank")...); got.code != 2 {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestIngestPage(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/fees" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("<!doctype html><title>Fees</title>"))
	}))
	t.Cleanup(s.Close)
	e := &edge{}
	got := run(t, t.Context(), "", "ingest", s.URL+"/fees#card", s.URL+"/none", "--server", serve(t, e), "-w", "bank")
	if got.code != 1 || !strings.HasPrefix(got.stdout, "1 of 2 documents searchable") || !strings.Contains(got.stderr, "404") {
		t.Errorf("%+v", got)
	}
	if up := e.uploads[s.URL+"/fees"]; up.GetContentType() != "text/html" {
		t.Errorf("upload %v", up)
	}
	if got := run(t, t.Context(), "", "ingest", "ftp://example.com/a", "--server", serve(t, e), "-w", "bank"); got.code != 2 {
		t.Errorf("ftp: %+v", got)
	}
}

package settings_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
)

func TestReferencePageIsUpToDate(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := settings.Reference(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("docs/config.md is stale, run make generate (-code +page):\n%s", diff)
	}
}

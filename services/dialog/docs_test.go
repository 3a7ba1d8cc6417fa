package dialog_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/dialog"
)

// What the page tells people to write is taken.
func TestPageOfAccessShowsWhatWorks(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "access.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?ms)^```yaml\n# dialog.yaml\n(.*?)^```$").FindAllSubmatch(page, -1)
	if len(examples) < 7 {
		t.Errorf("only %d examples found", len(examples))
	}
	for i, example := range examples {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "dialog.yaml"), example[1], 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := config.Load("dialog", dialog.Defaults(), config.Source{Dir: dir})
		if err != nil || !loaded.Value.Auth.Configured() {
			t.Errorf("example %d: %v", i, err)
		}
	}
}

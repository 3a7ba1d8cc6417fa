package retriever_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever"
)

var _ process.Reloader[retriever.Config] = (*retriever.Service)(nil)

func TestReloadChangesStrategies(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, name := range []string{"one", "two"} {
		f.ingest("docs/"+name+".txt", "The walrus "+name+" lives on the ice.")
	}
	ask := func() (passages int, revision, strategy string) {
		t.Helper()
		r, err := f.client.Search(f.ctx(), &retrieverv1.SearchRequest{Workspace: workspace, Query: "walrus"})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.GetPassages()), r.GetConfigRevision(), r.GetStrategy()
	}
	strategy := func(yaml string) {
		t.Helper()
		path := filepath.Join(f.config, "retrieval", "narrow.yaml")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, revision, used := ask(); n != 2 || revision != "r1" || used != "keyword" {
		t.Fatalf("%d passages, revision %q, strategy %q", n, revision, used)
	}
	cfg := retriever.Defaults()
	cfg.Search.Strategy = "narrow"
	changed := config.Loaded[retriever.Config]{Value: cfg, Revision: "r2"}
	if err := f.service.Reload(f.ctx(), changed); err == nil || !strings.Contains(err.Error(), `"narrow"`) {
		t.Errorf("Reload = %v; want the missing strategy refused", err)
	}
	strategy("top_k: 1\n")
	if err := f.service.Reload(f.ctx(), changed); err != nil {
		t.Fatal(err)
	}
	n, revision, used := ask()
	if n != 1 || revision == "r1" || revision != f.service.Revision() || used != "narrow" {
		t.Errorf("%d passages, revision %q (service says %q), strategy %q", n, revision, f.service.Revision(), used)
	}
	strategy("top_k: many\n")
	if err := f.service.Reload(f.ctx(), changed); err == nil || !strings.Contains(err.Error(), "narrow.yaml:1") {
		t.Errorf("Reload = %v; want the place named", err)
	}
	if n, again, _ := ask(); n != 1 || again != revision {
		t.Errorf("%d passages, revision %q after a bad change; want it to go on as before", n, again)
	}
}

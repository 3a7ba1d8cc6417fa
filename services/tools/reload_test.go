package tools_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/services/tools"
)

var _ process.Reloader[tools.Config] = (*tools.Service)(nil)

func TestReloadChangesTheToolsThereAre(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	client, s := startLive(t, bustest.New(t), dir)
	names := func() ([]string, string) {
		t.Helper()
		list, err := client.ListTools(rpctest.As(t.Context(), "w"), &toolsv1.ListToolsRequest{Workspace: "w"})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, tool := range list.GetTools() {
			all = append(all, tool.GetName())
		}
		return all, list.GetConfigRevision()
	}
	cfg := tools.Defaults()
	cfg.EnabledPlugins = []string{"calculator", "rates"}
	changed := config.Loaded[tools.Config]{Value: cfg, Revision: "def"}
	if err := s.Reload(t.Context(), changed); err == nil || !strings.Contains(err.Error(), `"rates"`) {
		t.Errorf("Reload = %v; want the missing tool refused", err)
	}
	if got, revision := names(); revision != "abc" || !cmp.Equal(got, []string{"calculator", "current_time"}) {
		t.Errorf("%v, revision %q after a bad change; want it to go on as before", got, revision)
	}
	write(t, dir, "tools/rates.yaml", "description: {en: Rates}\ninput_schema: {type: object}\nurl: https://rates.example.com/latest\n")
	if err := s.Reload(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	got, revision := names()
	if diff := cmp.Diff([]string{"calculator", "rates"}, got); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if revision == "abc" || revision == "def" || revision != s.Revision() {
		t.Errorf("revision %q, service says %q; want one that covers the plugins", revision, s.Revision())
	}
	if _, err := client.Call(rpctest.As(t.Context(), "w"), &toolsv1.CallRequest{Workspace: "w", CallId: "1", Tool: "current_time"}); err == nil {
		t.Error("a tool that is not enabled any more was called")
	}
}

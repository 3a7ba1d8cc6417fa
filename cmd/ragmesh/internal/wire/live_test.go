package wire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
)

// mounted is a configuration folder as Kubernetes mounts a ConfigMap: files are links through ..data, which is exchanged as
// a whole.
type mounted struct {
	dir     string
	version int
}

func mount(t *testing.T, files map[string]string) *mounted {
	t.Helper()
	m := &mounted{dir: t.TempDir()}
	m.exchange(t, files)
	for _, name := range []string{"dialog.yaml", "tools.yaml", "prompts"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *mounted) exchange(t *testing.T, files map[string]string) {
	t.Helper()
	m.version++
	version := fmt.Sprintf("..%d", m.version)
	for name, text := range files {
		write(t, filepath.Join(m.dir, version), name, text)
	}
	if err := os.Symlink(version, filepath.Join(m.dir, "..new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(m.dir, "..new"), filepath.Join(m.dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

// files is a configuration whose greeting is text, with a prompt that says it too.
func files(text string) map[string]string {
	return map[string]string{
		"dialog.yaml":          "intents: [{name: hours, keywords: [opening hours], reply: {en: " + text + "}}]\n",
		"tools.yaml":           "enabled_plugins: [calculator]\n",
		"prompts/default.yaml": "system_prompt: " + text + "\n",
	}
}

// system is everything in one process, spoken to as a client does.
type system struct {
	edge, admin net.Addr
	chat        dialogv1connect.DialogServiceClient
}

func up(t *testing.T, dir string) *system {
	t.Helper()
	o := options(t)
	o.Settings = load(t, settings.Source{Dir: dir, Set: map[string]map[string]string{"dialog": {"rpc.addr": "127.0.0.1:0", "admin.addr": "127.0.0.1:0"}}})
	o.LookEvery = 10 * time.Millisecond
	started := make(chan *system, 1)
	o.Started = func(edge, admin net.Addr) { started <- &system{edge: edge, admin: admin} }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- wire.Up(ctx, o) }()
	select {
	case s := <-started:
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Up = %v", err)
			}
		})
		s.chat = dialogv1connect.NewDialogServiceClient(http.DefaultClient, "http://"+s.edge.String())
		return s
	case err := <-done:
		cancel()
		t.Fatalf("Up = %v", err)
		return nil
	}
}

// ask returns an answer's text and dialog's and llm-gateway's revisions.
func (s *system) ask(ctx context.Context, question string) (text string, revisions map[string]string, err error) {
	stream, err := s.chat.Chat(ctx, &dialogv1.ChatRequest{Question: question})
	if err != nil {
		return "", nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		text += stream.Msg().GetDelta().GetText()
		if turn := stream.Msg().GetCompleted().GetTurn(); turn != nil {
			revisions = turn.GetConfigRevisions()
		}
	}
	return text, revisions, stream.Err()
}

func (s *system) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + s.admin.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// row waits until a readiness row is as it should be, and the process ready all the same.
func (s *system) row(t *testing.T, name string, ready bool, detail string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		code, body := s.get(t, "/health/ready")
		var report struct {
			Components []struct {
				Name, Detail string
				Ready        bool
			}
		}
		if err := json.Unmarshal([]byte(body), &report); err != nil || code != http.StatusOK {
			t.Fatalf("%d %s: %v", code, body, err)
		}
		for _, c := range report.Components {
			if c.Name == name && c.Ready == ready && strings.Contains(c.Detail, detail) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no row %s, ready %t, %q in %s", name, ready, detail, body)
		}
	}
}

const hours = "What are your opening hours?"

func TestUpFollowsTheConfigurationUnderLoad(t *testing.T) {
	t.Parallel()
	m := mount(t, files("one"))
	s := up(t, m.dir)
	text, before, err := s.ask(t.Context(), hours)
	if err != nil || text != "one" || before["dialog"] == "" {
		t.Fatalf("says %q with %v: %v", text, before, err)
	}

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if text, _, err := s.ask(t.Context(), hours); err != nil || text != "one" && text != "two" && text != "three" {
					t.Errorf("says %q: %v", text, err)
					return
				}
			}
		})
	}
	defer load.Wait()
	defer stop()
	follow := func(want string) map[string]string {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for {
			text, revisions, err := s.ask(t.Context(), hours)
			if err != nil {
				t.Fatal(err)
			}
			if text == want {
				return revisions
			}
			if time.Now().After(deadline) {
				t.Fatalf("still says %q", text)
			}
		}
	}

	m.exchange(t, files("two"))
	second := follow("two")
	if second["dialog"] == before["dialog"] {
		t.Errorf("the revision stays %v", second)
	}

	bad := files("three")
	bad["prompts/default.yaml"] = "system_promt: three\n"
	bad["tools.yaml"] = "enabled_plugins: [nothing]\n"
	m.exchange(t, bad)
	follow("three") // dialog's is good
	s.row(t, "llm-gateway/config", false, "default.yaml:1")
	s.row(t, "tools/config", false, "nothing")
	s.row(t, "dialog/config", true, "")
	if _, metrics := s.get(t, "/metrics"); !strings.Contains(metrics, `ragmesh_llm_gateway_config_reload_failures_total{ragmesh_service="llm-gateway"} 1`) {
		t.Error("the failure is not counted")
	}

	last := files("two")
	last["dialog.yaml"] += "rpc: {max_in_flight: 9}\n"
	m.exchange(t, last)
	if got := follow("two"); got["dialog"] != second["dialog"] {
		t.Errorf("revisions %v, want those of the same configuration before, %v", got, second)
	}
	s.row(t, "llm-gateway/config", true, "")
	s.row(t, "dialog/config", true, "needs a restart: rpc.max_in_flight")
}

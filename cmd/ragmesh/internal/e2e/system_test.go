package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

func TestMain(m *testing.M) { os.Exit(e2e.Main(m)) }

// systems are the two ways ragmesh runs. Whatever a person can do holds for both.
func systems() map[string]func(testing.TB, ...e2e.Option) *e2e.System {
	return map[string]func(testing.TB, ...e2e.Option) *e2e.System{"all in one": e2e.StartAllInOne, "five processes": e2e.StartMesh}
}

func documents(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cards.md": "# Card fees\n\n## Replacement\n\nA replacement card costs 12 euros. It arrives within five working days.\n",
		"卡费.md":    "# 银行卡收费\n\n## 补办\n\n补办一张银行卡收费12欧元，五个工作日内寄到。\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// must runs a command that has to succeed, and returns its output.
func must(t *testing.T, s *e2e.System, args ...string) string {
	t.Helper()
	code, stdout, stderr := s.Run(t, "", args...)
	if code != 0 {
		t.Fatalf("ragmesh %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// The first five minutes, in both shapes.
func TestFirstFiveMinutes(t *testing.T) {
	for name, start := range systems() {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("starts whole systems")
			}
			dir := documents(t)
			s := start(t)
			if out := must(t, s, "ingest", "--base", dir, dir); !strings.HasPrefix(out, "2 of 2 documents searchable") {
				t.Errorf("ingest says %q", out)
			}
			if out := must(t, s, "ingest", "--base", dir, dir); !strings.Contains(out, "2 of them unchanged") {
				t.Errorf("the second ingest says %q", out)
			}
			if out := must(t, s, "ask", "What does a replacement card cost?"); !strings.Contains(out, "12 euros") || !strings.Contains(out, "cards.md:") {
				t.Errorf("the answer is\n%s", out)
			}
			if out := must(t, s, "ask", "补办银行卡多少钱？"); !strings.Contains(out, "12欧元") || !strings.Contains(out, "卡费.md:") {
				t.Errorf("the Chinese answer is\n%s", out)
			}
			if out := must(t, s, "trace", "last"); !strings.Contains(out, "retrieve") || !strings.Contains(out, "RetrieverService/Search") {
				t.Errorf("the trace is\n%s", out)
			}
			checkTrace(t, must(t, s, "trace", "last", "--json"))
			if out := must(t, s, "docs", "rm", "cards.md"); !strings.Contains(out, "removed cards.md") {
				t.Errorf("rm says %q", out)
			}
			if out := must(t, s, "search", "replacement card"); strings.Contains(out, "cards.md") {
				t.Errorf("the deleted document is found:\n%s", out)
			}
		})
	}
}

// checkTrace wants spans of the services a turn goes through, all in one trace.
func checkTrace(t *testing.T, line string) {
	t.Helper()
	var trace struct {
		Turn  struct{ TurnID, TraceID string }
		Spans []struct{ Service string }
	}
	if err := json.Unmarshal([]byte(line), &trace); err != nil {
		t.Fatal(err)
	}
	services := map[string]bool{}
	for _, s := range trace.Spans {
		services[s.Service] = true
	}
	for _, want := range []string{"dialog", "retriever", "llm-gateway"} {
		if !services[want] {
			t.Errorf("the trace has no span of %s, only of %v", want, services)
		}
	}
}

func TestUpKeepsItsData(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	data, dir := filepath.Join(t.TempDir(), "data"), documents(t)
	t.Run("first", func(t *testing.T) {
		s := e2e.StartAllInOne(t, e2e.WithData(data))
		must(t, s, "ingest", "--base", dir, dir)
		must(t, s, "ask", "What does a replacement card cost?")
	})
	t.Run("second", func(t *testing.T) {
		s := e2e.StartAllInOne(t, e2e.WithData(data))
		t.Logf("ready after %v; 3 s are wanted on a quiet machine", s.Startup)
		if out := must(t, s, "ask", "What does a replacement card cost?"); !strings.Contains(out, "12 euros") {
			t.Errorf("after the restart the answer is\n%s", out)
		}
		code, _, stderr := s.Run(t, "", "up", "--data", data, "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0")
		if code != 1 || !strings.Contains(stderr, "is in use by process") {
			t.Errorf("a second server on the same data: exit code %d, %s", code, stderr)
		}
	})
}

// Package code asks the programs what they know of themselves, so that charts are compared with the code rather than with what somebody
// remembers of it: configuration keys, metrics, health paths.
package code

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// Program is a ragmesh command that has been built.
type Program struct{ path string }

// Build builds cmd/ragmesh of the checkout under root into a folder, with the same flags as the Makefile.
func Build(ctx context.Context, root, dir string) (Program, error) {
	p := Program{path: filepath.Join(dir, "ragmesh")}
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", p.path, "./cmd/ragmesh") //nolint:gosec // a folder of our own
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build cmd/ragmesh: %w\n%s", err, out)
	}
	return p, nil
}

// CheckConfig says what `ragmesh config check` says against the files, whose names are relative to the folder of the configuration, with
// an environment of these variables and no other.
func (p Program) CheckConfig(t testing.TB, files, env map[string]string) error {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), p.path, "config", "check", "--config", dir) //nolint:gosec // what Build built
	cmd.WaitDelay = time.Minute
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"TMPDIR=" + os.TempDir()}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Run runs a command in an empty folder and returns what it prints.
func (p Program) Run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.path, args...) //nolint:gosec // what Build built
	cmd.WaitDelay = time.Minute
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"TMPDIR=" + os.TempDir()}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Metric is a metric that ragmesh exports.
type Metric struct {
	Name string
	// Type is counter, gauge, histogram or summary.
	Type   string
	Labels []string
}

// Series returns the names of the metric's series.
func (m Metric) Series() []string {
	switch m.Type {
	case "histogram":
		return []string{m.Name + "_bucket", m.Name + "_sum", m.Name + "_count"}
	case "summary":
		return []string{m.Name, m.Name + "_sum", m.Name + "_count"}
	default:
		return []string{m.Name}
	}
}

var metricRow = regexp.MustCompile("(?m)^\\| `(ragmesh_[a-z_<>]+)` \\| (\\w+) \\| ([a-z_, ]*) \\|")

// Metrics returns the metrics in docs/metrics.md, which a test of cmd/ragmesh holds to what a running ragmesh exports.
func Metrics(t testing.TB) []Metric {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(render.Root(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatalf("read metrics: %v", err)
	}
	var all []Metric
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		m := Metric{Name: row[1], Type: row[2], Labels: []string{"ragmesh_service"}}
		for label := range strings.SplitSeq(row[3], ",") {
			if label = strings.TrimSpace(label); label != "" {
				m.Labels = append(m.Labels, label)
			}
		}
		for _, service := range Services() {
			one := m
			one.Name = strings.Replace(m.Name, "<service>", strings.ReplaceAll(service, "-", "_"), 1)
			if !slices.ContainsFunc(all, func(have Metric) bool { return have.Name == one.Name }) {
				all = append(all, one)
			}
		}
	}
	if len(all) < 50 {
		t.Fatalf("docs/metrics.md has changed its form: only %d metrics found", len(all))
	}
	return all
}

// Services returns the services' names.
func Services() []string { return []string{"dialog", "retriever", "tools", "llm-gateway", "eval"} }

var healthPath = regexp.MustCompile(`"(/[a-z/]+)"`)

// HealthPaths returns what the admin port answers, live and ready, from the code of libs/health.
func HealthPaths(t testing.TB) (live, ready []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(render.Root(t), "libs", "health", "handler.go"))
	if err != nil {
		t.Fatalf("read health paths: %v", err)
	}
	read := func(handler string) []string {
		head, _, ok := strings.Cut(string(text), `mux.HandleFunc("GET "+path, o.`+handler+`)`)
		i := strings.LastIndex(head, "for _, path := range")
		if !ok || i < 0 {
			t.Fatalf("libs/health/handler.go has changed its form: no loop over the paths of %s", handler)
		}
		var paths []string
		for _, match := range healthPath.FindAllStringSubmatch(head[i:], -1) {
			paths = append(paths, match[1])
		}
		return paths
	}
	return read("live"), read("ready")
}

// Package tiltfile checks the Tiltfile and tilt/*.Tiltfile: always by running them as Starlark against stand-ins of Tilt's
// functions, and with Tilt itself where a tilt is on the PATH.
package tiltfile

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// root is the repository's.
const root = "../../.."

var services = map[string]int{"dialog": 8080, "retriever": 8081, "tools": 8082, "llm-gateway": 8083, "eval": 8084}

func TestWithoutACluster(t *testing.T) {
	t.Parallel()
	s, err := evaluate(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range []string{"local", "k8s_yaml", "helm", "docker_build", "k8s_resource", "allow_k8s_contexts", "k8s_context"} {
		if len(s.of(fn)) > 0 {
			t.Errorf("%s is called: the mode without a cluster needs none, and runs nothing while it is evaluated", fn)
		}
	}

	want := append(slices.Sorted(maps.Keys(services)), "ask", "ingest-examples", "nats", "ragmesh", "run-tests")
	slices.Sort(want)
	if diff := cmp.Diff(want, s.names("local_resource")); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	s.checkResources(t)

	for service, port := range services {
		r := s.resource(t, service)
		get := r.struct_("readiness_probe").struct_("http_get")
		if diff := cmp.Diff(map[string]any{"port": int64(port + 1000), "path": "/health/ready"}, map[string]any(get)); diff != "" {
			t.Errorf("%s's probe (-want +got):\n%s", service, diff)
		}
		if diff := cmp.Diff([]string{"nats"}, r.list("resource_deps")); diff != "" {
			t.Errorf("%s waits for (-want +got):\n%s", service, diff)
		}
		// A service is rebuilt when the code of any module of ours that it uses changes.
		for _, module := range modulesOf(t, service) {
			if !slices.ContainsFunc(r.list("deps"), func(dep string) bool { return module == dep || strings.HasPrefix(dep, module+"/") }) {
				t.Errorf("%s is built from %s and does not watch it", service, module)
			}
		}
	}
	for _, name := range []string{"ask", "ingest-examples", "run-tests"} {
		if r := s.resource(t, name); r["auto_init"] != false || r["trigger_mode"] != "TRIGGER_MODE_MANUAL" {
			t.Errorf("%s starts by itself", name)
		}
	}
}

func TestOneServiceBringsWhatItNeeds(t *testing.T) {
	t.Parallel()
	s, err := evaluate(root, map[string]any{"services": []string{"retriever"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ragmesh", "nats", "retriever"}, s.enabled); diff != "" {
		t.Errorf("enabled (-want +got):\n%s", diff)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings map[string]any
		want     string
	}{
		"unknown mode":    {map[string]any{"mode": "laptop"}, "--mode is local or cluster, not laptop"},
		"unknown service": {map[string]any{"services": []string{"dialogue"}}, "there is no service dialogue"},
		"unknown nats":    {map[string]any{"mode": "cluster", "nats": "jetstream"}, "--nats is dev or upstream, not jetstream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := evaluate(root, test.settings); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
}

func TestOnACluster(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]map[string]any{
		"default":  {},
		"upstream": {"nats": "upstream", "linkerd": true, "weaviate": true, "registry": "localhost:5005", "context": "team"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings["mode"] = "cluster"
			s, err := evaluate(root, settings)
			if err != nil {
				t.Fatal(err)
			}
			s.checkResources(t)
			for _, call := range s.of("helm") {
				chart := filepath.Join(root, call.text("pathToDirectory"))
				if _, err := os.Stat(filepath.Join(chart, "Chart.yaml")); err != nil {
					t.Errorf("no chart: %v", err)
				}
				for _, values := range call.list("values") {
					if _, err := os.Stat(filepath.Join(root, values)); err != nil {
						t.Errorf("no values: %v", err)
					}
				}
			}
			built := s.names("docker_build")
			for service := range services {
				if !slices.Contains(built, "ragmesh/"+service) {
					t.Errorf("no image of %s is built: %v", service, built)
				}
			}
		})
	}
}

// TestMistakesAreFound keeps the stand-ins honest: what Tilt would refuse, they refuse.
func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"misspelt argument": {"local_resource('x', serv_cmd='true')", "unexpected keyword argument"},
		"unknown function":  {"local_resourse('x')", "undefined: local_resourse"},
		"extension":         {"load('ext://restart_process', 'docker_build_with_restart')", "is not a file of this repository"},
		"same name twice":   {"local_resource('x', cmd='true')\nlocal_resource('x', cmd='true')", "x is declared twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "Tiltfile"), []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := evaluate(dir, nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
}

func TestWithTilt(t *testing.T) {
	t.Parallel()
	tilt, err := exec.LookPath("tilt")
	if err != nil {
		t.Skip("no tilt on the PATH: the Tiltfile was run against stand-ins only")
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(`{apiVersion: v1, kind: Config, current-context: kind-nowhere,
clusters: [{name: nowhere, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: nobody, user: {}}],
contexts: [{name: kind-nowhere, context: {cluster: nowhere, user: nobody}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		needs string
		args  []string
	}{
		"local":            {},
		"one service":      {args: []string{"dialog"}},
		"cluster":          {needs: "helm", args: []string{"--mode=cluster", "--context=kind-nowhere"}},
		"cluster upstream": {needs: "helm", args: []string{"--mode=cluster", "--context=kind-nowhere", "--nats=upstream", "--linkerd", "--weaviate"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(test.needs); test.needs != "" && err != nil {
				t.Skipf("no %s on the PATH", test.needs)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, tilt, append([]string{"alpha", "tiltfile-result", "-f", "Tiltfile", "--"}, test.args...)...)
			cmd.Dir = root
			cmd.Env = append(os.Environ(), "TILT_DISABLE_ANALYTICS=1", "KUBECONFIG="+kubeconfig)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			var result struct{ Manifests []struct{ Name string } }
			if err := json.Unmarshal(out, &result); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var names []string
			for _, m := range result.Manifests {
				names = append(names, m.Name)
			}
			for service := range services {
				if !slices.Contains(names, service) {
					t.Errorf("%s is missing: %v", service, names)
				}
			}
		})
	}
}

// TestTiltCI starts everything with Tilt and waits until Tilt calls it healthy.
func TestTiltCI(t *testing.T) {
	tilt, err := exec.LookPath("tilt")
	if err != nil {
		t.Skip("no tilt on the PATH")
	}
	if testing.Short() {
		t.Skip("builds and starts the five services")
	}
	for _, port := range append(slices.Collect(maps.Values(services)), 4222) {
		for _, p := range []int{port, port + 1000} {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				t.Skipf("a port that the services need is taken: %v", err)
			}
			_ = l.Close()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tilt, "ci", "--host", "127.0.0.1", "--port", freePort(t), "--web-mode=prod")
	cmd.Dir = root
	// This module is tested without go.work; the services are built with it.
	cmd.Env = append(os.Environ(), "TILT_DISABLE_ANALYTICS=1", "GOWORK=", "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// freePort returns a port that is free just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// modulesOf returns the folders of our modules that a service's go.mod asks for, its own included.
func modulesOf(t *testing.T, service string) []string {
	t.Helper()
	dir := filepath.Join(root, "services", service)
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	modules := []string{"services/" + service}
	for line := range strings.Lines(string(text)) {
		if _, path, ok := strings.Cut(line, " => ../../"); ok {
			modules = append(modules, strings.TrimSpace(path))
		}
	}
	if len(modules) < 3 {
		t.Fatalf("%s uses %v: go.mod is read wrongly", service, modules)
	}
	return modules
}
